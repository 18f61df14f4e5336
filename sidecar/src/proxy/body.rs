//! A scrape body on its way through: handed on piece by piece as it came, measured beside the way.
//!
//! Guarantees: a piece is asked of the target only when Prometheus has room for it, so that no more than some buffers
//! of a body is ever held. A body that breaks off at the target's end breaks off at Prometheus' end: half an answer is
//! never taken for a whole one. A body that is larger than its job allows is taken no further than it takes Prometheus to
//! see that.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use narthex_common::series_limit::SeriesLimit;
use narthex_runtime::http_client::BorrowedConnection;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{measure::Measurement, running::RunningScrape};

/// A body that the proxy hands on.
pub(super) struct PassingBody {
    /// None once the target was let go because the rest helps nobody: Prometheus has enough to hang up.
    target: Option<Incoming>,
    /// What it comes over; none if that is shared, or has been given back.
    connection: Option<BorrowedConnection>,
    /// The scrape that ends with this body; none once it has ended.
    scrape: Option<(RunningScrape, Measurement)>,
    give_up: Pin<Box<Sleep>>,
    /// Why it breaks off, as soon as what came before that is sent.
    broken_off: Option<BrokenOff>,
}

/// Why a body broke off. Prometheus sees only that it did.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BrokenOff(String);

impl PassingBody {
    /// Hands on a body whose end is the end of the scrape.
    pub(super) fn measured(
        target: Incoming,
        connection: Option<BorrowedConnection>,
        scrape: RunningScrape,
        measurement: Measurement,
    ) -> Self {
        let mut body = Self::unmeasured(target, connection, scrape.give_up_at());
        body.scrape = Some((scrape, measurement));
        // One that is at its end already holds nothing.
        drop(body.end_if_at_end());
        body
    }

    /// Hands on a body that nobody will look at.
    pub(super) fn unmeasured(target: Incoming, connection: Option<BorrowedConnection>, give_up_at: Instant) -> Self {
        Self {
            target: Some(target),
            connection,
            scrape: None,
            give_up: Box::pin(sleep_until(give_up_at)),
            broken_off: None,
        }
    }

    /// What comes next, if it is there already.
    fn poll_target(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(target) = &mut self.target else { return Poll::Pending };
        match (Pin::new(&mut *target).poll_frame(cx), &mut self.connection) {
            (Poll::Pending, Some(connection)) => {
                connection.drive(cx);
                Pin::new(target).poll_frame(cx)
            }
            (next, _) => next,
        }
    }

    /// A piece is on its way; not any more if with it there are too many series.
    fn passed(&mut self, frame: &Frame<Bytes>) -> Result<(), BrokenOff> {
        let (Some((scrape, measurement)), Some(piece)) = (&mut self.scrape, frame.data_ref()) else { return Ok(()) };
        scrape.passed(piece.len());
        measurement.feed(piece);
        if let Some(limit) = scrape.exceeded_by(measurement.exposed()) {
            return Err(self.cut_off(limit));
        }
        if measurement.is_hopeless() {
            self.let_go();
        }
        Ok(())
    }

    /// Closes the connection to the target, while Prometheus still reads what has come through.
    fn let_go(&mut self) {
        self.target = None;
        self.connection = None;
        if let Some((scrape, _)) = self.scrape.take() {
            scrape.refused_as_too_large();
        }
    }

    /// A body of known length is not asked for more once it is complete, so its end has to be looked for.
    fn end_if_at_end(&mut self) -> Result<(), BrokenOff> {
        if self.is_end_stream() { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), BrokenOff> {
        let Some((scrape, mut measurement)) = self.scrape.take() else { return Ok(()) };
        let (bytes, measured) = (measurement.bytes(), measurement.finish());
        // Some of a compressed body is counted only now. Prometheus has not seen the end of it yet.
        if let Ok(Some(load)) = &measured
            && let Some(limit) = scrape.exceeded_by(load.exposed)
        {
            return Err(BrokenOff(scrape.cut_off(limit)));
        }
        scrape.forwarded(measured, bytes, measurement.by_metric());
        Ok(())
    }

    fn cut_off(&mut self, limit: SeriesLimit) -> BrokenOff {
        BrokenOff(self.scrape.take().map(|(scrape, _)| scrape.cut_off(limit)).unwrap_or_default())
    }

    fn break_off(&mut self, reason: String) -> BrokenOff {
        if let Some((scrape, _)) = self.scrape.take() {
            scrape.broke_off(reason.clone());
        }
        BrokenOff(reason)
    }
}

impl Body for PassingBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if let Some(why) = this.broken_off.take() {
            return Poll::Ready(Some(Err(why)));
        }
        let next = match this.poll_target(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let passed = this.passed(&frame).and_then(|()| this.end_if_at_end());
                Some(passed.map(|()| frame))
            }
            Poll::Ready(Some(Err(error))) => Some(Err(this.break_off(as_go_says_it(&error)))),
            Poll::Ready(None) => this.end().err().map(Err),
            Poll::Pending => {
                std::task::ready!(this.give_up.as_mut().poll(cx));
                Some(Err(this.break_off("context deadline exceeded".into())))
            }
        };
        if let Some(Err(why)) = next {
            // hyper drops what it has not sent, be it the head of the answer: it sends that when nothing is there.
            this.broken_off = Some(why);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.target.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.target.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for PassingBody {
    fn drop(&mut self) {
        if let Some((scrape, measurement)) = self.scrape.take()
            && measurement.is_too_large()
        {
            scrape.refused_as_too_large();
        }
    }
}

/// Why reading a body failed, in the words Prometheus has for it.
pub(super) fn as_go_says_it(error: &hyper::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut innermost = error.to_string();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return "unexpected EOF".into();
            }
            if error.kind() == io::ErrorKind::ConnectionReset {
                return error.to_string();
            }
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "unexpected EOF".into();
        }
        innermost = error.to_string();
        cause = error.source();
    }
    if innermost.starts_with("Invalid chunk size line") {
        return "invalid byte in chunk length".into();
    }
    innermost
}
