//! Ending in order: one signal that every task can wait for.

use tokio::sync::watch;

/// Resolves once the process is to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Ends the process in order.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    /// A shutdown and what sets it off.
    #[must_use]
    pub fn new() -> (ShutdownTrigger, Self) {
        let (trigger, waiting) = watch::channel(false);
        (ShutdownTrigger(trigger), Self(waiting))
    }

    /// A shutdown that SIGTERM and SIGINT set off.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (trigger, shutdown) = Self::new();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM received, ending"),
                _ = interrupt.recv() => tracing::info!("SIGINT received, ending"),
            }
            trigger.trigger();
        });
        Ok(shutdown)
    }

    /// Whether the process is to end already.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the process is to end.
    pub async fn wait(mut self) {
        // The trigger gone without a word means that its owner has ended: then so does everybody.
        drop(self.0.wait_for(|ended| *ended).await);
    }
}

impl ShutdownTrigger {
    /// Tells everybody.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}
