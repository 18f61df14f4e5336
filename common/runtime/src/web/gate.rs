//! The gate before every request: who has no credentials goes no further.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    files::{Protection, Web},
    metrics::TurnedAway,
};

/// Answered without credentials: they tell no more than whether the process is well, and what it waits for, to supervisors that have none.
const OPEN_TO_ALL: [&str; 2] = ["/-/healthy", "/-/ready"];

/// Lets a request through, without its credentials: these are not for whoever it is passed on to. Or says what to answer
/// instead.
pub(super) async fn admit(
    web: &Web,
    protection: &Protection,
    request: &mut Request<Body>,
) -> Result<(), Response<Body>> {
    if !protection.asks_for_credentials() || is_open_to_all(request) {
        return Ok(());
    }
    let sent = request.headers_mut().remove(header::AUTHORIZATION);
    let is_welcome = match sent.as_ref().and_then(|value| value.to_str().ok()) {
        Some(sent) => is_welcome(web, protection, sent).await,
        None => false,
    };
    if is_welcome {
        return Ok(());
    }
    web.metrics.turned_away(TurnedAway::Credentials);
    Err(unauthorized(protection))
}

/// Adds the headers that every answer is to have, unless it has them.
pub(super) fn add_headers<B>(protection: &Protection, answer: &mut Response<B>) {
    for (name, value) in &protection.headers {
        if !answer.headers().contains_key(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
}

fn is_open_to_all(request: &Request<Body>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && OPEN_TO_ALL.contains(&request.uri().path())
}

/// Whether what was sent as `Authorization` is good.
async fn is_welcome(web: &Web, protection: &Protection, sent: &str) -> bool {
    let Some((scheme, credentials)) = sent.split_once(' ') else { return false };
    let credentials = credentials.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return protection.token.as_ref().is_some_and(|token| token.is(credentials));
    }
    let users = &protection.config.users;
    if users.is_empty() || !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(decoded) = BASE64.decode(credentials) else { return false };
    let mut parts = decoded.splitn(2, |byte| *byte == b':');
    let (Some(Ok(user)), Some(password)) = (parts.next().map(std::str::from_utf8), parts.next()) else { return false };
    web.passwords.is_right(users, user, password).await
}

/// As exporter-toolkit answers, with what would be needed.
fn unauthorized(protection: &Protection) -> Response<Body> {
    let mut answer = Response::new(Body::from("Unauthorized\n"));
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if !protection.config.users.is_empty() {
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }
    if protection.token.is_some() {
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}
