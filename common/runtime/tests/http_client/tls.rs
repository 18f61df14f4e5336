//! Whom a client trusts over TLS, and how it shows who it is.

use std::{fs, sync::Arc, time::Duration};

use narthex_common::config::http_client::{HttpClientConfig, Secret, Source, TlsConfig, TlsVersion};
use narthex_runtime::http_client::JobClient;

use crate::{
    get, request,
    server::{Authority, Identity, Server, own_authority, server_tls},
};

fn with(tls: TlsConfig) -> HttpClientConfig {
    HttpClientConfig { tls, ..HttpClientConfig::default() }
}

fn trusting(ca: &str) -> TlsConfig {
    TlsConfig { ca: Some(Source::Inline(ca.to_owned())), ..TlsConfig::default() }
}

fn showing(identity: &Identity, ca: &str) -> TlsConfig {
    TlsConfig {
        cert: Some(Source::Inline(identity.cert.clone())),
        key: Some(Source::Inline(Secret::new(identity.key.clone()))),
        ..trusting(ca)
    }
}

async fn failure(config: &HttpClientConfig, url: &str) -> String {
    get(config, url).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_of_the_given_authority_is_trusted_over_http_2_or_1() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), None)).await;
    get(&with(trusting(&authority.pem())), &server.https()).await.unwrap();
    assert_eq!(server.last().version, http::Version::HTTP_2);
    let config = HttpClientConfig { enable_http2: false, ..with(trusting(&authority.pem())) };
    get(&config, &server.https()).await.unwrap();
    assert_eq!(server.last().version, http::Version::HTTP_11);
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start_tls(server_tls(&theirs.issue(&["127.0.0.1"]), None)).await;
    let expected = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(failure(&with(trusting(&ours.pem())), &server.https()).await, expected);
    assert_eq!(failure(&HttpClientConfig::default(), &server.https()).await, expected);
}

#[tokio::test]
async fn any_server_is_trusted_when_verification_is_off() {
    let server = Server::start_tls(server_tls(&Authority::new().issue(&["elsewhere.example"]), None)).await;
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    get(&with(tls), &server.https()).await.unwrap();
}

#[tokio::test]
async fn a_server_with_the_very_certificate_that_is_given_as_authority_is_trusted() {
    let identity = own_authority("127.0.0.1");
    let server = Server::start_tls(server_tls(&identity, None)).await;
    get(&with(trusting(&identity.cert)), &server.https()).await.unwrap();

    let another = own_authority("127.0.0.1");
    let expected = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(failure(&with(trusting(&another.cert)), &server.https()).await, expected);

    let misnamed = own_authority("elsewhere.example");
    let server = Server::start_tls(server_tls(&misnamed, None)).await;
    let expected = "tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it \
                    doesn't contain any IP SANs";
    assert_eq!(failure(&with(trusting(&misnamed.cert)), &server.https()).await, expected);
}

#[tokio::test]
async fn the_certificate_must_bear_the_name_unless_another_is_expected() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["metrics.example"]), None)).await;
    let expected = "tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it \
                    doesn't contain any IP SANs";
    assert_eq!(failure(&with(trusting(&authority.pem())), &server.https()).await, expected);
    let tls = TlsConfig { server_name: Some("metrics.example".to_owned()), ..trusting(&authority.pem()) };
    get(&with(tls), &server.https()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), Some(&authority))).await;
    get(&with(showing(&authority.issue(&["client"]), &authority.pem())), &server.https()).await.unwrap();
    // Whether the refusal comes before, with or after the request is chance.
    for http2 in [true, false].repeat(10) {
        let config = HttpClientConfig { enable_http2: http2, ..with(trusting(&authority.pem())) };
        assert_eq!(failure(&config, &server.https()).await, "remote error: tls: certificate required");
    }
}

#[tokio::test]
async fn a_renewed_authority_is_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    fs::write(&path, old.pem()).unwrap();
    let client =
        JobClient::new(&with(TlsConfig { ca: Some(Source::File(path.clone())), ..TlsConfig::default() })).unwrap();
    let server = Server::start_tls(server_tls(&new.issue(&["127.0.0.1"]), None)).await;
    client.send(request(&server.https())).await.unwrap_err();
    fs::write(&path, new.pem()).unwrap();
    // The files are looked at again after 3 s.
    tokio::time::sleep(Duration::from_millis(3100)).await;
    client.send(request(&server.https())).await.unwrap();
}

