//! Requests that go through a proxy.

use narthex_common::config::http_client::{HttpClientConfig, Secret};
use narthex_runtime::http_client::JobClient;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    get,
    server::{Authority, Server, ok, server_tls},
};

fn through(proxy: &str) -> HttpClientConfig {
    HttpClientConfig { proxy_url: Some(Secret::new(proxy)), ..HttpClientConfig::default() }
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
    let config = HttpClientConfig { no_proxy: "127.0.0.0/8".to_owned(), ..through("http://127.0.0.1:1") };
    get(&config, &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("proxy-authorization"), None);
}

#[tokio::test]
async fn an_encrypted_request_goes_through_a_tunnel() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), None)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let target = server.address;
    let tunnel = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = client.read(&mut asked).await.unwrap();
        asked.truncate(length);
        let mut upstream = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        tokio::spawn(async move { drop(copy_bidirectional(&mut client, &mut upstream).await) });
        String::from_utf8(asked).unwrap()
    });
    let mut config = through(&format!("http://me:pass@{proxy}"));
    config.proxy_connect_header.insert("X-Tenant".to_owned(), vec![Secret::new("a")]);
    config.tls.ca = Some(narthex_common::config::http_client::Source::Inline(authority.pem()));
    get(&config, &server.https()).await.unwrap();
    let asked = tunnel.await.unwrap().to_lowercase();
    assert!(asked.starts_with(&format!("connect {target} http/1.1\r\n")), "{asked}");
    assert!(asked.contains("proxy-authorization: basic bwu6cgfzcw=="), "{asked}");
    assert!(asked.contains("x-tenant: a"), "{asked}");
}

#[tokio::test]
async fn a_proxy_that_is_down_is_not_mistaken_for_the_target() {
    let failure = get(&through("http://127.0.0.1:1"), "http://target.example/").await.unwrap_err();
    assert_eq!(failure.to_string(), "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused");
}

#[test]
fn a_proxy_that_cannot_be_spoken_to_is_refused_without_showing_its_password() {
    let refused = JobClient::new(&through("socks5://me:secret@proxy:1080")).err().unwrap().to_string();
    assert_eq!(refused, "proxy_url: scheme \"socks5\" is not supported yet, only \"http\" is");
}
