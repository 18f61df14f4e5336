//! Shards without processes, for tests: a [`Fleet`] is provider and client at once, and keeps the promises that sidecars
//! and their providers keep.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt as _};
use narthex_common::{
    assignment::{Assignment, AssignmentUpdate, TargetState},
    config::ConfigSources,
    fingerprint::Fingerprint,
    load::Load,
    report::{ConfigFrom, Cursor, Health, PrometheusReport, Report, SCRAPES_COUNTED, TargetReport},
    samples::{Samples, SamplesQuery},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::world::OwnBudget;
use url::Url;

use super::{Refused, RefusedByPrometheus, ShardClient};
use crate::provider::{Provider, Replica, ShardAddress};

/// One replica, `replica-0`, of shards in memory.
#[derive(Debug)]
pub(crate) struct Fleet(Mutex<State>);

#[derive(Debug)]
struct State {
    config: Fingerprint,
    scalable: bool,
    wanted: u32,
    shards: BTreeMap<Ordinal, FakeShard>,
    asked: Asked,
}

/// What a fleet was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) whole_reports: usize,
    pub(crate) changes: usize,
    pub(crate) assignments: usize,
    pub(crate) puts: usize,
    pub(crate) reloads: usize,
    pub(crate) configs: usize,
    pub(crate) scales: usize,
}

/// A shard; tests change its fields through [`Fleet::with_shard`].
#[derive(Debug)]
pub(crate) struct FakeShard {
    pub(crate) link: Link,
    /// The config it runs.
    pub(crate) config: Fingerprint,
    pub(crate) config_from: ConfigFrom,
    pub(crate) ready: bool,
    pub(crate) prometheus_is_down: bool,
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) assignment: Assignment,
    pub(crate) samples: Samples,
    /// What its Prometheus answers, by path, or why it refuses; anything else it does not know.
    pub(crate) prometheus_answers: BTreeMap<&'static str, Result<serde_json::Value, String>>,
    /// What its Prometheus was asked.
    pub(crate) prometheus_was_asked: Vec<(String, Vec<(&'static str, String)>)>,
    /// Tells cursors of before and after a restart apart.
    epoch: u32,
    newest: u64,
    targets: BTreeMap<TargetId, (u64, TargetReport)>,
}

/// What becomes of requests to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Refused,
    /// Requests are never answered.
    Hangs,
    /// Reports are answered; what it is told to do is not before the link is another one.
    Busy,
}

impl Fleet {
    /// A fleet of empty shards that run the given config.
    pub(crate) fn new(shards: u32, config: Fingerprint) -> Arc<Self> {
        let shards_by_ordinal = (0..shards).map(|n| (Ordinal(n), FakeShard::new(config))).collect();
        let asked = Asked::default();
        Arc::new(Self(Mutex::new(State { config, scalable: true, wanted: shards, shards: shards_by_ordinal, asked })))
    }

    pub(crate) fn replica_id() -> ReplicaId {
        ReplicaId("replica-0".into())
    }

    pub(crate) fn set_scalable(&self, scalable: bool) {
        self.state().scalable = scalable;
    }

    /// The config file that shards read at their next reload, and that new shards start with.
    pub(crate) fn set_config(&self, config: Fingerprint) {
        self.state().config = config;
    }

    /// What was asked for since this was called last.
    pub(crate) fn asked(&self) -> Asked {
        std::mem::take(&mut self.state().asked)
    }

    pub(crate) fn with_shard<T>(&self, ordinal: u32, act: impl FnOnce(&mut FakeShard) -> T) -> T {
        act(self.state().shards.get_mut(&Ordinal(ordinal)).expect("no such shard"))
    }

