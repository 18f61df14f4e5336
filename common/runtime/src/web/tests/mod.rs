//! The web server on real sockets, asked by the client of a job or by hand.

mod credentials;
mod files;
mod pace;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::Request};
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use narthex_common::config::HttpClientConfig;
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    Web, WebArgs,
    pace::Limits,
    serve::{LIMITS, serve_within},
};
use crate::{
    http_client::JobClient,
    shutdown::{Shutdown, ShutdownTrigger},
};

/// A server, the files that protect it, and an authority with what it has signed.
struct Scene {
    dir: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    address: SocketAddr,
    registry: Registry,
    _runs: ShutdownTrigger,
}

impl Scene {
    /// A directory with `ca.pem`, `server.pem` and `server.key`.
    fn files() -> (TempDir, CertifiedIssuer<'static, KeyPair>) {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        issue(&authority, dir.path(), "server", &["127.0.0.1"]);
        (dir, authority)
    }

    /// A server with such a `--web.config.file`, and such a `--web.token-file` if there is a text.
    async fn new(web_config: &str, token: &str) -> Self {
        Self::with_limits(LIMITS, web_config, token).await
    }

    async fn with_limits(limits: Limits, web_config: &str, token: &str) -> Self {
        let (dir, authority) = Self::files();
        let args = args(dir.path(), web_config, token);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut registry = Registry::default();
        let (runs, shutdown) = Shutdown::new();
        let web = Web::start(&args, &mut registry, shutdown.clone()).unwrap();
        tokio::spawn(serve_within(limits, listener, router(), web, shutdown));
        Self { dir, authority, address, registry, _runs: runs }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Makes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, sans: &[&str]) {
        issue(&self.authority, self.dir.path(), name, sans);
    }

    /// A client with settings as `--shard.http-client-config` has them, whose files lie beside the server's.
    fn client(&self, settings: &str) -> JobClient {
        JobClient::new(&HttpClientConfig::read_file(&self.dir.path().join("client.yml"), settings).unwrap()).unwrap()
    }

    async fn get(&self, client: &JobClient, scheme: &str, path: &str) -> Result<(StatusCode, String), String> {
        let uri: Uri = format!("{scheme}://{}{path}", self.address).parse().unwrap();
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let answer = client.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        Ok((status, text(answer).await))
    }

    /// The status of a plain request with an `Authorization`, unless that is empty.
    async fn status(&self, path: &str, authorization: &str) -> u16 {
        self.ask(path, authorization).await.status().as_u16()
    }

    async fn ask(&self, path: &str, authorization: &str) -> Response<hyper::body::Incoming> {
        let client = JobClient::new(&HttpClientConfig::default()).unwrap();
        let mut request = Request::get(format!("http://{}{path}", self.address));
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        client.send(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    fn has_metric(&self, line: &str) -> bool {
        self.metrics().lines().any(|one| one == line)
    }
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(answer: Response<B>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Flags that name files with these texts.
fn args(dir: &Path, web_config: &str, token: &str) -> WebArgs {
    let file = |name: &str, text: &str| {
        let path: PathBuf = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    WebArgs {
        web_config_file: Some(file("web.yml", web_config)),
        web_token_file: (!token.is_empty()).then(|| file("token", token)),
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, dir: &Path, name: &str, sans: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let (uris, names): (Vec<&str>, Vec<&str>) = sans.iter().partition(|san| san.contains("://"));
    let mut params = CertificateParams::new(names.into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap();
    params.subject_alt_names.extend(uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap())));
    let cert = params.signed_by(&key, authority).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), cert.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// Says what came, and in which version of HTTP; takes bodies of up to 1 KiB on `/body`, and sends without end on
/// `/endless`.
fn router() -> Router {
    Router::new()
        .route("/-/healthy", axum::routing::get(async || "healthy"))
        .route(
            "/body",
            axum::routing::post(async |request: Request| match axum::body::to_bytes(request.into_body(), 1024).await {
                Ok(body) => (StatusCode::OK, format!("{} bytes", body.len())),
                Err(error) => (StatusCode::BAD_REQUEST, format!("{error:?}")),
            }),
        )
        .route("/endless", axum::routing::get(async || axum::body::Body::new(Endless)))
        .fallback(async |request: Request| {
            let authorization = request.headers().get("authorization").is_some();
            format!("{:?} {} authorization: {authorization}", request.version(), request.uri().path())
        })
}

/// A body that never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))))
    }
}

/// Waits until something holds: what follows from a changed file within a second or two.
async fn soon(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not so within ten seconds: {what}");
}
