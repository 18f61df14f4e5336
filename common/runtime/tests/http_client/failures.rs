//! What is said when no answer came.

use narthex_common::config::HttpClientConfig;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    get,
    server::{Server, ok},
};

async fn failure(url: &str) -> String {
    get(&HttpClientConfig::default(), url).await.unwrap_err().to_string()
}

/// A port that answers every connection with these bytes, then closes it.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            if stream.read(&mut asked).await.is_ok() {
                drop(stream.write_all(bytes).await);
            }
        }
    });
    address.to_string()
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let expected = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(failure(&format!("http://user:secret@{address}/metrics")).await, expected);
}

#[tokio::test]
async fn a_connection_closed_without_a_word_is_an_eof() {
    let address = answering(b"").await;
    assert_eq!(failure(&format!("http://{address}/")).await, "EOF");
}

#[tokio::test]
async fn what_is_no_http_is_malformed() {
    let address = answering(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let said = failure(&format!("http://{address}/")).await;
    assert_eq!(said, "net/http: HTTP/1.x transport connection broken: malformed HTTP response");
}

#[tokio::test]
async fn https_asked_of_a_plain_server_is_named() {
    let address = answering(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
    assert_eq!(failure(&format!("https://{address}/")).await, "http: server gave HTTP response to HTTPS client");
}

#[tokio::test]
async fn a_broken_body_is_an_error_of_the_body_and_not_a_short_answer() {
    use http_body_util::BodyExt as _;
    let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let response = get(&HttpClientConfig::default(), &format!("http://{address}/")).await.unwrap();
    response.into_body().collect().await.unwrap_err();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    use http_body_util::BodyExt as _;
    let server = Server::start(|_| ok()).await;
    let client = narthex_runtime::http_client::JobClient::new(&HttpClientConfig::default()).unwrap();
    for _ in 0..3 {
        let response = client.send(crate::request(&server.url("/"))).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(server.asked().len(), 3);
}

/// A server that answers each connection's first request and closes the connection on its second.
async fn forgetful() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                assert!(stream.read(&mut asked).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                assert!(stream.read(&mut asked).await.unwrap() > 0);
            });
        }
    });
    address.to_string()
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_is_sent_again_on_another() {
    let url = format!("http://{}/", forgetful().await);
    let client = narthex_runtime::http_client::JobClient::new(&HttpClientConfig::default()).unwrap();
    for _ in 0..5 {
        let response = client.send(crate::request(&url)).await.unwrap();
        assert_eq!(crate::text(response).await, "ok");
    }
}
