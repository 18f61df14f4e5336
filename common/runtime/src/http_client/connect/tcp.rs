//! A TCP connection whose failures name both of its ends.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::http_client::failure;

/// Why a connection broke, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in super::super) struct Broken(String);

/// A TCP connection.
pub(super) struct Tcp {
    stream: TcpStream,
    /// Its own address and the other side's, which the system forgets when the connection is reset.
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        Self { stream, ends }
    }

    /// A failure as Go's `net.OpError` says it: `read tcp 10.0.0.1:40000->10.0.0.2:80: read: connection reset by peer`.
    fn named<T>(&self, doing: &str, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        done.map_err(|e| match (self.ends, e.raw_os_error()) {
            (Some((own, other)), Some(_)) => {
                let text = format!("{doing} tcp {own}->{other}: {doing}: {}", failure::words(&e));
                io::Error::new(e.kind(), Broken(text))
            }
            (None, _) | (_, None) => e,
        })
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.named("read", read)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.named("write", written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
