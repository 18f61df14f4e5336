//! Putting a config into force: read, rendered, written, taken by Prometheus; or not, and then all is as before.

use std::{io, path::Path, time::UNIX_EPOCH};

use anyhow::Context as _;
use narthex_common::{
    config::{Config, ConfigError, ConfigSources},
    fingerprint::Fingerprint,
    report::ConfigFrom,
    semantics::PrometheusVersion,
    time::Timestamp,
};
use narthex_runtime::files::write_atomic;

use super::Shard;
use crate::{
    inotify,
    job_ids::JobIds,
    leaving::Leaving,
    prometheus::{PrometheusControl, PrometheusSeen, ReloadFailed},
    render, rule_files,
};

/// What is in force until Prometheus has taken the new one.
struct Before {
    config: Config,
    ids: JobIds,
    generated: String,
    leaving: Leaving,
    pools: render::LeavingPools,
}

/// Why a config of the coordinator is not in force. The one before goes on.
#[derive(Debug, thiserror::Error)]
pub enum ConfigNotTaken {
    /// The sidecar has a file of its own, which is not the coordinator's to replace.
    #[error("this sidecar reads its config from a file of its own, {0} (flag --config.file)")]
    HasFile(String),
    /// It is no config for this version of Prometheus.
    #[error(transparent)]
    Bad(#[from] ConfigError),
    /// It could not be put into force.
    #[error("{0}")]
    NotInForce(String),
}

impl<P: PrometheusControl> Shard<P> {
    /// Reads the config file again.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        self.hear_out().await;
        let version = self.assumed_version();
        let read = match self.setup.source.origin() {
            ConfigFrom::File => self.setup.source.load(version),
            // There is no newer one than the one in force, which Prometheus may not have read yet.
            ConfigFrom::Coordinator => Config::of_sources(&self.config.sources, version),
        };
        let outcome = match read {
            Ok(config) => self.take_up(config).await,
            Err(error) => Err(error.to_string()),
        };
        self.taken_up(&outcome);
        outcome
    }

    /// Takes a config of the coordinator.
    pub(super) async fn take_config(&mut self, sources: &ConfigSources) -> Result<Fingerprint, ConfigNotTaken> {
        if let Some(file) = &self.setup.source.file {
            return Err(ConfigNotTaken::HasFile(file.display().to_string()));
        }
        self.hear_out().await;
        let config = Config::of_sources(sources, self.assumed_version()).inspect_err(|error| {
            tracing::error!(%error, "the coordinator's config cannot be used; going on with the one before");
        })?;
        let outcome = self.take_up(config).await;
        self.taken_up(&outcome);
        outcome.map(|()| self.config.fingerprint()).map_err(ConfigNotTaken::NotInForce)
    }

    fn taken_up(&mut self, outcome: &Result<(), String>) {
        match outcome {
            Ok(()) => tracing::info!(config = %self.config.fingerprint(), "config in force"),
            Err(error) => tracing::error!(%error, "the new config is not in force; going on with the one before"),
        }
        self.config_error = outcome.as_ref().err().cloned();
        self.tell();
    }

    async fn take_up(&mut self, config: Config) -> Result<(), String> {
        let ids = JobIds::of(&config);
        let mut leaving = self.saved.leaving.clone();
        leaving.retain_jobs(|job| ids.id(job).is_some());
        let pools = leaving.pools();
        let generated = render::config(&config, &ids, &pools, &self.render_settings());
        let rule_files = rule_files::fingerprint(&config, self.setup.rules);
        // Prometheus may have refused this very config before, because of a file that it names.
        let is_for_prometheus = generated != self.generated
            || rule_files != self.rule_files
            || self.config_error.is_some()
            || self.unread.is_some();
        let before = Before {
            config: std::mem::replace(&mut self.config, config),
            ids: std::mem::replace(&mut self.ids, ids),
            generated: std::mem::replace(&mut self.generated, generated),
            leaving: std::mem::replace(&mut self.saved.leaving, leaving),
            pools: self.leaving.replace_written(pools),
        };
        if is_for_prometheus {
            // Its targets are relabeled by other rules.
            self.attribution = std::sync::Arc::default();
            if let Err(error) = self.write_generated().and_then(|()| self.write_target_files()) {
                self.go_back(before);
                return Err(format!("write the generated config: {error}"));
            }
            self.tell_routes_of_both_configs();
            match self.reload_prometheus().await {
                Ok(()) => self.has_read(),
                Err(ReloadFailed::Unreachable(error)) => {
                    tracing::warn!(%error, "Prometheus is not there to reload; it will find the new config");
                }
                Err(ReloadFailed::Refused(error) | ReloadFailed::Forbidden(error)) => {
                    self.go_back(before);
                    if let Err(error) = self.reload_prometheus().await {
                        tracing::error!(%error, "Prometheus does not take the config from before either");
                    }
                    return Err(format!("Prometheus refused the generated config: {error}"));
                }
            }
        }
        self.rule_files = rule_files;
        self.tell_what_is_left_out();
        if self.is_read {
            self.remember();
        }
        Ok(())
    }

    fn go_back(&mut self, before: Before) {
        self.config = before.config;
        self.ids = before.ids;
        self.generated = before.generated;
        self.saved.leaving = before.leaving;
        drop(self.leaving.replace_written(before.pools));
        if let Err(error) = self.write_generated().and_then(|()| self.write_target_files()) {
            tracing::error!(%error, "the config from before could not be written back");
        }
    }

