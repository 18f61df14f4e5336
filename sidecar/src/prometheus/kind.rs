//! What kind of Prometheus is next door, and what follows from it.

use clap::ValueEnum;
use narthex_common::semantics::PrometheusVersion;

/// A kind of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PrometheusKind {
    /// An ordinary one, with data of its own.
    #[default]
    Server,
    /// One in agent mode: it scrapes and writes elsewhere, and has no data to be asked for.
    Agent,
    /// VictoriaMetrics' vmagent, which reads the same config and writes elsewhere, too.
    Vmagent,
}

impl PrometheusKind {
    /// The kinds that a sidecar can run.
    pub const RUN_BY_SIDECAR: [Self; 2] = [Self::Server, Self::Agent];

    /// The kind that a Prometheus with these flags is: 2.32 and later have `--enable-feature=agent`, 3.0 and later
    /// `--agent`.
    #[must_use]
    pub fn of_args(args: &[String]) -> Self {
        // A value may stand in an argument of its own.
        let mut features = false;
        let mut is_agent = false;
        for arg in args {
            let names = if std::mem::take(&mut features) { Some(arg.as_str()) } else { arg.strip_prefix(FEATURE) };
            let names = names.map(|names| names.trim_start_matches('='));
            match arg.as_str() {
                "--agent" => is_agent = true,
                "--no-agent" => is_agent = false,
                FEATURE => features = true,
                _other => is_agent |= names.is_some_and(|names| names.split(',').any(|name| name == "agent")),
            }
        }
        if is_agent { Self::Agent } else { Self::Server }
    }

    /// The flag that says where its data lies. Each kind refuses the others'.
    #[must_use]
    pub const fn data_flag(self) -> &'static str {
        match self {
            Self::Server => "--storage.tsdb.path",
            Self::Agent => "--storage.agent.path",
            Self::Vmagent => "-remoteWrite.tmpDataPath",
        }
    }

    /// Its name in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "Prometheus",
            Self::Agent => "a Prometheus in agent mode",
            Self::Vmagent => "vmagent",
        }
    }

    /// Whether it evaluates rules.
    #[must_use]
    pub const fn evaluates_rules(self) -> bool {
        match self {
            Self::Server => true,
            Self::Agent | Self::Vmagent => false,
        }
    }

    /// Whether a scrape pool that is removed as a whole leaves no stale markers, so that targets can leave through one.
    #[must_use]
    pub const fn removes_pools_without_a_trace(self) -> bool {
        match self {
            Self::Server | Self::Agent => true,
            Self::Vmagent => false,
        }
    }

    /// The version whose rules are taken for its own: vmagent has versions of its own, and does as a Prometheus 3 does.
    #[must_use]
    pub const fn assumed_version(self) -> Option<PrometheusVersion> {
        match self {
            Self::Server | Self::Agent => None,
            Self::Vmagent => Some(PrometheusVersion::V3_5),
        }
    }

    /// Whether it takes a config with this section, where the section is not the sidecar's.
    #[must_use]
    pub fn takes(self, section: &str) -> bool {
        match self {
            Self::Server => true,
            Self::Agent => section != "remote_read",
            Self::Vmagent => matches!(section, "global" | "scrape_configs"),
        }
    }
}

const FEATURE: &str = "--enable-feature";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_prometheus_tell_an_agent() {
        let kind =
            |args: &[&str]| PrometheusKind::of_args(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        for agent in [
            &["--agent"][..],
            &["--log.level=debug", "--enable-feature=agent"],
            &["--enable-feature=exemplar-storage,agent"],
            &["--enable-feature", "agent"],
            &["--no-agent", "--agent"],
        ] {
            assert_eq!(kind(agent), PrometheusKind::Agent, "{agent:?}");
        }
        for server in [
            &[][..],
            &["--enable-feature=exemplar-storage"],
            &["--enable-feature=agents"],
            &["--storage.agent.path=x"],
            &["--enable-feature", "exemplar-storage", "agent"],
            &["--agent", "--no-agent"],
        ] {
            assert_eq!(kind(server), PrometheusKind::Server, "{server:?}");
        }
    }
}
