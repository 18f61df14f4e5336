//! Who drives a connection. hyper reads and writes only while somebody polls the connection, beside the requests on it: a
//! task does so, unless whoever reads an answer has borrowed it. Then a piece goes straight to its reader, and no other
//! task has to be woken for each of them.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http::Extensions;
use hyper::rt::Executor;

use super::past::Past;

/// What hyper wants to be run: a connection, or something that waits for one.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What drives one connection of HTTP/1.1. Found among the extensions of answers.
#[derive(Clone, Default)]
pub(super) struct Driver(Arc<Mutex<Drive>>);

#[derive(Default)]
struct Drive {
    /// None before it has begun and once it has ended.
    connection: Option<Running>,
    is_lent: bool,
    /// Wakes the task that drives what is not lent.
    background: Option<Waker>,
}

/// A connection that its borrower drives, until this is dropped.
pub struct BorrowedConnection(Driver);

impl BorrowedConnection {
    /// The connection over which an answer with these extensions comes; none if others need it, too.
    ///
    /// The borrower has to [drive](Self::drive) it whenever the answer's body has nothing for it, or nothing will come.
    pub fn of(answer: &mut Extensions) -> Option<Self> {
        let driver = answer.remove::<Driver>()?;
        let was_lent = std::mem::replace(&mut driver.lock().is_lent, true);
        (!was_lent).then_some(Self(driver))
    }

    /// Reads and writes as far as that is possible now, and has the task woken when it is again.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        let mut drive = self.0.lock();
        if drive.poll(cx).is_ready() {
            drive.connection = None;
        }
    }
}

impl fmt::Debug for BorrowedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowedConnection").finish_non_exhaustive()
    }
}

impl Drop for BorrowedConnection {
    fn drop(&mut self) {
        let background = {
            let mut drive = self.0.lock();
            drive.is_lent = false;
            drive.background.take()
        };
        if let Some(background) = background {
            background.wake();
        }
    }
}

impl Driver {
    fn lock(&self) -> MutexGuard<'_, Drive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drive {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.as_mut().map_or(Poll::Ready(()), |connection| connection.as_mut().poll(cx))
    }
}

/// Drives a connection while it is not lent.
struct InBackground(Driver);

impl Future for InBackground {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut drive = self.0.lock();
        if drive.is_lent || drive.poll(cx).is_pending() {
            drive.background = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for InBackground {
    /// A connection knows its driver: without this, both would stay.
    fn drop(&mut self) {
        let ended = self.0.lock().connection.take();
        drop(ended);
    }
}

/// Runs what hyper wants to be run.
#[derive(Clone, Copy)]
pub(in super::super) struct Drivers;

impl Executor<Running> for Drivers {
    fn execute(&self, running: Running) {
        let Some(past) = Past::being_made() else {
            tokio::spawn(running);
            return;
        };
        match past.take_driver() {
            // The first thing that is run for a connection that has just been opened is the connection.
            Some(driver) => {
                driver.lock().connection = Some(running);
                tokio::spawn(InBackground(driver));
            }
            None => {
                tokio::spawn(async move { past.of_opened_by(running).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::sync::Notify;

    use super::*;

    /// A connection that is polled whenever there is something to do, counts that, and never ends.
    fn run(driver: &Driver) -> (Arc<Notify>, Arc<AtomicUsize>) {
        let (work, done) = (Arc::new(Notify::new()), Arc::<AtomicUsize>::default());
        let (to_do, doing) = (Arc::clone(&work), Arc::clone(&done));
        let connection = async move {
            loop {
                to_do.notified().await;
                doing.fetch_add(1, Ordering::Relaxed);
            }
        };
        driver.lock().connection = Some(Box::pin(connection));
        tokio::spawn(InBackground(driver.clone()));
        (work, done)
    }

    fn answer_over(driver: &Driver) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(driver.clone());
        extensions
    }

    async fn drive_once(borrowed: &mut BorrowedConnection) {
        std::future::poll_fn(|cx| {
            borrowed.drive(cx);
            Poll::Ready(())
        })
        .await;
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_goes_on_by_itself_unless_it_is_borrowed() {
        let driver = Driver::default();
        let (work, done) = run(&driver);
        let works = async || {
            work.notify_one();
            settle().await;
            done.load(Ordering::Relaxed)
        };
        assert_eq!(works().await, 1);

        let mut borrowed = BorrowedConnection::of(&mut answer_over(&driver)).unwrap();
        assert_eq!(works().await, 1, "its task leaves it alone");
        drive_once(&mut borrowed).await;
        assert_eq!(done.load(Ordering::Relaxed), 2);
        let borrower = tokio::spawn(async move {
            std::future::poll_fn::<(), _>(|cx| {
                borrowed.drive(cx);
                Poll::Pending
            })
            .await;
        });
        settle().await;
        assert_eq!(works().await, 3, "the borrower is woken for it");

        borrower.abort();
        settle().await;
        assert_eq!(works().await, 4, "and its task again");
    }

    #[tokio::test]
    async fn a_connection_is_lent_to_one_at_a_time() {
        let driver = Driver::default();
        drop(run(&driver));
        let first = BorrowedConnection::of(&mut answer_over(&driver));
        assert!(first.is_some() && BorrowedConnection::of(&mut answer_over(&driver)).is_none());
        drop(first);
        assert!(BorrowedConnection::of(&mut answer_over(&driver)).is_some());
    }

    #[tokio::test]
    async fn a_connection_whose_task_is_gone_is_closed() {
        let driver = Driver::default();
        let background = {
            driver.lock().connection = Some(Box::pin(std::future::pending()));
            InBackground(driver.clone())
        };
        let mut borrowed = BorrowedConnection::of(&mut answer_over(&driver)).unwrap();
        drop(background);
        assert!(driver.lock().connection.is_none());
        drive_once(&mut borrowed).await;
    }
}
