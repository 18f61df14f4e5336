//! The pace that the other side of a connection has to keep, so that nobody can hold a connection by doing nothing.
//!
//! hyper has one limit for reading a head, which also counts the time until the next request begins: short, it would cut
//! off clients that keep a connection; long, it would let a head take as long. So the connection itself knows here
//! whether a request is on its way, and what it waits for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::metrics::{TurnedAway, WebMetrics};

/// How long the other side may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte on; of the first request, from the connection on.
    pub head: Duration,
    /// For the beginning of the next request.
    pub idle: Duration,
    /// For taking something of an answer.
    pub taking: Duration,
    /// For the next piece of a request's body.
    pub piece: Duration,
    /// For a request's whole body.
    pub body: Duration,
    /// Without a step of any request on its way, where one that is not taken does not hold up the connection.
    pub standstill: Option<Duration>,
}

impl Limits {
    /// Where heads cannot be told from other traffic, as in HTTP/2, a connection may only be idle for so long.
    pub(super) const fn without_heads(self) -> Self {
        Self { head: self.idle, standstill: Some(self.taking), ..self }
    }
}

/// The requests of one connection.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    on_their_way: AtomicUsize,
    /// Goes up with every request and every piece of an answer that was asked for.
    steps: AtomicUsize,
}

/// A request on its way, until this is dropped.
#[derive(Debug)]
pub struct OnItsWay(Arc<Counts>);

impl Requests {
    /// One more begins.
    #[must_use]
    pub fn one_more(&self) -> OnItsWay {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        self.0.steps.fetch_add(1, Ordering::AcqRel);
        self.0.on_their_way.fetch_add(1, Ordering::AcqRel);
        OnItsWay(Arc::clone(&self.0))
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Acquire)
    }

    fn steps(&self) -> usize {
        self.0.steps.load(Ordering::Acquire)
    }

    fn are_on_their_way(&self) -> bool {
        self.0.on_their_way.load(Ordering::Acquire) > 0
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.on_their_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection whose other side has to keep the pace.
pub struct Paced<S> {
    stream: S,
    requests: Requests,
    /// How many of them had begun when it was looked last.
    begun: usize,
    limits: Limits,
    waits_for: WaitsFor,
    read_by: Pin<Box<Sleep>>,
    written_by: Option<Pin<Box<Sleep>>>,
    /// The steps that had been made when it was looked last, and by when there must be another one.
    steps: usize,
    moves_by: Option<Pin<Box<Sleep>>>,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// The rest of a head.
    Head,
    /// The beginning of a head.
    Request,
    /// Nothing in particular: a request is on its way.
    Answer,
}

impl<S> Paced<S> {
    /// A connection that carries these requests.
    pub fn new(stream: S, requests: Requests, limits: Limits) -> Self {
        let read_by = Box::pin(sleep_until(Instant::now() + limits.head));
        let waits_for = WaitsFor::Head;
        Self { stream, requests, begun: 0, limits, waits_for, read_by, written_by: None, steps: 0, moves_by: None }
    }

    /// Whether no request on its way has made a step for too long.
    fn stands_still(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limits.standstill else { return false };
        let steps = self.requests.steps();
        let has_moved = std::mem::replace(&mut self.steps, steps) != steps;
        let deadline = Instant::now() + limit;
        let moves_by = self.moves_by.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if has_moved {
            moves_by.as_mut().reset(deadline);
        }
        moves_by.as_mut().poll(cx).is_ready()
    }

    fn now_waits_for(&mut self, what: WaitsFor, limit: Duration) {
        self.waits_for = what;
        self.read_by.as_mut().reset(Instant::now() + limit);
    }
}

fn too_slow(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, TooSlow(what.to_owned()))
}

/// The other side did not keep the pace.
#[derive(Debug, thiserror::Error)]
#[error("too slow: {0}")]
pub(super) struct TooSlow(String);

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        // One that was answered at once was never seen on its way.
        let begun = this.requests.begun();
        if std::mem::replace(&mut this.begun, begun) != begun {
            this.waits_for = WaitsFor::Answer;
        }
        if this.requests.are_on_their_way() {
            let stands_still = read.is_pending() && this.stands_still(cx);
            return if stands_still { Poll::Ready(Err(too_slow("no answer was taken in time"))) } else { read };
        }
        this.moves_by = None;
        if this.waits_for == WaitsFor::Answer {
            this.now_waits_for(WaitsFor::Request, this.limits.idle);
        }
        let came = matches!(read, Poll::Ready(Ok(()))) && into.filled().len() > before;
        if came && this.waits_for == WaitsFor::Request {
            this.now_waits_for(WaitsFor::Head, this.limits.head);
        }
        if read.is_ready() || this.read_by.as_mut().poll(cx).is_pending() {
            return read;
        }
        Poll::Ready(Err(too_slow("no whole request came in time")))
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    fn written<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.written_by = None;
            return wrote;
        }
        let deadline = Instant::now() + self.limits.taking;
        let written_by = self.written_by.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        match written_by.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(too_slow("nothing of an answer was taken in time"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, shut)
    }
}

/// The body of a request that has to keep the pace.
pub(super) struct PacedBody {
    body: Body,
    limits: Limits,
    metrics: WebMetrics,
    next_by: Option<Pin<Box<Sleep>>>,
    whole_by: Instant,
}

impl PacedBody {
    pub(super) fn new(body: Body, limits: Limits, metrics: WebMetrics) -> Self {
        Self { body, limits, metrics, next_by: None, whole_by: Instant::now() + limits.body }
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        // Looked at before what came: who sends a byte now and then must not go on for ever either.
        if Instant::now() < this.whole_by
            && let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx)
        {
            this.next_by = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = this.whole_by.min(Instant::now() + this.limits.piece);
        let next_by = this.next_by.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        match next_by.as_mut().poll(cx) {
            Poll::Ready(()) => {
                this.metrics.turned_away(TurnedAway::TooSlow);
                Poll::Ready(Some(Err(TooSlow("the body did not come in time".to_owned()).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, until whose end its request is on its way.
pub struct AnswerBody<B> {
    body: B,
    request: OnItsWay,
}

impl<B> AnswerBody<B> {
    /// The body of the answer to a request.
    pub fn new(body: B, request: OnItsWay) -> Self {
        Self { body, request }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.request.0.steps.fetch_add(1, Ordering::AcqRel);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
