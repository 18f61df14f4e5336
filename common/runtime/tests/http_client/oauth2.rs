//! Requests that show a token which is fetched for them.
//!
//! What goes to the token's server, and what is said when it gives none, was seen with Prometheus 2.42 and 3.5 and the
//! same servers; where the two differ, 3.5 counts.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use narthex_common::config::http_client::{
    Auth, Grant, HttpClientConfig, OAuth2Config, ProxyConfig, Secret, Source, TlsConfig,
};
use narthex_runtime::http_client::{JobClient, ProxyEnvironment};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::Instant,
};

use crate::{
    get,
    relay::{Manner, Relay},
    request,
    server::{Asked, Authority, Server, ok, redirect_to, server_tls},
};

fn oauth2(token_url: &str) -> OAuth2Config {
    OAuth2Config {
        client_id: "i d".to_owned(),
        grant: Grant::ClientCredentials { secret: Some(Source::Inline(Secret::new("s/e"))) },
        token_url: Secret::new(token_url),
        scopes: Vec::new(),
        endpoint_params: BTreeMap::new(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    }
}

fn with(oauth2: OAuth2Config) -> HttpClientConfig {
    HttpClientConfig { auth: Some(Auth::OAuth2(Box::new(oauth2))), ..HttpClientConfig::default() }
}

fn json(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(body.into())).unwrap()
}

/// A server whose tokens are numbered and good for so many seconds.
async fn tokens_for(seconds: u32) -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |_| {
        let number = given.fetch_add(1, Ordering::Relaxed);
        json(200, format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{seconds}}}"#))
    })
    .await
}

async fn failure(config: &HttpClientConfig) -> String {
    get(config, "http://127.0.0.1:1/never").await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_with_every_request() {
    let (server, auth) = (Server::start(|_| ok()).await, tokens_for(3600).await);
    let mut config = oauth2(&auth.url("/token?x=1"));
    config.scopes = vec!["a".to_owned(), "b".to_owned()];
    config.endpoint_params = [("p".to_owned(), Secret::new("q r"))].into();
    let client = JobClient::new(&with(config)).unwrap();
    for _ in 0..3 {
        let mut asking = request(&server.url("/metrics"));
        asking.headers_mut().insert("user-agent", "Prometheus/3.5.0".parse().unwrap());
        client.send(asking).await.unwrap();
        assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
    }
    let [asked] = &auth.asked()[..] else { panic!("{:?}", auth.asked()) };
    assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("POST", "/token?x=1"));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("user-agent"), Some("Prometheus/3.5.0"));
    // `i+d:s%2Fe`
    assert_eq!(asked.header("authorization"), Some("Basic aStkOnMlMkZl"));
    assert_eq!(asked.body, "grant_type=client_credentials&p=q+r&scope=a+b");
}

#[tokio::test]
async fn a_hundred_requests_at_once_fetch_one_token() {
    let (server, auth) = (Server::start(|_| ok()).await, tokens_for(3600).await);
    let client = JobClient::new(&with(oauth2(&auth.url("/")))).unwrap();
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let (client, url) = (client.clone(), server.url("/"));
            tokio::spawn(async move { client.send(request(&url)).await.unwrap() })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    assert_eq!((server.asked().len(), auth.asked().len()), (100, 1));
}

