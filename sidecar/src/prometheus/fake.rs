//! A Prometheus that is none, for tests.

use std::sync::{Arc, Mutex};

use narthex_common::semantics::PrometheusVersion;

use super::{OwnMetrics, PrometheusControl, Readiness, ReloadFailed};

#[derive(Clone, Debug)]
pub(crate) struct FakeState {
    pub(crate) answers: bool,
    pub(crate) ready: bool,
    pub(crate) version: PrometheusVersion,
    pub(crate) own_metrics: OwnMetrics,
    /// What the next reloads come to; success when there is nothing left.
    pub(crate) reloads: Vec<Result<(), ReloadFailed>>,
    pub(crate) reloaded: usize,
    /// What it scrapes in every pool that it is asked for.
    pub(crate) active_targets: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct FakePrometheus(Arc<Mutex<FakeState>>);

impl Default for FakePrometheus {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(FakeState {
            answers: true,
            ready: false,
            version: PrometheusVersion::V2_42,
            own_metrics: OwnMetrics::default(),
            reloads: Vec::new(),
            reloaded: 0,
            active_targets: 0,
        })))
    }
}

impl FakePrometheus {
    pub(crate) fn set(&self, change: impl FnOnce(&mut FakeState)) {
        change(&mut self.0.lock().unwrap());
    }

    pub(crate) fn get(&self) -> FakeState {
        self.0.lock().unwrap().clone()
    }
}

impl PrometheusControl for FakePrometheus {
    async fn readiness(&self) -> Readiness {
        let FakeState { ready, answers, .. } = self.get();
        match (answers, ready) {
            (false, _) => Readiness::Silent,
            (true, false) => Readiness::NotReady,
            (true, true) => Readiness::Ready,
        }
    }

    async fn reload(&self) -> Result<(), ReloadFailed> {
        let mut state = self.0.lock().unwrap();
        state.reloaded += 1;
        if state.reloads.is_empty() { Ok(()) } else { state.reloads.remove(0) }
    }

    async fn active_targets(&self, _pool: &str) -> anyhow::Result<usize> {
        Ok(self.get().active_targets)
    }

    async fn version(&self) -> anyhow::Result<PrometheusVersion> {
        Ok(self.get().version)
    }

    async fn own_metrics(&self) -> anyhow::Result<OwnMetrics> {
        Ok(self.get().own_metrics)
    }

    async fn unsuitable_flags(&self) -> Vec<String> {
        Vec::new()
    }
}
