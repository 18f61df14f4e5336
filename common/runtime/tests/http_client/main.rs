//! The client of a job against real servers on this machine: what goes over the wire, and what is said when nothing
//! comes back.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod relay;
mod server;

mod auth;
mod conformance;
mod environment;
mod failures;
mod oauth2;
mod proxy;
mod redirects;
mod socks;
mod tls;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use narthex_common::config::HttpClientConfig;
use narthex_runtime::http_client::{JobClient, Unanswered};

async fn get(config: &HttpClientConfig, url: &str) -> Result<Response<Incoming>, Unanswered> {
    JobClient::new(config)?.send(request(url)).await
}

fn request(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
