//! What a target answers to a request, whole or broken.

use std::{io, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::time::sleep;

use super::{
    Failure, TargetSettings,
    exposition::{Format, request_info},
    target::{Target, compressed},
};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Between two pieces of a body that breaks off or has no end: long enough for the first to leave this machine before
/// the connection is broken, and for an endless one not to fill the reader's memory at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers as the target's settings say.
pub(super) async fn answer(targets: Arc<[Target]>, index: usize, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let Some(target) = targets.get(index) else { return status(StatusCode::NOT_FOUND) };
    let settings = target.settings();
    if settings.delay_ms > 0 {
        sleep(Duration::from_millis(settings.delay_ms)).await;
    }
    if let Some(challenge) = refusal(&settings, &headers) {
        let mut refused = status(StatusCode::UNAUTHORIZED);
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        return refused;
    }
    match settings.failure {
        Failure::Status(code) => return status(code),
        Failure::Endless => return response(Format::Text.content_type(), false, endless()),
        Failure::Garbage => return response(Format::Text.content_type(), false, whole(GARBAGE.into())),
        Failure::None | Failure::Refuse | Failure::BreakOff => {}
    }
    let gzip = settings.gzip && text(&headers, &header::ACCEPT_ENCODING).contains("gzip");
    let (content_type, bytes) = match &settings.body {
        Some(fixed) => {
            let content_type = settings.content_type.clone();
            let bytes = if gzip { compressed(fixed.as_bytes()) } else { Bytes::from(fixed.clone()) };
            (content_type.unwrap_or_else(|| Format::Text.content_type().to_owned()), bytes)
        }
        None => {
            let format = Format::preferred(text(&headers, &header::ACCEPT));
            let reflects = settings.reflect && uri.path() != "/metrics";
            let extra =
                if reflects { request_info(uri.path(), uri.query().unwrap_or_default()) } else { String::new() };
            // Megabytes are written and compressed here: not on a thread that others wait for.
            let made = tokio::task::spawn_blocking(move || {
                targets.get(index).map(|target| target.body(format, gzip, &extra)).unwrap_or_default()
            });
            (format.content_type().to_owned(), made.await.unwrap_or_default())
        }
    };
    let body = if settings.failure == Failure::BreakOff { broken_off(&bytes) } else { whole(bytes) };
    response(&content_type, gzip, body)
}

const GARBAGE: &str = "<html><body>\u{1}{{ not an exposition }}</body></html>\n";

/// What to tell someone who may not ask.
fn refusal(settings: &TargetSettings, headers: &HeaderMap) -> Option<&'static str> {
    let shown = text(headers, &header::AUTHORIZATION);
    if let Some(user) = &settings.basic_auth
        && shown != format!("Basic {}", BASE64.encode(format!("{}:{}", user.username, user.password)))
    {
        return Some("Basic realm=\"loadgen\"");
    }
    let token = settings.bearer.as_ref()?;
    (shown != format!("Bearer {token}")).then_some("Bearer realm=\"loadgen\"")
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::from(format!("{code}\n"))));
    *response.status_mut() = code;
    response
}

fn response(content_type: &str, gzip: bool, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The first half, then an error, on which hyper closes the connection.
fn broken_off(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let pieces = stream::unfold(Some(half), |next| async move {
        let Some(piece) = next else {
            sleep(PAUSE).await;
            return Some((Err(io::Error::other("told to break off")), None));
        };
        Some((Ok(Frame::data(piece)), None))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Ever more series.
fn endless() -> Body {
    let pieces = stream::unfold(0_u64, |from| async move {
        sleep(PAUSE).await;
        let until = from + 100;
        let piece: String = (from..until).map(|i| format!("loadgen_endless{{series=\"{i}\"}} {i}\n")).collect();
        Some((Ok::<_, io::Error>(Frame::data(Bytes::from(piece))), until))
    });
    StreamBody::new(pieces).boxed_unsync()
}
