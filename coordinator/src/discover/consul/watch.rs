//! Waiting for changes: one question is asked again and again, each time for what came after the last answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    super::group::TargetGroup,
    api::{Consul, Indexed},
    group::group_of,
};

/// What a watcher heard; nothing if Consul says that all is as it was.
#[derive(Debug)]
pub(super) enum Heard {
    /// Of the list of services, with their tags.
    Services(Result<Option<BTreeMap<String, Vec<String>>>, String>),
    /// Of one service.
    Service(String, Result<Option<TargetGroup>, String>),
}

/// How often Consul is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// At most once in this time.
    pub(super) interval: Duration,
    /// After a failure not for this time.
    pub(super) retry: Duration,
}

/// Follows the list of services, until dropped.
pub(super) async fn watch_services(consul: Arc<Consul>, pace: Pace, heard: mpsc::Sender<Heard>) {
    let mut turn = Turn::new(pace);
    loop {
        let services = turn.news(consul.services(turn.since()).await);
        let failed = services.is_err();
        if heard.send(Heard::Services(services)).await.is_err() {
            return;
        }
        turn.over(failed).await;
    }
}

/// Follows one service of a datacenter, until dropped.
pub(super) async fn watch_service(
    consul: Arc<Consul>,
    (service, datacenter): (String, Arc<str>),
    pace: Pace,
    heard: mpsc::Sender<Heard>,
) {
    let mut turn = Turn::new(pace);
    loop {
        let instances = turn.news(consul.instances(&service, turn.since()).await);
        let failed = instances.is_err();
        let group = instances.map(|instances| {
            instances.map(|list| group_of(&service, &datacenter, &consul.config.tag_separator, &list))
        });
        if heard.send(Heard::Service(service.clone(), group)).await.is_err() {
            return;
        }
        turn.over(failed).await;
    }
}

/// Whose turn it is: Consul's to answer, or ours to wait.
struct Turn {
    interval: Interval,
    retry: Duration,
    /// The index of the last answer; none before it.
    index: Option<u64>,
    /// The index to wait for changes after.
    since: u64,
}

impl Turn {
    fn new(pace: Pace) -> Self {
        let mut interval = interval_at(Instant::now() + pace.interval, pace.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { interval, retry: pace.retry, index: None, since: 0 }
    }

    const fn since(&self) -> u64 {
        self.since
    }

    /// What is new in an answer.
    fn news<T>(&mut self, answer: Result<Indexed<T>, String>) -> Result<Option<T>, String> {
        // An answer is to come at once after a failure: it says that all is well again.
        let Indexed { index, answer } = answer.inspect_err(|_| self.since = 0)?;
        // Without an index nothing can be said.
        let is_new = index == 0 || self.index != Some(index);
        // One that goes back is another Consul's, or that of one that was restored: no change after it may ever come.
        self.since = if self.index.is_some_and(|before| index < before) { 0 } else { index };
        self.index = Some(index);
        Ok(is_new.then_some(answer))
    }

    /// Waits until it may be asked again.
    async fn over(&mut self, failed: bool) {
        if failed {
            tokio::time::sleep(self.retry).await;
        }
        self.interval.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_waited_for_after_the_last_answer_and_from_the_beginning_when_the_index_went_back() {
        let second = Duration::from_secs(1);
        let mut turn = Turn::new(Pace { interval: second, retry: second });
        for (index, is_new, since) in
            [(7, true, 7), (7, false, 7), (9, true, 9), (3, true, 0), (3, false, 3), (0, true, 0), (0, true, 0)]
        {
            let news = turn.news(Ok(Indexed { index, answer: () })).unwrap();
            assert_eq!((news.is_some(), turn.since()), (is_new, since), "at {index}");
        }
        turn.news(Ok(Indexed { index: 5, answer: () })).unwrap();
        assert_eq!(turn.news::<()>(Err("x".into())), Err("x".to_owned()));
        assert_eq!(turn.since(), 0, "after a failure an answer is to come at once");
        assert_eq!(turn.news(Ok(Indexed { index: 5, answer: () })), Ok(None));
    }
}