    /// Every shard that can be reached scrapes each of its targets once, and finds the load given for it.
    pub(crate) fn scrape_all(&self, load: impl Fn(&TargetId) -> Load) {
        for shard in self.state().shards.values_mut() {
            let ids: Vec<TargetId> = shard.targets.keys().copied().collect();
            ids.into_iter().for_each(|id| shard.scrape(id, load(&id)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Does what is asked of the shard at an address, if it can be reached.
    fn ask<T: Send + 'static>(
        &self,
        url: &Url,
        act: impl FnOnce(&mut FakeShard, &mut Asked, Fingerprint) -> anyhow::Result<T>,
    ) -> BoxFuture<'_, anyhow::Result<T>> {
        let State { config, shards, asked, .. } = &mut *self.state();
        let answer = match shards.iter_mut().find(|(n, _)| address(**n).url == *url) {
            None => Err(anyhow::anyhow!("no route to host")),
            Some((_, shard)) => match shard.link {
                Link::Up | Link::Busy => act(shard, asked, *config),
                Link::Refused => Err(anyhow::anyhow!("connection refused")),
                Link::Hangs => return future::pending().boxed(),
            },
        };
        future::ready(answer).boxed()
    }

    /// Does what is asked of a shard once it is not busy.
    fn ask_when_free<'a>(
        &'a self,
        url: &'a Url,
        act: impl FnOnce(&mut FakeShard, Fingerprint) -> anyhow::Result<()> + Send + 'a,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        let is_busy = || self.state().shards.iter().any(|(n, s)| address(*n).url == *url && s.link == Link::Busy);
        Box::pin(async move {
            while is_busy() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.ask(url, |shard, _, config| act(shard, config)).await
        })
    }
}

fn address(ordinal: Ordinal) -> ShardAddress {
    ShardAddress {
        ordinal,
        id: ShardId(format!("shard-{ordinal}")),
        url: format!("http://shard-{ordinal}.replica-0:8080/").parse().unwrap(),
        problem: None,
        budget: OwnBudget::default(),
    }
}

impl FakeShard {
    fn new(config: Fingerprint) -> Self {
        Self {
            link: Link::Up,
            config,
            config_from: ConfigFrom::File,
            ready: true,
            prometheus_is_down: false,
            idle_since: None,
            assignment: Assignment::default(),
            samples: Samples::new(),
            prometheus_answers: BTreeMap::new(),
            prometheus_was_asked: Vec::new(),
            epoch: 0,
            newest: 0,
            targets: BTreeMap::new(),
        }
    }

    /// The sidecar restarts: what it has on disk stays, what it counted does not.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        self.newest = 0;
        self.targets.clear();
        self.take(self.assignment.clone());
    }

    pub(crate) fn scrape(&mut self, id: TargetId, load: Load) {
        self.newest += 1;
        if let Some((changed, report)) = self.targets.get_mut(&id) {
            *changed = self.newest;
            report.health = Health::Up;
            report.load = Some(load);
            report.scrapes = (report.scrapes + 1).min(SCRAPES_COUNTED);
        }
    }

    pub(crate) fn target_states(&self) -> BTreeMap<TargetId, TargetState> {
        self.assignment.targets.iter().map(|(id, assigned)| (*id, assigned.state)).collect()
    }

    fn take(&mut self, assignment: Assignment) {
        self.targets.retain(|id, _| assignment.targets.contains_key(id));
        for (id, assigned) in &assignment.targets {
            self.newest += 1;
            let (changed, report) = self.targets.entry(*id).or_insert_with(|| (0, unscraped(*id, assigned.load)));
            *changed = self.newest;
            report.state = assigned.state;
        }
        self.assignment = assignment;
    }

    fn report(&self, since: Option<&Cursor>) -> Report {
        let seen = since.and_then(|cursor| {
            let (epoch, seen) = cursor.0.split_once('.')?;
            (epoch == self.epoch.to_string()).then(|| seen.parse::<u64>().ok()).flatten()
        });
        let told = self.targets.values().filter(|(changed, _)| seen.is_none_or(|seen| *changed > seen));
        Report {
            cursor: Cursor(format!("{}.{}", self.epoch, self.newest)),
            complete: seen.is_none(),
            revision: self.assignment.revision,
            config: self.config,
            config_from: self.config_from,
            config_error: None,
            idle_since: self.idle_since,
            prometheus: PrometheusReport {
                ready: self.ready,
                silent_since: self.prometheus_is_down.then_some(Timestamp(0)),
                version: Some(narthex_common::semantics::PrometheusVersion::V3_5),
                ..PrometheusReport::default()
            },
            target_mismatch: None,
            targets: told.map(|(_, report)| report.clone()).collect(),
        }
    }
}

