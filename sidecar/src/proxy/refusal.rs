//! Answers of the proxy's own: why a request was not forwarded, or why its target gave no answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use narthex_common::job::JobName;

/// Prometheus shows the reason phrase of a failed scrape in `lastError`; more than this nobody reads there.
const REASON_BYTES: usize = 512;

/// An answer of the proxy's own.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: one_line(&reason.into()) }
    }

    pub(super) fn not_absolute() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "this is a scrape proxy: ask for a whole http:// URL")
    }

    pub(super) fn tunnel() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "the scrape proxy makes no tunnels: targets are asked for by http://, https is its own to speak",
        )
    }

    pub(super) fn not_get() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "the scrape proxy only forwards GET")
    }

    /// Says nothing of what is wrong with the credentials.
    pub(super) fn no_credentials() -> Self {
        Self::new(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "Proxy Authentication Required")
    }

    pub(super) fn unknown_job() -> Self {
        Self::new(StatusCode::FORBIDDEN, "not a job of this scrape proxy")
    }

    pub(super) fn unknown_target(job: &JobName, uri: &Uri) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("no target of job {job:?} on this shard is at {uri}"))
    }

    /// The target gave no answer, for this reason.
    pub(super) fn no_answer(reason: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }

    /// The target is guarded, or was until now, for this reason.
    pub(super) fn guarded(reason: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }

    /// The target's job has too many targets, in these words.
    pub(super) fn too_many_targets(reason: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(format!("{}\n", self.reason)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers.insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        if let Ok(phrase) = ReasonPhrase::try_from(self.reason) {
            response.extensions_mut().insert(phrase);
        }
        response
    }
}

/// A text as one line that fits into a status line.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = text.len().min(REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(reason: &str) -> Vec<u8> {
        let response = Refusal::no_answer(reason).into_response();
        response.extensions().get::<ReasonPhrase>().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn a_reason_is_one_short_line_whatever_the_target_made_of_it() {
        assert_eq!(phrase("dial tcp: lookup bücher:\r\nX-Evil: 1\0"), "dial tcp: lookup bücher:  X-Evil: 1".as_bytes());
        let long = phrase(&"ü".repeat(1_000));
        assert_eq!((long.len(), String::from_utf8(long).is_ok()), (512, true));
    }
}
