//! Asking a token's server for a token.

use std::{
    collections::BTreeMap,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use narthex_common::{
    config::http_client::{Grant, OAuth2Config, Secret},
    redact::without_password,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    answer::{self, Answer, Token},
    assertion,
};
use crate::http_client::{
    ClientError,
    connections::Connections,
    credentials,
    proxy::ProxyEnvironment,
    redirect::{Hops, MAX_REQUESTS},
};

/// Go reads no more of an answer either.
const MAX_ANSWER: usize = 1 << 20;
/// What Go's `url.QueryEscape` leaves as it is; a space becomes `+`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// Where a client shows its id and secret. Servers differ, and do not say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As user and password.
    InHeader,
    /// Among the parameters.
    InParams,
}

/// Who gives out tokens.
pub(super) struct Server {
    connections: Connections,
    /// What the server took before.
    style: OnceLock<Style>,
}

type Form = BTreeMap<String, String>;

impl Server {
    pub(super) fn new(config: &OAuth2Config, environment: &ProxyEnvironment) -> Result<Self, ClientError> {
        // As Prometheus does, without HTTP/2.
        let connections = Connections::new(&config.tls, &config.proxy, false, environment)?;
        Ok(Self { connections, style: OnceLock::new() })
    }

    /// Fetches a token.
    pub(super) async fn fetch(
        &self,
        config: &OAuth2Config,
        secret: &Secret,
        user_agent: Option<&HeaderValue>,
    ) -> Result<Token, ClientError> {
        let form = form(config, secret)?;
        if let Grant::JwtBearer { .. } = config.grant {
            return self.ask(config, secret, form, None, user_agent).await;
        }
        let known = self.style.get().copied();
        let first = known.unwrap_or(Style::InHeader);
        let mut fetched = self.ask(config, secret, form.clone(), Some(first), user_agent).await;
        let mut style = first;
        if fetched.is_err() && known.is_none() {
            style = Style::InParams;
            fetched = self.ask(config, secret, form, Some(style), user_agent).await;
        }
        if fetched.is_ok() {
            self.style.get_or_init(|| style);
        }
        fetched
    }

    async fn ask(
        &self,
        config: &OAuth2Config,
        secret: &Secret,
        mut form: Form,
        style: Option<Style>,
        user_agent: Option<&HeaderValue>,
    ) -> Result<Token, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(user_agent) = user_agent {
            headers.insert(header::USER_AGENT, user_agent.clone());
        }
        match style {
            Some(Style::InHeader) => {
                let client = credentials::basic(&escape(&config.client_id), &escape(secret.expose()))?;
                headers.insert(header::AUTHORIZATION, client);
            }
            Some(Style::InParams) => {
                form.insert("client_id".to_owned(), config.client_id.clone());
                if !secret.expose().is_empty() {
                    form.insert("client_secret".to_owned(), secret.expose().to_owned());
                }
            }
            None => {}
        }
        let (status, headers, body) = self.post(&config.token_url, headers, encode(&form)).await?;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let answer = Answer { status, content_type: content_type.unwrap_or_default(), body: &body };
        answer::read(&answer, secret, Instant::now())
    }

    /// Posts a form and follows redirects as Go does, but never sends what is secret on to another host.
    async fn post(
        &self,
        url: &Secret,
        headers: HeaderMap,
        form: String,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), ClientError> {
        let shown = |url: &str| without_password(url).replace("xxxxx@", "***@");
        let start: Uri = url
            .expose()
            .parse()
            .map_err(|_| ClientError(format!("parse {:?}: this is no URL", shown(url.expose()))))?;
        let mut at = shown(url.expose());
        let failed = |at: &str, why: ClientError| ClientError(format!("Post {at:?}: {why}"));
        let mut hops = Hops::from(start).map_err(|why| failed(&at, why))?;
        let (mut method, mut body) = (Method::POST, Bytes::from(form));
        for _ in 0..MAX_REQUESTS {
            let request = request(&hops, &method, headers.clone(), body.clone())?;
            let request = self.through_proxy(request);
            let transport = self.connections.current().await?;
            let response = transport.exchange(request).await.map_err(|why| failed(&at, why))?;
            if !hops.follow(&response).map_err(|why| failed(&at, why.reason))? {
                return read(response).await;
            }
            at = hops.current().to_string();
            if matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                if hops.have_left_the_host() {
                    return Err(failed(&at, ClientError("what is secret is not sent on to another host".to_owned())));
                }
            } else {
                (method, body) = (Method::GET, Bytes::new());
            }
        }
        Err(failed(&at, hops.too_many().reason))
    }

    fn through_proxy(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        if let Some(authorization) = self.connections.proxies().authorization_for(request.uri()) {
            let authorization = authorization.clone();
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        request
    }
}

/// One hop's request: credentials only for the first host, and a body only for a POST.
fn request(
    hops: &Hops,
    method: &Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    if hops.have_left_the_host() {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some((user, password)) = hops.user().filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
        headers.insert(header::AUTHORIZATION, credentials::basic(user, password)?);
    }
    if method != Method::POST {
        headers.remove(header::CONTENT_TYPE);
    }
    let mut request = Request::new(Full::new(body));
    request.method_mut().clone_from(method);
    *request.uri_mut() = hops.current().clone();
    *request.headers_mut() = headers;
    Ok(request)
}

async fn read(response: Response<Incoming>) -> Result<(StatusCode, HeaderMap, Vec<u8>), ClientError> {
    let (head, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ClientError(format!("oauth2: cannot fetch token: {e}")))?;
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(&data[..data.len().min(MAX_ANSWER - read.len())]);
        }
        if read.len() == MAX_ANSWER {
            break;
        }
    }
    Ok((head.status, head.headers, read.to_vec()))
}

/// What is asked for. Nothing of it may be set twice, except how it is asked for: some servers have names of their own.
fn form(config: &OAuth2Config, secret: &Secret) -> Result<Form, ClientError> {
    let mut form = Form::new();
    match &config.grant {
        Grant::ClientCredentials { .. } => {
            form.insert("grant_type".to_owned(), "client_credentials".to_owned());
            if !config.scopes.is_empty() {
                form.insert("scope".to_owned(), config.scopes.join(" "));
            }
        }
        Grant::JwtBearer { .. } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            form.insert("grant_type".to_owned(), assertion::GRANT_TYPE.to_owned());
            form.insert("assertion".to_owned(), assertion::sign(config, secret, now)?);
        }
    }
    for (name, value) in &config.endpoint_params {
        if name != "grant_type" && form.contains_key(name) {
            return Err(ClientError(format!("oauth2: cannot overwrite parameter {name:?}")));
        }
        form.insert(name.clone(), value.expose().to_owned());
    }
    Ok(form)
}

fn encode(form: &Form) -> String {
    form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join("&")
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_as_go_writes_them() {
        let form = Form::from([("b".to_owned(), "q r".to_owned()), ("a".to_owned(), "s/e*~+ü".to_owned())]);
        assert_eq!(encode(&form), "a=s%2Fe%2A~%2B%C3%BC&b=q+r");
    }
}
