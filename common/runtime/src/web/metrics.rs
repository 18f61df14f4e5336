//! What a web server tells of its protection on `/metrics`.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Figures of a web server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct WebMetrics {
    is_protected: Gauge,
    speaks_tls: Gauge,
    files_good: Gauge,
    connections: Gauge,
    turned_away: Family<ByReason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// No TLS came about: no certificate or a wrong one, too old a version, none at all.
    Handshake,
    /// No credentials or wrong ones.
    Credentials,
    /// It took too long.
    TooSlow,
}

impl TurnedAway {
    const ALL: [Self; 3] = [Self::Handshake, Self::Credentials, Self::TooSlow];

    const fn reason(self) -> &'static str {
        match self {
            Self::Handshake => "tls_handshake",
            Self::Credentials => "credentials",
            Self::TooSlow => "too_slow",
        }
    }
}

impl WebMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let is_protected =
            "Whether the API is only for those with a password, a token or a verified client certificate";
        registry.register("narthex_web_api_protected", is_protected, metrics.is_protected.clone());
        registry.register("narthex_web_api_tls", "Whether the API is spoken over TLS", metrics.speaks_tls.clone());
        let files_good = "Whether the newest files that protect the API are those in force";
        registry.register("narthex_web_config_last_reload_successful", files_good, metrics.files_good.clone());
        registry.register("narthex_web_connections", "Connections to the API", metrics.connections.clone());
        let turned_away = "Connections and requests to the API that were turned away, by why";
        registry.register("narthex_web_turned_away", turned_away, metrics.turned_away.clone());
        for why in TurnedAway::ALL {
            // A counter that appears with its first event hides that event from `increase()`.
            drop(metrics.turned_away.get_or_create(&ByReason { reason: why.reason() }));
        }
        metrics.files_good.set(1);
        metrics
    }

    pub(super) fn in_force(&self, is_protected: bool, speaks_tls: bool) {
        self.is_protected.set(i64::from(is_protected));
        self.speaks_tls.set(i64::from(speaks_tls));
    }

    pub(super) fn looked_at_files(&self, good: bool) {
        self.files_good.set(i64::from(good));
    }

    pub(super) fn turned_away(&self, why: TurnedAway) {
        self.turned_away.get_or_create(&ByReason { reason: why.reason() }).inc();
    }

    /// Counts a connection for as long as the result lives.
    pub(super) fn connection(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