#[tokio::test]
async fn a_token_is_fetched_anew_ten_seconds_before_it_ends() {
    let server = Server::start(|_| ok()).await;
    let (soon, later) = (tokens_for(11).await, tokens_for(10).await);
    let client = JobClient::new(&with(oauth2(&soon.url("/")))).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(soon.asked().len(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(soon.asked().len(), 2);
    assert_eq!(server.last().header("authorization"), Some("Bearer t1"));

    let client = JobClient::new(&with(oauth2(&later.url("/")))).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(later.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_wants_the_client_among_the_parameters_is_asked_so_and_from_then_on() {
    let server = Server::start(|_| ok()).await;
    let auth = Server::start(|asked: &Asked| match asked.header("authorization") {
        Some(_) => json(401, r#"{"error":"invalid_client"}"#),
        None => json(200, r#"{"access_token":"t","expires_in":1}"#),
    })
    .await;
    let client = JobClient::new(&with(oauth2(&auth.url("/")))).unwrap();
    for _ in 0..3 {
        client.send(request(&server.url("/"))).await.unwrap();
    }
    let bodies: Vec<_> = auth.asked().iter().map(|asked| asked.body.clone()).collect();
    let in_params = "client_id=i+d&client_secret=s%2Fe&grant_type=client_credentials";
    assert_eq!(bodies, ["grant_type=client_credentials", in_params, in_params, in_params]);
}

#[tokio::test]
async fn another_secret_in_the_file_means_another_token() {
    let (server, auth) = (Server::start(|_| ok()).await, tokens_for(3600).await);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "one\n").unwrap();
    let mut config = oauth2(&auth.url("/"));
    config.grant = Grant::ClientCredentials { secret: Some(Source::File(path.clone())) };
    let client = JobClient::new(&with(config)).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    fs::write(&path, "one").unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(auth.asked().len(), 1, "the same secret");
    fs::write(&path, "two").unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    // `i+d:two`
    assert_eq!(auth.last().header("authorization"), Some("Basic aStkOnR3bw=="));
    assert_eq!(server.last().header("authorization"), Some("Bearer t1"));

    fs::remove_file(&path).unwrap();
    let path = path.display();
    assert_eq!(
        client.send(request(&server.url("/"))).await.unwrap_err().to_string(),
        format!(
            "unable to read oauth2 client secret: unable to read file {path}: open {path}: no such file or directory"
        )
    );
}

#[tokio::test]
async fn a_token_takes_the_place_of_any_other_authorization_but_does_not_leave_the_host() {
    let auth = tokens_for(3600).await;
    let other = Server::start_on("127.0.0.2:0", |_| ok()).await;
    let elsewhere = other.url("/");
    let server =
        Server::start(move |asked| if asked.uri.path() == "/away" { redirect_to(&elsewhere) } else { ok() }).await;
    let client = JobClient::new(&with(oauth2(&auth.url("/")))).unwrap();
    client.send(request(&format!("http://u:p@{}/", server.address))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
    client.send(request(&server.url("/away"))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
    assert_eq!(other.last().header("authorization"), None);
}

#[tokio::test]
async fn a_refusal_is_the_servers_own_words_and_is_asked_about_again() {
    let refusing = Arc::new(AtomicUsize::new(2));
    let left = Arc::clone(&refusing);
    let auth = Server::start(move |_| match left.load(Ordering::Relaxed) {
        0 => json(200, r#"{"access_token":"t"}"#),
        _ => {
            left.fetch_sub(1, Ordering::Relaxed);
            json(401, r#"{"error":"invalid_client","error_description":"who?"}"#)
        }
    })
    .await;
    let server = Server::start(|_| ok()).await;
    let client = JobClient::new(&with(oauth2(&auth.url("/")))).unwrap();
    let said = client.send(request(&server.url("/"))).await.unwrap_err().to_string();
    assert_eq!(said, r#"oauth2: "invalid_client" "who?""#);
    assert!(server.asked().is_empty(), "nobody is asked without a token");
    client.send(request(&server.url("/"))).await.unwrap();
}

#[tokio::test]
async fn what_does_not_answer_is_named_without_its_password() {
    let url = "http://u:hidden@127.0.0.1:1/token?x=1";
    let expected = "Post \"http://u:***@127.0.0.1:1/token?x=1\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(failure(&with(oauth2(url))).await, expected);
    let scheme = failure(&with(oauth2("ftp://127.0.0.1/t"))).await;
    assert_eq!(scheme, "Post \"ftp://127.0.0.1/t\": unsupported protocol scheme \"ftp\"");
    assert_eq!(failure(&with(oauth2("token"))).await, "Post \"token\": unsupported protocol scheme \"\"");
    let mut twice = oauth2("http://127.0.0.1:1/");
    twice.scopes = vec!["a".to_owned()];
    twice.endpoint_params = [("scope".to_owned(), Secret::new("b"))].into();
    assert_eq!(failure(&with(twice)).await, "oauth2: cannot overwrite parameter \"scope\"");
}

/// Prometheus would wait longer than its own scrape timeout here.
#[tokio::test]
async fn a_server_that_stalls_costs_each_request_no_more_than_its_own_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = JobClient::new(&with(oauth2(&url))).unwrap();
    for _ in 0..2 {
        let begin = Instant::now();
        let give_up_at = begin + Duration::from_millis(200);
        let said = client.send_until(request("http://127.0.0.1:1/"), give_up_at).await.unwrap_err();
        assert_eq!(said.to_string(), "context deadline exceeded");
        assert!(begin.elapsed() < Duration::from_secs(2));
    }
    let _first = listener.accept().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(second.is_err(), "the second request waits for what the first one asked for");
}

#[tokio::test]
async fn a_slow_token_is_there_for_the_next_request() {
    let server = Server::start(|_| ok()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = JobClient::new(&with(oauth2(&url))).unwrap();
    let early = Instant::now() + Duration::from_millis(50);
    client.send_until(request(&server.url("/")), early).await.unwrap_err();
    // Only now the token's server answers, and only once.
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    let token = r#"{"access_token":"t"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{token}", token.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t"));
}

#[tokio::test]
async fn the_tokens_server_has_tls_and_proxy_settings_of_its_own() {
    let authority = Authority::new();
    let tls = server_tls(&authority.issue(&["127.0.0.1"]), None);
    let auth = Server::start_tls_with(tls, |_| json(200, r#"{"access_token":"t"}"#)).await;
    let proxy = Relay::start(Manner::Tunnel).await;
    let mut config = oauth2(&auth.https());
    // The client's own settings do not count for it, nor its own for the target.
    let mut whole = with(config.clone());
    whole.tls.ca = Some(Source::Inline(authority.pem()));
    let unknown = format!(
        "Post \"{}\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
        auth.https()
    );
    assert_eq!(failure(&whole).await, unknown);
    config.tls.ca = Some(Source::Inline(authority.pem()));
    config.proxy.url = Some(Secret::new(format!("http://{}", proxy.address)));
    let server = Server::start(|_| ok()).await;
    get(&with(config), &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t"));
    assert_eq!(auth.last().version, http::Version::HTTP_11);
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn the_tokens_server_is_reached_through_the_environments_proxy_when_that_is_asked_for() {
    let proxy = Server::start(|_| json(200, r#"{"access_token":"t"}"#)).await;
    let environment = ProxyEnvironment::new(|name| (name == "HTTP_PROXY").then(|| proxy.address.to_string()));
    let mut config = oauth2("http://auth.example/token");
    config.proxy.from_environment = true;
    let server = Server::start(|_| ok()).await;
    let client = JobClient::in_environment(&with(config), &environment).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(proxy.last().uri.to_string(), "http://auth.example/token");
}

#[tokio::test]
async fn a_ca_file_that_is_missing_is_looked_for_again() {
    let authority = Authority::new();
    let tls = server_tls(&authority.issue(&["127.0.0.1"]), None);
    let auth = Server::start_tls_with(tls, |_| json(200, r#"{"access_token":"t"}"#)).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let mut config = oauth2(&auth.https());
    config.tls.ca = Some(Source::File(path.clone()));
    let server = Server::start(|_| ok()).await;
    let client = JobClient::new(&with(config)).unwrap();
    let said = client.send(request(&server.url("/"))).await.unwrap_err().to_string();
    let shown = path.display();
    assert_eq!(
        said,
        format!("unable to read CA cert: unable to read file {shown}: open {shown}: no such file or directory")
    );
    fs::write(&path, authority.pem()).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
}

#[tokio::test]
async fn a_redirect_of_the_tokens_server_is_followed_but_the_secret_stays_on_its_host() {
    let server = Server::start(|_| ok()).await;
    let auth = Server::start(|asked: &Asked| match asked.uri.path() {
        "/old" => Response::builder().status(307).header("location", "/new").body(Full::default()).unwrap(),
        "/get" => redirect_to("/new"),
        _ => json(200, r#"{"access_token":"t"}"#),
    })
    .await;
    get(&with(oauth2(&auth.url("/old"))), &server.url("/")).await.unwrap();
    let again = auth.last();
    assert_eq!((again.method.as_str(), again.body.as_str()), ("POST", "grant_type=client_credentials"));
    assert!(again.header("authorization").is_some());
    get(&with(oauth2(&auth.url("/get"))), &server.url("/")).await.unwrap();
    let again = auth.last();
    assert_eq!((again.method.as_str(), again.body.as_str(), again.header("content-type")), ("GET", "", None));

    let other = Server::start_on("127.0.0.2:0", |_| json(200, r#"{"access_token":"t"}"#)).await;
    let elsewhere = other.url("/");
    let auth = Server::start(move |_| {
        Response::builder().status(308).header("location", &elsewhere).body(Full::default()).unwrap()
    })
    .await;
    let said = failure(&with(oauth2(&auth.url("/")))).await;
    assert_eq!(said, format!("Post \"{}\": what is secret is not sent on to another host", other.url("/")));
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_signed_statement_takes_the_place_of_a_secret() {
    let (server, auth) = (Server::start(|_| ok()).await, tokens_for(3600).await);
    let mut config = oauth2(&auth.url("/"));
    config.grant = Grant::JwtBearer {
        key: Some(Source::Inline(Secret::new(include_str!("../../src/http_client/oauth2/testdata/rsa.pem")))),
        key_id: String::new(),
        algorithm: narthex_common::config::http_client::SignatureAlgorithm::Rs256,
        issuer: String::new(),
        audience: String::new(),
        claims: BTreeMap::new(),
    };
    get(&with(config), &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
    let asked = auth.last();
    assert_eq!(asked.header("authorization"), None);
    let (assertion, grant) = asked.body.split_once('&').unwrap();
    assert_eq!(grant, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
    assert_eq!(assertion.strip_prefix("assertion=").unwrap().split('.').count(), 3);
}

#[tokio::test]
async fn nothing_secret_is_shown_by_a_client() {
    let mut config = oauth2("http://u:hidden@auth/");
    config.grant = Grant::ClientCredentials { secret: Some(Source::Inline(Secret::new("hidden"))) };
    config.endpoint_params = [("password".to_owned(), Secret::new("hidden"))].into();
    config.proxy.url = Some(Secret::new("http://u:hidden@p"));
    let client = JobClient::new(&with(config)).unwrap();
    let shown = format!("{client:?}");
    assert!(shown.contains("i d") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn a_tokens_server_that_redirects_to_itself_is_asked_ten_times() {
    let server = Server::start(|_| ok()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let auth = Server::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        redirect_to("/again")
    })
    .await;
    let said = get(&with(oauth2(&auth.url("/"))), &server.url("/")).await.unwrap_err().to_string();
    assert!(said.ends_with("stopped after 10 redirects"), "{said}");
    assert!(asked.load(Ordering::Relaxed) <= 20, "ten times for each way to say who asks");
}
