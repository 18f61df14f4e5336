//! What follows a redirect, and what stays.

use std::sync::{Arc, OnceLock};

use narthex_common::config::http_client::{Auth, HeaderValues, HttpClientConfig, Secret, Source};
use narthex_runtime::http_client::JobClient;

use crate::{
    get, request,
    server::{Server, ok, redirect_to},
    text,
};

fn with_secrets() -> HttpClientConfig {
    let auth = Auth::Header { kind: "Bearer".to_owned(), credentials: Some(Source::Inline(Secret::new("token"))) };
    let open = HeaderValues { values: vec!["team-a".to_owned()], ..HeaderValues::default() };
    let secret = HeaderValues { secrets: vec![Secret::new("key")], ..HeaderValues::default() };
    HttpClientConfig {
        auth: Some(auth),
        http_headers: [("X-Team".to_owned(), open), ("X-Key".to_owned(), secret)].into(),
        ..HttpClientConfig::default()
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_host_takes_everything_along() {
    let server = Server::start(|asked| if asked.uri.path() == "/old" { redirect_to("/new?x=1") } else { ok() }).await;
    assert_eq!(text(get(&with_secrets(), &server.url("/old")).await.unwrap()).await, "ok");
    let asked = server.last();
    assert_eq!(asked.uri.to_string(), "/new?x=1");
    assert_eq!(asked.header("authorization"), Some("Bearer token"));
    assert_eq!(asked.header("x-key"), Some("key"));
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_host() {
    let other = Server::start_on("127.0.0.2:0", |_| ok()).await;
    let elsewhere = other.url("/metrics");
    let server = Server::start(move |_| redirect_to(&elsewhere)).await;
    let mut asking = request(&server.url("/metrics"));
    asking.headers_mut().insert("cookie", "session=1".parse().unwrap());
    asking.headers_mut().insert("accept", "text/plain".parse().unwrap());
    JobClient::new(&with_secrets()).unwrap().send(asking).await.unwrap();

    assert_eq!(server.last().header("authorization"), Some("Bearer token"));
    let asked = other.last();
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(asked.header("cookie"), None);
    assert_eq!(asked.header("x-key"), None);
    assert_eq!(asked.header("x-team"), Some("team-a"));
    assert_eq!(asked.header("accept"), Some("text/plain"));
    assert_eq!(asked.header("host"), Some(other.address.to_string().as_str()));
}

#[tokio::test]
async fn a_redirect_is_the_answer_when_redirects_are_off() {
    let server = Server::start(|_| redirect_to("/elsewhere")).await;
    let config = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
    assert_eq!(get(&config, &server.url("/")).await.unwrap().status(), 302);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = Server::start(|_| redirect_to("/again")).await;
    let failure = get(&HttpClientConfig::default(), &server.url("/")).await.unwrap_err();
    assert_eq!(failure.to_string(), "stopped after 10 redirects");
    assert_eq!(failure.elsewhere.as_deref(), Some("/again"));
    // So many requests Prometheus 2.42 sends to a server that does this.
    assert_eq!(server.asked().len(), 10);
}

#[tokio::test]
async fn a_server_is_told_who_redirected_to_it() {
    let server = Server::start(|asked| if asked.uri.path() == "/old" { redirect_to("/new") } else { ok() }).await;
    get(&HttpClientConfig::default(), &format!("http://u:p@{}/old?x=1", server.address)).await.unwrap();
    let [first, second] = &server.asked()[..] else { panic!("{:?}", server.asked()) };
    assert_eq!(first.header("referer"), None);
    assert_eq!(second.header("referer"), Some(server.url("/old?x=1").as_str()));
    assert_eq!(second.header("authorization"), Some("Basic dTpw"), "the redirect is relative to a URL with a user");
}

#[tokio::test]
async fn credentials_do_not_come_back_once_they_have_been_left_behind() {
    let server = Arc::new(OnceLock::<String>::new());
    let home = Arc::clone(&server);
    let other = Server::start_on("127.0.0.2:0", move |_| redirect_to(home.get().unwrap())).await;
    let elsewhere = other.url("/");
    let first = Server::start(move |asked| if asked.uri.path() == "/a" { redirect_to(&elsewhere) } else { ok() }).await;
    server.set(first.url("/b")).unwrap();
    get(&with_secrets(), &first.url("/a")).await.unwrap();
    let [asked, again] = &first.asked()[..] else { panic!("{:?}", first.asked()) };
    assert_eq!(asked.header("authorization"), Some("Bearer token"));
    assert_eq!((again.header("authorization"), again.header("x-key")), (None, None));
}