fn unscraped(id: TargetId, load: Option<Load>) -> TargetReport {
    TargetReport {
        id,
        state: TargetState::Normal,
        health: Health::Unknown,
        last_error: String::new(),
        last_scrape: None,
        last_scrape_duration: Duration::ZERO,
        load,
        scrapes: 0,
        dropped: false,
    }
}

impl ShardClient for Fleet {
    fn report<'a>(&'a self, shard: &'a Url, since: Option<&'a Cursor>) -> BoxFuture<'a, anyhow::Result<Report>> {
        self.ask(shard, |shard, asked, _| {
            let report = shard.report(since);
            *if report.complete { &mut asked.whole_reports } else { &mut asked.changes } += 1;
            Ok(report)
        })
    }

    fn assignment<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<Assignment>> {
        self.ask(shard, |shard, asked, _| {
            asked.assignments += 1;
            Ok(shard.assignment.clone())
        })
    }

    fn put_assignment<'a>(&'a self, shard: &'a Url, update: &'a AssignmentUpdate) -> BoxFuture<'a, anyhow::Result<()>> {
        self.state().asked.puts += 1;
        self.ask_when_free(shard, |shard, _| {
            if update.config != shard.config {
                return Err(Refused("the shard runs another config".into()).into());
            }
            let next = shard.assignment.updated(update.clone()).map_err(|e| Refused(e.to_string()))?;
            shard.take(next);
            Ok(())
        })
    }

    fn samples<'a>(&'a self, shard: &'a Url, query: &'a SamplesQuery) -> BoxFuture<'a, anyhow::Result<Samples>> {
        self.ask(shard, |shard, _, _| {
            let asked_for = shard.samples.iter().filter(|(name, _)| query.asks_for(name));
            let mut samples: Samples = asked_for.map(|(name, job)| (name.clone(), job.clone())).collect();
            samples.values_mut().for_each(|job| job.list_largest(query.limit));
            Ok(samples)
        })
    }

    fn prometheus<'a>(
        &'a self,
        shard: &'a Url,
        path: &'a str,
        query: &'a [(&'static str, String)],
    ) -> BoxFuture<'a, anyhow::Result<Bytes>> {
        self.ask(shard, |shard, _, _| {
            shard.prometheus_was_asked.push((path.to_owned(), query.to_vec()));
            match shard.prometheus_answers.get(path) {
                Some(Ok(answer)) => Ok(Bytes::from(answer.to_string())),
                Some(Err(reason)) => Err(RefusedByPrometheus(reason.clone()).into()),
                None => anyhow::bail!("answered 404 Not Found"),
            }
        })
    }

    fn put_config<'a>(&'a self, shard: &'a Url, _: &'a ConfigSources) -> BoxFuture<'a, anyhow::Result<()>> {
        self.state().asked.configs += 1;
        self.ask_when_free(shard, |shard, config| {
            shard.config = config;
            Ok(())
        })
    }

    fn reload<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<()>> {
        self.state().asked.reloads += 1;
        self.ask_when_free(shard, |shard, config| {
            shard.config = config;
            Ok(())
        })
    }
}

impl Provider for Fleet {
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>> {
        let state = self.state();
        let replica = Replica {
            id: Self::replica_id(),
            scalable: state.scalable,
            wanted_shards: state.wanted,
            shards: state.shards.keys().map(|ordinal| address(*ordinal)).collect(),
        };
        future::ready(Ok(vec![replica])).boxed()
    }

    fn scale<'a>(&'a self, _: &'a ReplicaId, shards: u32) -> BoxFuture<'a, anyhow::Result<()>> {
        let mut state = self.state();
        state.asked.scales += 1;
        state.wanted = shards;
        state.shards.retain(|ordinal, _| ordinal.0 < shards);
        let config = state.config;
        for ordinal in (0..shards).map(Ordinal) {
            state.shards.entry(ordinal).or_insert_with(|| FakeShard::new(config));
        }
        future::ready(Ok(())).boxed()
    }
}
