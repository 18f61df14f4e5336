//! What has happened on a connection: whether an answer ever came over it, and why it broke.
//!
//! hyper tells the second only sometimes: when a server refuses a client's certificate, TLS 1.3 lets it do so after the
//! handshake, and over HTTP/2 all that comes back then is `channel closed`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::{
    self,
    connect::{Connected, Connection},
};
use tower::Service;

use super::driver::Driver;
use crate::http_client::failure;

tokio::task_local! {
    /// The past of the connection that a request opens for itself, so that its failure is found even if hyper does not
    /// hand the connection back.
    static OPENED: Past;
}

/// What has happened on a connection. Found among the extensions of answers and failures.
#[derive(Clone, Default)]
pub(in super::super) struct Past(Arc<Events>);

#[derive(Default)]
struct Events {
    answered: AtomicBool,
    broke: OnceLock<String>,
    /// That of a connection which has just been opened and is not run yet.
    driver: Mutex<Option<Driver>>,
}

impl Past {
    /// Runs a request; a connection that it opens has this past.
    pub(in super::super) async fn of_opened_by<T>(&self, request: impl Future<Output = T>) -> T {
        OPENED.scope(self.clone(), request).await
    }

    /// The past of the connections that the request which is running now opens, if one is.
    pub(super) fn being_made() -> Option<Self> {
        OPENED.try_with(Self::clone).ok()
    }

    /// The driver of a connection that has just been opened, once.
    pub(super) fn take_driver(&self) -> Option<Driver> {
        self.0.driver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A connection has been opened, which is to be run by its own driver, if it has one.
    fn opened(&self, driver: Option<&Driver>) {
        *self.0.driver.lock().unwrap_or_else(PoisonError::into_inner) = driver.cloned();
    }

    /// Remembers that an answer came.
    pub(in super::super) fn set_answered(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// Whether a failed request was not the first one on its connection.
    pub(in super::super) fn had_answered(failure: &legacy::Error) -> bool {
        let mut extensions = http::Extensions::new();
        if let Some(connection) = failure.connect_info() {
            connection.get_extras(&mut extensions);
        }
        extensions.get::<Self>().is_some_and(|past| past.0.answered.load(Ordering::Relaxed))
    }

    /// Why the connection broke, if it did.
    pub(in super::super) fn why_it_broke(&self) -> Option<&str> {
        self.0.broke.get().map(String::as_str)
    }
}

/// A connector whose connections remember their past.
#[derive(Clone)]
pub(in super::super) struct Remembering<C>(pub(in super::super) C);

impl<C> Service<Uri> for Remembering<C>
where
    C: Service<Uri>,
    C::Response: Connection,
    C::Future: Send + 'static,
{
    type Response = Remembered<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        // Outside of a request, which is possible when hyper opens one connection too many, nobody will ask.
        let past = Past::being_made().unwrap_or_default();
        let opening = self.0.call(target);
        Box::pin(async move {
            let stream = opening.await?;
            // Many requests share a connection of HTTP/2: it is nobody's to drive.
            let driver = (!stream.connected().is_negotiated_h2()).then(Driver::default);
            past.opened(driver.as_ref());
            Ok(Remembered { stream, past, driver, failed_write: None })
        })
    }
}

/// A connection with its past.
pub(in super::super) struct Remembered<S> {
    stream: S,
    past: Past,
    driver: Option<Driver>,
    /// What a write failed with, until the reason is known.
    failed_write: Option<io::Error>,
}

impl<S: Connection> Connection for Remembered<S> {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected().extra(self.past.clone());
        match &self.driver {
            Some(driver) => connected.extra(driver.clone()),
            None => connected,
        }
    }
}

impl<S: Read + Unpin> Remembered<S> {
    /// Ends a write. When it failed, the other side may have said why before it closed the connection: that is still to
    /// be read, and tells more than a broken pipe does. A connection that cannot be written to any more has an end, so
    /// this does not wait for long.
    fn end_write<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(why)) => self.failed_write = Some(why),
            Poll::Ready(Ok(_)) | Poll::Pending => return written,
        }
        self.read_to_the_end(cx)
    }

    fn read_to_the_end<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut unread = [0; 1024];
        loop {
            let mut into = ReadBuf::new(&mut unread);
            match Pin::new(&mut *self).poll_read(cx, into.unfilled()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => break,
            }
        }
        let why = self.failed_write.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        self.past.0.broke.get_or_init(|| failure::of_a_connection(&why));
        Poll::Ready(Err(why))
    }
}

impl<S: Read + Unpin> Read for Remembered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Poll::Ready(Err(why)) = &read {
            self.past.0.broke.get_or_init(|| failure::of_a_connection(why));
        }
        read
    }
}

impl<S: Read + Write + Unpin> Write for Remembered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.failed_write.is_some() {
            return self.read_to_the_end(cx);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.end_write(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failed_write.is_some() {
            return self.read_to_the_end(cx);
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.end_write(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
