//! The HTTP client that a job's or a discovery's `http_client_config` asks for: used for scrapes, probes and http_sd.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use narthex_common::config::HttpClientConfig;

/// A client with one set of settings. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct JobClient(());

/// Why a request got no answer. Its text is one line without secrets, in Go's words where Go has some
/// (`dial tcp 10.0.0.1:80: connect: connection refused`), because it becomes the `lastError` that users know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(pub String);

impl JobClient {
    /// A client for the given settings.
    ///
    /// # Errors
    /// When the settings cannot be used: a CA file is missing, `oauth2` is asked for.
    pub fn new(config: &HttpClientConfig) -> Result<Self, ClientError> {
        let _ = config;
        todo!()
    }

    /// Sends a GET with the client's credentials and headers added, and follows redirects when told to. There is no
    /// time limit here: dropping the future cancels the request. The body comes as it was sent, still compressed.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let _ = request;
        todo!()
    }
}
