//! Proxies that pass streams on, and such that do not: HTTP tunnels and SOCKS5.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// What a relay does with those who connect.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Opens tunnels by CONNECT.
    Tunnel,
    /// Answers CONNECT with this status.
    Refuse(&'static str),
    /// Closes the connection once it was asked.
    HangUp,
    /// Speaks SOCKS5, to those with this user and password if there is one.
    Socks(Option<(&'static str, &'static str)>),
    /// Speaks SOCKS5 and answers with these bytes, one slice for each message.
    SocksAnswering(&'static [&'static [u8]]),
}

/// A running proxy.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::serve(manner, None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_tls(manner: Manner, tls: ServerConfig) -> Self {
        Self::serve(manner, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn serve(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, remember) = (tls.clone(), Arc::clone(&remember));
                tokio::spawn(async move {
                    match tls {
                        None => relay(stream, manner, &remember).await,
                        Some(tls) => relay(tls.accept(stream).await.unwrap(), manner, &remember).await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// What was asked for: heads of CONNECT, or where SOCKS clients wanted to go.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, manner: Manner, asked: &Mutex<Vec<String>>) {
    let target = match manner {
        Manner::Socks(user) => agree(&mut client, user).await,
        Manner::SocksAnswering(answers) => {
            for answer in answers {
                let mut message = [0; 512];
                assert!(client.read(&mut message).await.unwrap() > 0);
                client.write_all(answer).await.unwrap();
            }
            return;
        }
        Manner::Tunnel | Manner::Refuse(_) | Manner::HangUp => {
            let head = read_head(&mut client).await;
            asked.lock().unwrap().push(head.clone());
            match manner {
                Manner::Refuse(status) => {
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    return client.write_all(answer.as_bytes()).await.unwrap();
                }
                Manner::HangUp => return,
                Manner::Tunnel | Manner::Socks(_) | Manner::SocksAnswering(_) => {}
            }
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            Some(head.split(' ').nth(1).unwrap().to_owned())
        }
    };
    let Some(target) = target else { return };
    if matches!(manner, Manner::Socks(_)) {
        asked.lock().unwrap().push(target.clone());
    }
    // Names are known to the proxy only.
    let mut upstream = TcpStream::connect(target.replace("only.proxy.knows", "127.0.0.1")).await.unwrap();
    drop(copy_bidirectional(&mut client, &mut upstream).await);
}

async fn read_head<S: AsyncRead + Unpin>(client: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The server's part of RFC 1928 and RFC 1929: where the client wants to go.
async fn agree<S>(client: &mut S, user: Option<(&str, &str)>) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    assert_eq!(client.read_u8().await.unwrap(), 5);
    let methods = read_text(client).await;
    match user {
        None => client.write_all(&[5, 0]).await.unwrap(),
        Some(_) if !methods.contains(&2) => {
            client.write_all(&[5, 0xff]).await.unwrap();
            return None;
        }
        Some((user, password)) => {
            client.write_all(&[5, 2]).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 1);
            let shown = (read_text(client).await, read_text(client).await);
            let may = shown == (user.as_bytes().to_vec(), password.as_bytes().to_vec());
            client.write_all(&[1, u8::from(!may)]).await.unwrap();
            if !may {
                return None;
            }
        }
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..3], [5, 1, 0]);
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(client.read_u32().await.unwrap()).to_string(),
        3 => String::from_utf8(read_text(client).await).unwrap(),
        4 => format!("[{}]", std::net::Ipv6Addr::from(client.read_u128().await.unwrap())),
        other => panic!("address type {other}"),
    };
    let port = client.read_u16().await.unwrap();
    // Where it sends from, as a name: clients must be able to read that.
    client.write_all(&[5, 0, 0, 3, 2, b'm', b'e', 0, 9]).await.unwrap();
    Some(format!("{host}:{port}"))
}

/// Bytes after their number.
async fn read_text<S: AsyncRead + Unpin>(client: &mut S) -> Vec<u8> {
    let mut text = vec![0; usize::from(client.read_u8().await.unwrap())];
    client.read_exact(&mut text).await.unwrap();
    text
}
