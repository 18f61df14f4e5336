//! One request with a body, for APIs of our own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{ClientError, JobClient, redirect::Hops};

impl JobClient {
    /// Sends a request of any method with the client's credentials and headers added. Redirects are not followed: they
    /// are answers like any other. There is no time limit here: dropping the future cancels the request.
    ///
    /// Like any request of this client, it may be sent again when a kept connection breaks before the answer begins: what
    /// it asks for must be the same when it is asked for twice.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send_once(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let transport = self.0.connections.current().await?;
        let (mut parts, body) = request.into_parts();
        let credentials = self.credentials(&parts.headers).await?;
        let target = Hops::from(parts.uri)?;
        parts.headers = self.headers(parts.headers, &credentials, &target)?;
        parts.uri = target.current().clone();
        transport.exchange(Request::from_parts(parts, body)).await
    }
}
