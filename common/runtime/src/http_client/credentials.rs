//! What a client adds to requests: `Authorization` and `http_headers`, files read again at every request.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use narthex_common::config::{
    HttpClientConfig,
    http_client::{Auth, HeaderValues, Secret, Source},
};

use super::{ClientError, failure, redirect::Hops};

/// Headers that carry credentials by their name alone. Go's list (`net/http` `shouldCopyHeaderOnRedirect`) and the
/// names that APIs commonly use for keys.
const SENSITIVE_NAMES: [&str; 9] = [
    "authorization",
    "cookie",
    "cookie2",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "x-api-key",
    "x-auth-token",
    "x-access-token",
];

/// Everything a client adds, as it is right now.
pub(super) struct Credentials {
    authorization: Option<HeaderValue>,
    /// Whether what the request brought along gives way: it does to a token of OAuth2, as in Prometheus.
    comes_first: bool,
    headers: Vec<(HeaderName, Vec<HeaderValue>, Sensitive)>,
}

/// Whether a header is for the host that was asked first only.
type Sensitive = bool;

impl Credentials {
    /// Reads what has to be read. A token is not: see [`Self::set_token`].
    pub(super) async fn read(config: &HttpClientConfig) -> Result<Self, ClientError> {
        let authorization = match &config.auth {
            None | Some(Auth::OAuth2(_)) => None,
            Some(Auth::Basic { username, password }) => {
                let username = current(username, String::as_str, "basic auth username").await?;
                let password = match password {
                    Some(password) => current(password, Secret::expose, "basic auth password").await?,
                    None => String::new(),
                };
                Some(basic(&username, &password)?)
            }
            Some(Auth::Header { kind, credentials }) => {
                let credentials = match credentials {
                    Some(credentials) => current(credentials, Secret::expose, "authorization credentials").await?,
                    None => String::new(),
                };
                Some(secret_value(header::AUTHORIZATION.as_str(), &format!("{kind} {credentials}"))?)
            }
        };
        let mut headers = Vec::with_capacity(config.http_headers.len());
        for (name, values) in &config.http_headers {
            headers.push(read_header(name, values).await?);
        }
        Ok(Self { authorization, comes_first: false, headers })
    }

    /// Authorizes with a token of OAuth2.
    pub(super) fn set_token(&mut self, authorization: HeaderValue) {
        self.authorization = Some(authorization);
        self.comes_first = true;
    }

    /// Adds what may go to the current hop. What the request brought along stays, unless it is a credential and the
    /// redirect led to another host.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, hops: &Hops) -> Result<(), ClientError> {
        if hops.have_left_the_host() {
            for name in SENSITIVE_NAMES {
                headers.remove(name);
            }
        }
        let own = self.authorization.as_ref().filter(|_| !hops.have_left_the_host());
        if let Some(token) = own.filter(|_| self.comes_first) {
            headers.insert(header::AUTHORIZATION, token.clone());
        } else if !headers.contains_key(header::AUTHORIZATION) {
            // A URL's own user comes first: Go sets it before Prometheus' round trippers look.
            let authorization = match hops.user() {
                Some((username, password)) => Some(basic(username, password)?),
                None => own.cloned(),
            };
            if let Some(authorization) = authorization {
                headers.insert(header::AUTHORIZATION, authorization);
            }
        }
        for (name, values, sensitive) in &self.headers {
            if *sensitive && hops.have_left_the_host() {
                continue;
            }
            for value in values {
                headers.append(name, value.clone());
            }
        }
        Ok(())
    }
}

async fn read_header(
    name: &str,
    values: &HeaderValues,
) -> Result<(HeaderName, Vec<HeaderValue>, Sensitive), ClientError> {
    let header =
        HeaderName::try_from(name).map_err(|_| ClientError(format!("net/http: invalid header field name {name:?}")))?;
    let mut current = Vec::new();
    for value in &values.values {
        current.push(secret_value(name, value)?);
    }
    for secret in &values.secrets {
        current.push(secret_value(name, secret.expose())?);
    }
    for file in &values.files {
        let text = read_trimmed(file).await.map_err(|why| ClientError(format!("unable to read headers file {why}")))?;
        current.push(secret_value(name, &text)?);
    }
    let sensitive =
        !values.secrets.is_empty() || !values.files.is_empty() || SENSITIVE_NAMES.contains(&header.as_str());
    Ok((header, current, sensitive))
}

/// The value as it is right now. Errors say what it was read for.
pub(super) async fn current<T>(
    source: &Source<T>,
    text: impl Fn(&T) -> &str,
    what: &str,
) -> Result<String, ClientError> {
    match source {
        Source::Inline(value) => Ok(text(value).to_owned()),
        Source::File(path) => read_trimmed(path)
            .await
            .map_err(|why| ClientError(format!("unable to read {what}: unable to read file {why}"))),
    }
}

async fn read_trimmed(path: &Path) -> Result<String, String> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(format!("{}: {}", path.display(), failure::open(path, &e))),
    }
}

/// Basic authorization (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue, ClientError> {
    let encoded = BASE64.encode(format!("{username}:{password}"));
    secret_value(header::AUTHORIZATION.as_str(), &format!("Basic {encoded}"))
}

/// A value that logs do not show. The error does not show it either.
pub(super) fn secret_value(name: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| ClientError(format!("net/http: invalid header field value for {name:?}")))?;
    value.set_sensitive(true);
    Ok(value)
}
