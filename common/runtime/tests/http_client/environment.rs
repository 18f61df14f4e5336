//! Requests whose proxy the environment names.

use narthex_common::config::http_client::{HttpClientConfig, ProxyConfig};
use narthex_runtime::http_client::{JobClient, ProxyEnvironment};

use crate::{
    relay::{Manner, Relay},
    request,
    server::{Server, ok},
};

fn asking_for_it() -> HttpClientConfig {
    let proxy = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
    HttpClientConfig { proxy, ..HttpClientConfig::default() }
}

#[tokio::test]
async fn each_scheme_has_its_proxy_and_exceptions_have_none() {
    let plain = Server::start(|_| ok()).await;
    let tunnel = Relay::start(Manner::Refuse("403 Forbidden")).await;
    let server = Server::start(|_| ok()).await;
    let environment = ProxyEnvironment::new(|name| match name {
        "http_proxy" => Some(format!("me:pass@{}", plain.address)),
        "HTTPS_PROXY" => Some(format!("http://{}", tunnel.address)),
        "no_proxy" => Some("direct.example, 127.0.0.0/8".to_owned()),
        _ => None,
    });
    let client = JobClient::in_environment(&asking_for_it(), &environment).unwrap();
    client.send(request("http://target.example/")).await.unwrap();
    assert_eq!(plain.last().uri.to_string(), "http://target.example/");
    assert_eq!(plain.last().header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
    let refused = client.send(request("https://target.example/")).await.unwrap_err();
    assert_eq!(refused.to_string(), "Forbidden");
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(server.last().header("proxy-authorization"), None);
    assert_eq!((plain.asked().len(), tunnel.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_client_that_does_not_ask_for_it_goes_straight() {
    let server = Server::start(|_| ok()).await;
    let environment = ProxyEnvironment::new(|_| Some("http://127.0.0.1:1".to_owned()));
    let client = JobClient::in_environment(&HttpClientConfig::default(), &environment).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
}
