//! Requests that go through a proxy.

use narthex_common::config::http_client::{HttpClientConfig, ProxyConfig, Secret, Source};
use narthex_runtime::http_client::JobClient;

use crate::{
    get,
    relay::{Manner, Relay},
    request,
    server::{Authority, Server, ok, redirect_to, server_tls},
};

fn through(proxy: &str) -> HttpClientConfig {
    let proxy = ProxyConfig { url: Some(Secret::new(proxy)), ..ProxyConfig::default() };
    HttpClientConfig { proxy, ..HttpClientConfig::default() }
}

fn trusting(authority: &Authority, mut config: HttpClientConfig) -> HttpClientConfig {
    config.tls.ca = Some(Source::Inline(authority.pem()));
    config
}

fn with_connect_header(mut config: HttpClientConfig) -> HttpClientConfig {
    config.proxy.connect_header.insert("X-Tenant".to_owned(), vec![Secret::new("a"), Secret::new("b")]);
    config
}

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_whole_and_with_the_proxys_credentials() {
    let proxy = Server::start(|_| ok()).await;
    get(&through(&format!("http://me:pass@{}", proxy.address)), "http://target.example:9100/metrics?a=b")
        .await
        .unwrap();
    let asked = proxy.last();
    assert_eq!(asked.uri.to_string(), "http://target.example:9100/metrics?a=b");
    assert_eq!(asked.header("host"), Some("target.example:9100"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
}

#[tokio::test]
async fn hosts_that_are_excepted_are_asked_directly() {
    let server = Server::start(|_| ok()).await;
    let mut config = through("http://127.0.0.1:1");
    config.proxy.no_proxy = "127.0.0.0/8".to_owned();
    get(&config, &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("proxy-authorization"), None);
}

#[tokio::test]
async fn an_encrypted_request_goes_through_a_tunnel_and_only_that_sees_the_connect_headers() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), None)).await;
    let proxy = Relay::start(Manner::Tunnel).await;
    let config = with_connect_header(through(&format!("http://me:pass@{}", proxy.address)));
    get(&trusting(&authority, config), &server.https()).await.unwrap();
    let [asked] = &proxy.asked()[..] else { panic!("{:?}", proxy.asked()) };
    let target = server.address;
    assert_eq!(
        asked,
        &format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-Tenant: a\r\nX-Tenant: b\r\n\
             Proxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
        )
    );
    let seen = server.last();
    assert_eq!((seen.header("x-tenant"), seen.header("proxy-authorization")), (None, None));
    assert_eq!(seen.version, http::Version::HTTP_2, "what is in the tunnel is between the target and us");
}

#[tokio::test]
async fn a_plain_request_does_not_have_the_connect_headers() {
    let proxy = Server::start(|_| ok()).await;
    let config = with_connect_header(through(&format!("http://{}", proxy.address)));
    get(&config, "http://target.example/").await.unwrap();
    assert_eq!(proxy.last().header("x-tenant"), None);
}

#[tokio::test]
async fn a_proxy_is_spoken_to_over_tls() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let proxy = Server::start_tls(server_tls(&identity, None)).await;
    let config = trusting(&authority, through(&format!("https://me:pass@{}", proxy.address)));
    get(&config, "http://target.example/metrics").await.unwrap();
    let asked = proxy.last();
    assert_eq!(asked.uri.to_string(), "http://target.example/metrics");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
    assert_eq!(asked.version, http::Version::HTTP_11);

    let server = Server::start_tls(server_tls(&identity, None)).await;
    let proxy = Relay::start_tls(Manner::Tunnel, server_tls(&identity, None)).await;
    let config = trusting(&authority, through(&format!("https://{}", proxy.address)));
    get(&config, &server.https()).await.unwrap();
    assert_eq!(proxy.asked().len(), 1);
    assert_eq!(server.last().version, http::Version::HTTP_2);
}

/// All of it in the words that Prometheus 3.5 had for proxies of the same kind.
#[tokio::test]
async fn a_proxys_failure_is_not_mistaken_for_the_targets() {
    let said = async |proxy: &str, target: &str| get(&through(proxy), target).await.unwrap_err().to_string();
    let refused = "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(said("http://127.0.0.1:1", "http://target.example/").await, refused);
    assert_eq!(said("http://127.0.0.1:1", "https://target.example/").await, refused);
    assert_eq!(said("socks5://127.0.0.1:1", "http://target.example/").await, refused);

    let authority = Authority::new();
    let proxy = Server::start_tls(server_tls(&authority.issue(&["10.0.0.9"]), None)).await;
    let unknown = "proxyconnect tcp: tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let url = format!("https://u:p@{}", proxy.address);
    assert_eq!(said(&url, "http://target.example/").await, unknown);
    let misnamed = get(&trusting(&authority, through(&url)), "http://target.example/").await.unwrap_err().to_string();
    let expected =
        "proxyconnect tcp: tls: failed to verify certificate: x509: certificate is valid for 10.0.0.9, not 127.0.0.1";
    assert_eq!(misnamed, expected);

    let proxy = Relay::start(Manner::Refuse("407 Proxy Authentication Required")).await;
    let url = format!("http://{}", proxy.address);
    assert_eq!(said(&url, "https://target.example/").await, "Proxy Authentication Required");
    let silent = Relay::start(Manner::HangUp).await;
    assert_eq!(said(&format!("http://{}", silent.address), "https://target.example/").await, "EOF");
}

#[tokio::test]
async fn a_plain_answer_of_the_proxy_itself_is_the_answer() {
    let proxy = Server::start(|_| http::Response::builder().status(407).body(http_body_util::Full::default()).unwrap());
    let answer = get(&through(&format!("http://{}", proxy.await.address)), "http://target.example/").await.unwrap();
    assert_eq!(answer.status(), 407);
}

#[tokio::test]
async fn a_redirect_to_where_no_proxy_leads_takes_no_credentials_of_the_proxy_along() {
    let server = Server::start_on("127.0.0.3:0", |_| ok()).await;
    let to = server.url("/");
    let proxy = Server::start(move |_| redirect_to(&to)).await;
    let mut config = through(&format!("http://me:pass@{}", proxy.address));
    config.proxy.no_proxy = "127.0.0.3".to_owned();
    JobClient::new(&config).unwrap().send(request("http://target.example/")).await.unwrap();
    assert_eq!(proxy.last().header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
    assert_eq!(server.last().header("proxy-authorization"), None);
}

#[test]
fn a_proxy_that_cannot_be_spoken_to_is_refused_without_showing_its_password() {
    let refused = JobClient::new(&through("socks4://me:secret@proxy:1080")).err().unwrap().to_string();
    assert_eq!(refused, "proxy_url: scheme \"socks4\" is not supported, http, https, socks5 and socks5h are");
}
