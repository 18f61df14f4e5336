//! Putting a config into force: read, rendered, written, taken by Prometheus; or not, and then all is as before.

use std::{io, path::Path, time::UNIX_EPOCH};

use anyhow::Context as _;
use narthex_common::{semantics::PrometheusVersion, time::Timestamp};
use narthex_runtime::files::write_atomic;

use super::Shard;
use crate::{
    base_config::LoadedConfig,
    inotify,
    job_ids::JobIds,
    leaving::Leaving,
    prometheus::{PrometheusControl, PrometheusSeen, ReloadFailed},
    render, rule_files,
};

/// What is in force until Prometheus has taken the new one.
struct Before {
    loaded: LoadedConfig,
    ids: JobIds,
    generated: String,
    leaving: Leaving,
    pools: render::LeavingPools,
}

impl<P: PrometheusControl> Shard<P> {
    /// Reads the config file again.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        self.hear_out().await;
        let outcome = match self.setup.source.load(self.assumed_version()) {
            Ok(loaded) => self.take_up(loaded).await,
            Err(error) => Err(error.to_string()),
        };
        match &outcome {
            Ok(()) => tracing::info!(config = %self.loaded.config.fingerprint(), "config in force"),
            Err(error) => tracing::error!(%error, "the new config is not in force; going on with the one before"),
        }
        self.config_error = outcome.clone().err();
        self.tell();
        outcome
    }

    async fn take_up(&mut self, loaded: LoadedConfig) -> Result<(), String> {
        let ids = JobIds::new(loaded.config.jobs.iter().map(|job| &job.job_name));
        let mut leaving = self.saved.leaving.clone();
        leaving.retain_jobs(|job| ids.id(job).is_some());
        let pools = leaving.pools();
        let generated = render::config(&loaded.config, &ids, &pools, &self.render_settings());
        let rule_files = rule_files::fingerprint(&loaded.config, self.setup.rules);
        // Prometheus may have refused this very config before, because of a file that it names.
        let is_for_prometheus =
            generated != self.generated || rule_files != self.rule_files || self.config_error.is_some();
        let before = Before {
            loaded: std::mem::replace(&mut self.loaded, loaded),
            ids: std::mem::replace(&mut self.ids, ids),
            generated: std::mem::replace(&mut self.generated, generated),
            leaving: std::mem::replace(&mut self.saved.leaving, leaving),
            pools: self.leaving.replace_written(pools),
        };
        if is_for_prometheus {
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
                Err(ReloadFailed::Refused(error)) => {
                    self.go_back(before);
                    if let Err(error) = self.reload_prometheus().await {
                        tracing::error!(%error, "Prometheus does not take the config from before either");
                    }
                    return Err(format!("Prometheus refused the generated config: {error}"));
                }
            }
        }
        self.rule_files = rule_files;
        self.remember();
        Ok(())
    }

    fn go_back(&mut self, before: Before) {
        self.loaded = before.loaded;
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
        self.rule_files = rule_files::fingerprint(&self.loaded.config, self.setup.rules);
        inotify::warn_when_scarce(&self.ids, self.layout());
        self.write_target_files().context("write target files")?;
        self.write_generated().context("write the generated config")?;
        if !self.is_lost {
            crate::assignment::save_unless_there(&self.setup.assignment, &self.saved).context("keep the assignment")?;
        }
        if self.config_error.is_none() {
            self.remember();
        }
        Ok(())
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
        if read == Some(true) && !self.leaving.is_busy() && self.saved.leaving.is_loading() {
            self.has_read_pools();
        }
        if read != Some(false) || self.answered == written {
            return;
        }
        tracing::info!("Prometheus has not read the generated config yet; telling it to");
        match self.reload_prometheus().await {
            Ok(()) => self.has_read(),
            Err(ReloadFailed::Unreachable(error)) => tracing::warn!(%error, "Prometheus is not there to reload"),
            Err(ReloadFailed::Refused(error)) => {
                tracing::error!(%error, "Prometheus refused the generated config and goes on with an older one");
                self.config_error = Some(format!("Prometheus refused the generated config: {error}"));
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
        if let Err(error) = self.setup.source.remember(&self.loaded) {
            tracing::error!(%error, "the config is not kept: a restart over a broken config file will fail");
        }
    }

    /// Prometheus has read the generated config.
    pub(super) fn has_read(&mut self) {
        self.has_read_pools();
        self.clean_up();
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

    pub(super) fn write_generated(&self) -> io::Result<()> {
        if std::fs::read(&self.setup.output).is_ok_and(|there| there == self.generated.as_bytes()) {
            return Ok(());
        }
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
