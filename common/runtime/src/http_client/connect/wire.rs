//! An open connection as HTTP sees it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::Stream;

/// A stream with TLS around it.
pub(super) type Encrypted = TlsStream<Box<dyn Stream>>;

/// An open connection, and what it is good for.
pub(in super::super) struct Wire {
    stream: Box<dyn Stream>,
    /// Whether a proxy reads the requests (they then carry the whole URL).
    speaks_to_proxy: bool,
    speaks_http2: bool,
}

impl Wire {
    /// To a server, without TLS.
    pub(super) fn plain(stream: Box<dyn Stream>) -> Self {
        Self { stream, speaks_to_proxy: false, speaks_http2: false }
    }

    /// To a proxy that reads requests.
    pub(super) fn to_proxy(stream: Box<dyn Stream>) -> Self {
        Self { stream, speaks_to_proxy: true, speaks_http2: false }
    }

    /// To a server, with TLS.
    pub(super) fn encrypted(stream: Encrypted) -> Self {
        let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { stream: Box::new(stream), speaks_to_proxy: false, speaks_http2 }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.speaks_to_proxy);
        if self.speaks_http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