#[test]
fn unusable_settings_are_refused_when_the_client_is_made() {
    let refused = |tls: TlsConfig| JobClient::new(&with(tls)).err().unwrap().to_string();
    let missing = TlsConfig { ca: Some(Source::File("/no/such/ca.pem".into())), ..TlsConfig::default() };
    assert_eq!(
        refused(missing),
        "unable to read CA cert: unable to read file /no/such/ca.pem: open /no/such/ca.pem: no such file or directory"
    );
    assert_eq!(
        refused(trusting("no pem")),
        "unable to use specified CA cert inline: failed to find any PEM data in certificate input"
    );
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["one"]), authority.issue(&["other"]));
    let mixed = Identity { cert: one.cert, key: other.key };
    assert_eq!(
        refused(showing(&mixed, &authority.pem())),
        "unable to use specified client cert (inline) & key (inline): tls: private key does not match public key"
    );
    let versions = |min_version, max_version| TlsConfig { min_version, max_version, ..TlsConfig::default() };
    // Go's minimum is TLS 1.2, too, as long as the config does not say otherwise.
    let nothing_left = "tls: no supported versions satisfy MinVersion and MaxVersion";
    assert_eq!(refused(versions(None, Some(TlsVersion::Tls11))), nothing_left);
    assert_eq!(refused(versions(Some(TlsVersion::Tls13), Some(TlsVersion::Tls12))), nothing_left);
    let too_old = refused(versions(Some(TlsVersion::Tls10), Some(TlsVersion::Tls11)));
    assert!(too_old.contains("TLS 1.0 and 1.1"), "{too_old}");
    let unreadable = TlsConfig { insecure_skip_verify: true, ..trusting("no pem") };
    assert!(refused(unreadable).starts_with("unable to use specified CA cert inline"));
}

#[tokio::test]
async fn versions_are_kept_to() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let newest = Server::start_tls(speaking(&identity, &rustls::version::TLS13)).await;
    let older = Server::start_tls(speaking(&identity, &rustls::version::TLS12)).await;
    let config = |min_version, max_version| with(TlsConfig { min_version, max_version, ..trusting(&authority.pem()) });
    // A minimum that rustls does not speak is no obstacle to a server that speaks better.
    for both in [config(None, None), config(Some(TlsVersion::Tls10), None)] {
        get(&both, &newest.https()).await.unwrap();
        get(&both, &older.https()).await.unwrap();
    }
    let at_most = config(None, Some(TlsVersion::Tls12));
    get(&at_most, &older.https()).await.unwrap();
    let refused = "remote error: tls: protocol version not supported";
    assert_eq!(failure(&at_most, &newest.https()).await, refused);
    let at_least = config(Some(TlsVersion::Tls13), None);
    get(&at_least, &newest.https()).await.unwrap();
    assert_eq!(failure(&at_least, &older.https()).await, refused);
}

fn speaking(identity: &Identity, version: &'static rustls::SupportedProtocolVersion) -> rustls::ServerConfig {
    let mut config = server_tls(identity, None);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut only = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&config.cert_resolver));
    std::mem::swap(&mut only.alpn_protocols, &mut config.alpn_protocols);
    only
}

/// In the words that Prometheus 3.5 had for servers of the same kind; 2.42 has them without the first two.
#[tokio::test]
async fn a_certificate_that_is_not_good_now_says_since_when() {
    let authority = Authority::new();
    let of = |years| Server::start_tls(server_tls(&authority.issue_for(&["127.0.0.1"], years), None));
    let expired = of(2020..2021).await;
    let said = failure(&with(trusting(&authority.pem())), &expired.https()).await;
    let start = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 20";
    assert!(said.starts_with(start) && said.ends_with("Z is after 2021-01-02T00:00:00Z"), "{said}");
    let early = of(2900..2901).await;
    let said = failure(&with(trusting(&authority.pem())), &early.https()).await;
    assert!(said.starts_with(start) && said.ends_with("Z is before 2900-01-02T00:00:00Z"), "{said}");
}

#[tokio::test]
async fn a_certificate_for_others_says_for_whom_it_is() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["a.example", "b.example"]), None)).await;
    let named = TlsConfig { server_name: Some("c.example".to_owned()), ..trusting(&authority.pem()) };
    let expected =
        "tls: failed to verify certificate: x509: certificate is valid for a.example, b.example, not c.example";
    assert_eq!(failure(&with(named), &server.https()).await, expected);
    let server = Server::start_tls(server_tls(&authority.issue(&["10.0.0.9"]), None)).await;
    let expected = "tls: failed to verify certificate: x509: certificate is valid for 10.0.0.9, not 127.0.0.1";
    assert_eq!(failure(&with(trusting(&authority.pem())), &server.https()).await, expected);
}

#[tokio::test]
async fn a_renewed_client_certificate_is_shown_without_a_restart() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), Some(&authority))).await;
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let write = |identity: &Identity| {
        fs::write(&cert, &identity.cert).unwrap();
        fs::write(&key, &identity.key).unwrap();
    };
    write(&unknown.issue(&["client"]));
    let tls = TlsConfig {
        cert: Some(Source::File(cert.clone())),
        key: Some(Source::File(key.clone())),
        ..trusting(&authority.pem())
    };
    let client = JobClient::new(&with(tls)).unwrap();
    client.send(request(&server.https())).await.unwrap_err();
    write(&authority.issue(&["client"]));
    // The files are looked at again after 3 s.
    tokio::time::sleep(Duration::from_millis(3100)).await;
    client.send(request(&server.https())).await.unwrap();
}

/// In Prometheus' words, and after its ten seconds.
#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_ten_seconds() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    assert_eq!(failure(&HttpClientConfig::default(), &url).await, "net/http: TLS handshake timeout");
}
