//! A server that remembers what it was asked, plain or with TLS.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What came in with one request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) version: http::Version,
    pub(crate) body: String,
}

impl Asked {
    async fn read(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            version: head.version,
            body: String::from_utf8(body).unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers every request as the function says.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        Self::serve("127.0.0.1:0", None, answer).await
    }

    /// The same on another address of this machine: another host, to whoever looks at credentials.
    pub(crate) async fn start_on(
        address: &str,
        answer: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, None, answer).await
    }

    /// The same with TLS; answers `ok`.
    pub(crate) async fn start_tls(config: ServerConfig) -> Self {
        Self::serve("127.0.0.1:0", Some(TlsAcceptor::from(Arc::new(config))), |_| ok()).await
    }

    /// The same with TLS, answering as the function says.
    pub(crate) async fn start_tls_with(
        config: ServerConfig,
        answer: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::serve("127.0.0.1:0", Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    async fn serve(
        address: &str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (remember, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, remember, answer) = (tls.clone(), Arc::clone(&remember), Arc::clone(&answer));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (remember, answer) = (Arc::clone(&remember), Arc::clone(&answer));
                        async move {
                            let asked = Asked::read(request).await;
                            remember.lock().unwrap().push(asked.clone());
                            Ok::<_, std::convert::Infallible>(answer(&asked))
                        }
                    });
                    let connection = auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(connection.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(connection.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn https(&self) -> String {
        format!("https://{}/metrics", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Asked {
        self.asked().pop().expect("nothing was asked")
    }
}

pub(crate) fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::from("ok"))
}

pub(crate) fn redirect_to(location: &str) -> Response<Full<Bytes>> {
    Response::builder().status(302).header("location", location).body(Full::default()).unwrap()
}

/// An authority of ours, with what it has signed.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the given names or addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_for(names, 2000..3000)
    }

    /// The same, good from and up to the second of January of these years.
    pub(crate) fn issue_for(&self, names: &[&str], years: Range<i32>) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 2);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 2);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A certificate that is its own authority, as `openssl req -x509` makes it.
pub(crate) fn own_authority(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Identity { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// The TLS of a server with this identity, which asks clients for a certificate of `client_ca` if there is one.
pub(crate) fn server_tls(identity: &Identity, client_ca: Option<&Authority>) -> ServerConfig {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
