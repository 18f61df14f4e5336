//! One job of the generated config: what stays as the user wrote it, what goes, what the sidecar puts there.

use narthex_common::{config::yaml::Node, semantics::PrometheusVersion};

use super::{RenderSettings, layout::Layout, relabeled_here};
use crate::{job_ids::JobIds, leaving::GenerationId};

/// What the name of a label starts with that carries a final label of a target.
pub const FINAL_LABEL_PREFIX: &str = "__meta_kv_";
/// The label that says which job a target in a shared directory belongs to.
pub const JOB_ID_LABEL: &str = "__meta_kvjob";

/// What stands between a job's id and the number of a generation in the proxy user of a leaving pool.
pub const LEAVING_MARK: &str = ".g";

/// `keep_dropped_targets` exists since this version.
const KEEP_DROPPED_TARGETS_SINCE: PrometheusVersion = PrometheusVersion { major: 2, minor: 47 };

/// Which of a job's scrape pools is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// The job's own.
    Own,
    /// The one that its targets leave through in a generation.
    Leaving(GenerationId),
}

impl Pool {
    /// Who asks the proxy: the job and, where it matters, its pool.
    fn proxy_user(self, id: &str) -> String {
        match self {
            Self::Own => id.to_owned(),
            Self::Leaving(generation) => format!("{id}{LEAVING_MARK}{generation}"),
        }
    }

    fn directory(self, id: &str, layout: Layout) -> String {
        match self {
            Self::Own => layout.directory(id),
            Self::Leaving(generation) => Layout::leaving_directory(generation),
        }
    }

    const fn is_directory_shared(self, layout: Layout) -> bool {
        match self {
            Self::Own => layout.is_shared(),
            Self::Leaving(_) => true,
        }
    }
}

/// Rewrites one job in its place. All that is not the sidecar's stays as it is, fields nobody knows yet included.
pub(super) fn rewrite(job: &mut Node, ids: &JobIds, pool: Pool, layout: Layout, settings: &RenderSettings) {
    let name = job.get("job_name").and_then(Node::text).unwrap_or_default();
    let Some(id) = ids.id(&name.into()).map(str::to_owned) else { return };
    let is_relabeled_here = ids.is_relabeled_here(&name.into());
    if let Pool::Leaving(generation) = pool {
        let name = pool_name(name, generation, ids);
        job.set("job_name", Node::string(name));
    }
    let users_rules = job.get("relabel_configs").map(|rules| rules.items().to_vec()).unwrap_or_default();
    job.retain_keys(|key| !is_ours(key));
    let proxy = format!("http://{}:{}@{}", pool.proxy_user(&id), settings.token.expose(), settings.proxy_address);
    job.set("proxy_url", Node::string(proxy));
    // The sidecar follows redirects and speaks HTTP/2 where the job allows it; between it and Prometheus is neither.
    job.set("follow_redirects", Node::plain("false"));
    job.set("enable_http2", Node::plain("false"));
    let pattern = settings.target_directory.join(pool.directory(&id, layout)).join("*.json");
    job.set(
        "file_sd_configs",
        Node::list([Node::map([
            ("files", Node::list([Node::string(pattern.to_string_lossy())])),
            ("refresh_interval", Node::plain("5m")),
        ])]),
    );
    let is_shared = pool.is_directory_shared(layout);
    let rules = relabel_rules(&id, is_shared);
    let rules = if is_relabeled_here { relabeled_here::rules(rules, users_rules, settings.version) } else { rules };
    job.set("relabel_configs", Node::list(rules));
    if is_shared && settings.version.is_some_and(|v| v >= KEEP_DROPPED_TARGETS_SINCE) {
        // The neighbours' targets: all but one are not worth the memory.
        job.set("keep_dropped_targets", Node::plain("1"));
    }
}

/// The name of a job's leaving pool: one that no job has. Pools of two jobs or two generations never share one: without
/// the waves at its end, a name tells both. It never reaches a label, targets bring their own `job`.
#[must_use]
pub fn pool_name(job: &str, generation: GenerationId, ids: &JobIds) -> String {
    let mut name = format!("{job}~leaving-{generation}");
    while ids.id(&name.as_str().into()).is_some() {
        name.push('~');
    }
    name
}

/// Fields that the sidecar or the coordinator acts on in Prometheus' stead.
fn is_ours(key: &str) -> bool {
    match key {
        // Discovery and relabeling are the coordinator's, and so is a limit on the targets of the whole job.
        "static_configs" | "relabel_configs" | "target_limit" | "keep_dropped_targets" => true,
        // Each target's label says its scheme.
        "scheme" => true,
        // Credentials and connections are the proxy's.
        "basic_auth" | "authorization" | "bearer_token" | "bearer_token_file" | "oauth2" | "tls_config" => true,
        "http_headers" | "follow_redirects" | "enable_http2" => true,
        "proxy_url" | "no_proxy" | "proxy_from_environment" | "proxy_connect_header" => true,
        other => other.ends_with("_sd_configs"),
    }
}

/// Rules that leave a target with exactly the labels the coordinator gave it – the final ones, or those that were
/// discovered where the user's own rules follow: what Prometheus itself put there goes,
/// then what travelled under a prefix takes its place. The prefix is `__meta_`, so it is gone afterwards.
fn relabel_rules(id: &str, is_directory_shared: bool) -> Vec<Node> {
    let mut rules = Vec::new();
    if is_directory_shared {
        rules.push(Node::map([
            ("action", Node::plain("keep")),
            ("source_labels", Node::list([Node::plain(JOB_ID_LABEL)])),
            ("regex", Node::string(id)),
        ]));
    }
    rules.push(Node::map([
        ("action", Node::plain("labelkeep")),
        ("regex", Node::string(format!("{FINAL_LABEL_PREFIX}.+"))),
    ]));
    rules.push(Node::map([
        ("action", Node::plain("labelmap")),
        ("regex", Node::string(format!("{FINAL_LABEL_PREFIX}(.+)"))),
    ]));
    rules
}