    /// Writes all that Prometheus is to run with, at the start.
    pub(super) fn write_everything(&mut self) -> anyhow::Result<()> {
        let ids = &self.ids;
        self.saved.leaving.retain_jobs(|job| ids.id(job).is_some());
        self.generated = self.render_with_pools();
        self.rule_files = rule_files::fingerprint(&self.config, self.setup.rules);
        self.tell_what_is_left_out();
        inotify::warn_when_scarce(&self.ids, self.layout());
        self.write_target_files().context("write target files")?;
        self.write_generated().context("write the generated config")?;
        if !self.is_lost {
            crate::assignment::save_unless_there(&self.setup.assignment, &self.saved).context("keep the assignment")?;
        }
        // Better one that Prometheus has not read yet than none.
        if self.config_error.is_none() && !self.setup.source.has_last_good() {
            self.remember();
        }
        Ok(())
    }

    fn tell_what_is_left_out(&self) {
        let left_out = render::left_out(&self.config, self.setup.kind);
        if !left_out.is_empty() {
            let fields = left_out.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!(%fields, "left out of the generated config: {} refuses them", self.setup.kind.name());
        }
    }

    /// Follows what is seen of Prometheus: another version has other rules, and a config that it has not read yet,
    /// because one of the two was away, it is told to read.
    pub(super) async fn follow(&mut self, seen: &PrometheusSeen) {
        if self.setup.fixed_version.is_none()
            && let Some(version) = seen.report.version
            && self.version != Some(version)
        {
            self.follow_version(version).await;
            return;
        }
        let written = modified(&self.setup.output).ok();
        let read = seen.config_loaded.zip(written).map(|(loaded, written)| loaded >= written);
        if read == Some(true) && !self.leaving.is_busy() && !self.is_read {
            self.has_read();
            self.tell();
        }
        if read != Some(false) || self.answered == written || self.leaving.is_busy() {
            return;
        }
        tracing::info!("Prometheus has not read the generated config yet; telling it to");
        match self.reload_prometheus().await {
            Ok(()) => {
                self.has_read();
                self.tell();
            }
            Err(ReloadFailed::Unreachable(error)) => tracing::warn!(%error, "Prometheus is not there to reload"),
            Err(ReloadFailed::Refused(error)) => self.roll_back(&error).await,
            Err(ReloadFailed::Forbidden(error)) => {
                tracing::error!(%error, "Prometheus goes on with an older config until it is started again");
                self.unread = Some(error);
                self.tell();
            }
        }
    }

    async fn reload_prometheus(&mut self) -> Result<(), ReloadFailed> {
        let written = modified(&self.setup.output).ok();
        let outcome = self.prometheus.reload().await;
        if !matches!(outcome, Err(ReloadFailed::Unreachable(_))) {
            self.answered = written;
        }
        outcome
    }

    async fn follow_version(&mut self, version: PrometheusVersion) {
        let assumed = self.version.replace(version);
        let Some(assumed) = assumed.or(Some(PrometheusVersion::V3_5)).filter(|assumed| *assumed != version) else {
            return;
        };
        tracing::info!(%version, %assumed, "Prometheus has another version than assumed; reading the config by its rules");
        // Its outcome is logged and reported.
        drop(self.reload().await);
    }

    fn remember(&self) {
        if let Err(error) = self.setup.source.remember(&self.config) {
            tracing::error!(%error, "the config is not kept: a restart over a broken config file will fail");
        }
    }

    /// Prometheus has read the generated config.
    pub(super) fn has_read(&mut self) {
        self.is_read = true;
        self.unread = None;
        self.remember();
        self.has_read_pools();
        self.clean_up();
    }

    /// Prometheus does not take the config on disk. It is the last one that it did take which goes on, so that this
    /// shard scrapes what it scraped, and Prometheus starts with it should it end.
    pub(super) async fn roll_back(&mut self, refusal: &str) {
        self.hear_out().await;
        if self.is_read {
            // It has read it since.
            return;
        }
        let refusal = format!("Prometheus refused the generated config: {refusal}");
        let last_good = self.setup.source.last_good(self.assumed_version());
        let Some(last_good) = last_good.filter(|last_good| last_good.sources != self.config.sources) else {
            tracing::error!(error = %refusal, "there is no other config to go back to");
            self.unread = Some(refusal);
            self.tell();
            return;
        };
        tracing::error!(error = %refusal, "going back to the last config that Prometheus has read");
        // That it could not be put into force either is logged where it happens.
        drop(self.take_up(last_good).await);
        self.config_error = Some(refusal);
        self.tell();
    }

    /// Removes target files of jobs that are gone, once Prometheus has forgotten them.
    fn clean_up(&self) {
        if self.is_lost {
            return;
        }
        let files = self.target_files();
        if let Err(error) = self.setup.target_files.remove_others(&files) {
            tracing::warn!(%error, "target files of jobs that are gone stay behind");
        }
    }

    pub(super) fn write_generated(&mut self) -> io::Result<()> {
        if std::fs::read(&self.setup.output).is_ok_and(|there| there == self.generated.as_bytes()) {
            return Ok(());
        }
        self.is_read = false;
        write_atomic(&self.setup.output, self.generated.as_bytes(), None)
    }

    pub(super) fn write_target_files(&self) -> io::Result<()> {
        let files = self.target_files();
        if self.is_lost {
            // What is there is all that is left. But a directory that is missing could not be watched.
            return self.setup.target_files.stage_missing(&files)?.put_in_place();
        }
        self.setup.target_files.stage(&files)?.put_in_place()
    }
}

pub(super) fn modified(path: &Path) -> io::Result<Timestamp> {
    let modified = std::fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(Timestamp(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX)))
}
