//! Requests that go through a SOCKS5 proxy.

use narthex_common::config::http_client::{HttpClientConfig, ProxyConfig, Secret, Source};

use crate::{
    get,
    relay::{Manner, Relay},
    server::{Authority, Server, ok, server_tls},
};

fn through(proxy: &str) -> HttpClientConfig {
    let proxy = ProxyConfig { url: Some(Secret::new(proxy)), ..ProxyConfig::default() };
    HttpClientConfig { proxy, ..HttpClientConfig::default() }
}

#[tokio::test]
async fn names_are_left_to_the_proxy_and_the_target_sees_an_ordinary_request() {
    let server = Server::start(|_| ok()).await;
    let proxy = Relay::start(Manner::Socks(None)).await;
    let target = format!("only.proxy.knows:{}", server.address.port());
    for scheme in ["socks5", "socks5h"] {
        get(&through(&format!("{scheme}://{}", proxy.address)), &format!("http://{target}/metrics")).await.unwrap();
        let asked = server.last();
        assert_eq!(asked.uri.to_string(), "/metrics");
        assert_eq!(asked.header("host"), Some(target.as_str()));
        assert_eq!(asked.header("proxy-authorization"), None);
    }
    get(&through(&format!("socks5://{}", proxy.address)), &server.url("/")).await.unwrap();
    assert_eq!(proxy.asked(), [target.clone(), target, server.address.to_string()]);
}

#[tokio::test]
async fn an_encrypted_target_is_reached_with_user_and_password() {
    let authority = Authority::new();
    let server = Server::start_tls(server_tls(&authority.issue(&["127.0.0.1"]), None)).await;
    let proxy = Relay::start(Manner::Socks(Some(("me", "p@ss")))).await;
    let mut config = through(&format!("socks5://me:p%40ss@{}", proxy.address));
    config.tls.ca = Some(Source::Inline(authority.pem()));
    get(&config, &server.https()).await.unwrap();
    assert_eq!(proxy.asked(), [server.address.to_string()]);
}

/// In the words that Prometheus 2.42 and 3.5 had for proxies that do the same.
#[tokio::test]
async fn what_a_proxy_refuses_is_said_with_the_way() {
    let cases: [(Manner, &str); 7] = [
        (Manner::SocksAnswering(&[b"\x05\xff"]), "no acceptable authentication methods"),
        (Manner::Socks(Some(("me", "other"))), "username/password authentication failed"),
        (Manner::SocksAnswering(&[b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0"]), "unknown error connection refused"),
        (Manner::SocksAnswering(&[b"\x00\x5a"]), "unexpected protocol version 0"),
        (Manner::SocksAnswering(&[b"\x05\x00", b""]), "EOF"),
        (Manner::SocksAnswering(&[b"\x05\x01"]), "unsupported authentication method 1"),
        (Manner::SocksAnswering(&[b"\x05\x00", b"\x05\x63\x00\x01"]), "unknown error unknown code: 99"),
    ];
    for (manner, why) in cases {
        let proxy = Relay::start(manner).await;
        let config = through(&format!("socks5://me:secret@{}", proxy.address));
        let said = get(&config, "http://target.example/").await.unwrap_err().to_string();
        assert_eq!(said, format!("socks connect tcp {}->target.example:80: {why}", proxy.address));
    }
}
