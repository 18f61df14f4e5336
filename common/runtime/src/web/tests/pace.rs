use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::*;

/// Short ones, and each of its own length: what ends a connection is told by when it ends.
const SHORT: Limits = Limits {
    head: Duration::from_millis(600),
    idle: Duration::from_millis(1800),
    taking: Duration::from_millis(600),
    piece: Duration::from_millis(600),
    body: Duration::from_millis(1800),
    standstill: None,
};

/// How long it takes until the server closes a connection.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    // A connection that is reset is closed, too.
    drop(timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("it stays open"));
    began.elapsed()
}

/// An answer up to an end that is known.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut piece = [0; 1024];
        let n = timeout(Duration::from_secs(10), stream.read(&mut piece)).await.expect("it says nothing").unwrap();
        assert!(n > 0, "it ended after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(text).unwrap()
}

fn is_about(took: Duration, limit: Duration) -> bool {
    // Below by a hair: the server's clock began before ours. Above by what a busy machine may take.
    took + Duration::from_millis(100) > limit && took < limit + Duration::from_millis(1000)
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let scene = Scene::with_limits(SHORT, "", "").await;
    for beginning in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let dripping = tokio::spawn(async move {
            while writing.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        });
        let (began, mut rest) = (Instant::now(), Vec::new());
        drop(timeout(Duration::from_secs(10), reading.read_to_end(&mut rest)).await.expect("it stays open"));
        assert!(is_about(began.elapsed(), SHORT.head), "{:?}", began.elapsed());
        dripping.abort();
    }
    soon("both are counted", async || scene.has_metric(r#"narthex_web_turned_away_total{reason="too_slow"} 2"#)).await;
}

#[tokio::test]
async fn a_connection_may_wait_for_its_next_request_longer_than_that_takes_to_come() {
    let scene = Scene::with_limits(SHORT, "", "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let request = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, "healthy").await;
    sleep(SHORT.head + Duration::from_millis(400)).await;
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, "healthy").await;
    let idle = closed_after(&mut stream).await;
    assert!(is_about(idle, SHORT.idle), "{idle:?}");

    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, "healthy").await;
    stream.write_all(b"GET").await.unwrap();
    let head = closed_after(&mut stream).await;
    assert!(is_about(head, SHORT.head), "a head that has begun: {head:?}");
}

#[tokio::test]
async fn a_body_must_go_on_and_must_end() {
    let scene = Scene::with_limits(SHORT, "", "").await;
    let head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbeginning";
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(head).await.unwrap();
    let began = Instant::now();
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("the body did not come in time"), "{answer}");
    assert!(is_about(began.elapsed(), SHORT.piece), "{:?}", began.elapsed());

    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(head).await.unwrap();
    let began = Instant::now();
    for _ in 0..40 {
        sleep(Duration::from_millis(100)).await;
        if began.elapsed() > SHORT.body + Duration::from_millis(300) || stream.write_all(b"x").await.is_err() {
            break;
        }
    }
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.contains("the body did not come in time"), "{answer}");
    assert!(scene.has_metric(r#"narthex_web_turned_away_total{reason="too_slow"} 2"#), "{}", scene.metrics());
}

#[tokio::test]
async fn a_body_larger_than_its_route_takes_is_not_read_to_its_end() {
    let scene = Scene::with_limits(SHORT, "", "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 4096]).await.unwrap();
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("LengthLimitError"), "{answer}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let scene = Scene::with_limits(LIMITS, "", "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(200 << 10));
    // It may be refused before all of it is sent.
    drop(stream.write_all(head.as_bytes()).await);
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let scene = Scene::with_limits(SHORT, "", "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    soon("the connection is served", async || scene.has_metric("narthex_web_connections 1")).await;
    soon("the connection is given up", async || scene.has_metric("narthex_web_connections 0")).await;
    assert!(scene.has_metric(r#"narthex_web_turned_away_total{reason="too_slow"} 1"#), "{}", scene.metrics());
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_come_holds_nobody_else_up() {
    let tls = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
    let scene = Scene::with_limits(SHORT, tls, "").await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(scene.address).await.unwrap());
    }
    let client = scene.client("tls_config:\n  ca_file: ca.pem\n");
    assert_eq!(scene.get(&client, "https", "/").await.unwrap().0, 200);
}

#[tokio::test]
async fn requests_on_their_way_are_answered_when_the_process_ends() {
    let scene = Scene::with_limits(LIMITS, "", "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12").await.unwrap();
    soon("the connection is served", async || scene.has_metric("narthex_web_connections 1")).await;
    sleep(Duration::from_millis(100)).await;
    scene._runs.trigger();
    sleep(Duration::from_millis(100)).await;
    stream.write_all(b"34").await.unwrap();
    let answer = read_until(&mut stream, "4 bytes").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn requests_that_all_stand_still_end_a_connection_that_none_of_them_holds_up() {
    use crate::web::pace::{Paced, Requests};
    let (_other_side, stream) = tokio::io::duplex(64);
    let requests = Requests::default();
    let _one = requests.one_more();
    let mut paced = Paced::new(stream, requests.clone(), SHORT.without_heads());
    let began = Instant::now();
    let broken = tokio::time::timeout(Duration::from_secs(5), paced.read_u8()).await.unwrap().unwrap_err();
    assert!(broken.to_string().contains("no answer was taken in time") && began.elapsed() >= SHORT.taking);

    let (_other_side, stream) = tokio::io::duplex(64);
    let mut patient = Paced::new(stream, requests, SHORT);
    assert!(tokio::time::timeout(SHORT.taking * 2, patient.read_u8()).await.is_err(), "HTTP/1 has limits of its own");
}
