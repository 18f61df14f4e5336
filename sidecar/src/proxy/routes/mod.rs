//! Where requests go: an unchanging table of jobs and their targets, made anew whenever config or assignment change.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Uri, uri::PathAndQuery};
use narthex_common::{
    assignment::Assignment,
    config::{Config, HttpClientConfig, ScrapeConfig},
    exposition::KeptSamples,
    job::JobName,
    labels::Labels,
    relabel::RelabelConfig,
    semantics::{NameValidation, PrometheusVersion},
    target::{Target, TargetId},
    target_limit::TargetLimitExceeded,
};
use narthex_runtime::http_client::JobClient;
use tracing::warn;

use super::{
    address::{Address, Scheme, without_scheme_mark},
    counting::CountMemory,
    credentials::{self, Token},
    guard::TargetGuard,
    kept::KeptMemory,
    refusal::Refusal,
    top_metrics::TargetMetrics,
};
use crate::{job_ids::JobIds, leaving::GenerationId, render::job::LEAVING_MARK};

/// Every target that may be scraped through the proxy. An immutable value: publish a new one to change it.
pub struct Routes {
    token: Token,
    jobs: HashMap<String, Arc<JobTargets>>,
}

struct JobTargets {
    job: Arc<JobRoute>,
    targets: HashMap<Address, Homonyms>,
}

/// The targets of a job with one address.
#[derive(Default)]
struct Homonyms {
    http: Twins,
    https: Twins,
}

/// Targets of a job with one URL, which differ in labels alone. No request tells which of them it is for; all of them
/// are scraped equally often, so they take turns.
#[derive(Default)]
struct Twins {
    targets: Vec<Arc<TargetRoute>>,
    turn: AtomicUsize,
}

/// What the scrapes of one job have in common.
pub(super) struct JobRoute {
    pub(super) name: JobName,
    /// How its targets are asked, or why they cannot be.
    pub(super) client: Result<JobClient, String>,
    /// Which samples it keeps; none when it keeps all.
    pub(super) kept: Option<KeptSamples>,
    pub(super) scrape_timeout: Duration,
    pub(super) body_size_limit: u64,
    pub(super) sample_limit: u64,
    pub(super) fallback_protocol: Option<String>,
    pub(super) version: PrometheusVersion,
    /// Why none of its targets is scraped, if that is so: there are too many of them over all shards.
    pub(super) exceeded_target_limit: Option<TargetLimitExceeded>,
    /// Whether Prometheus relabels its targets: what it asks for is what they have become, also before that is known.
    is_relabeled_here: bool,
    /// What `client` was made of.
    http_client: HttpClientConfig,
    /// What `kept` was made of.
    metric_rules: MetricRules,
}

#[derive(Clone, PartialEq, Eq)]
struct MetricRules {
    rules: Vec<RelabelConfig>,
    honor_labels: bool,
    names: NameValidation,
    version: PrometheusVersion,
}

/// What is remembered of a target's last scrapes.
#[derive(Debug, Default)]
pub(super) struct TargetMemory {
    pub(super) count: CountMemory,
    pub(super) kept: KeptMemory,
}

/// One target.
pub(super) struct TargetRoute {
    pub(super) id: TargetId,
    pub(super) labels: Labels,
    pub(super) scheme: Scheme,
    memory: Mutex<TargetMemory>,
    pub(super) metrics: TargetMetrics,
    pub(super) guard: Arc<TargetGuard>,
}

/// Where one request goes.
pub(super) struct Route {
    pub(super) job: Arc<JobRoute>,
    pub(super) target: Arc<TargetRoute>,
    /// What to ask: as Prometheus did, with the target's true scheme.
    pub(super) uri: Uri,
    /// The generation of leaving pools it comes from.
    pub(super) through: Option<GenerationId>,
}

impl Routes {
    /// The routes of an assignment, for a Prometheus that shows `token`. A job whose client cannot be made – a missing
    /// CA file, say – does not fail the others: its scrapes are answered with the reason. What stayed the same
    /// since `previous` is taken over from there, connections included.
    #[must_use]
    pub fn new(
        config: &Config,
        assignment: &Assignment,
        ids: &JobIds,
        token: &str,
        version: PrometheusVersion,
        previous: Option<&Self>,
    ) -> Self {
        let mut by_job: HashMap<&JobName, Vec<&Target>> = HashMap::new();
        for assigned in assignment.targets.values() {
            by_job.entry(&assigned.target.job).or_default().push(&assigned.target);
        }
        let jobs = config.jobs.iter().filter_map(|job| {
            let id = ids.id(&job.job_name)?;
            let previous = previous.and_then(|routes| routes.jobs.get(id)).map(AsRef::as_ref);
            let targets = by_job.remove(&job.job_name).unwrap_or_default();
            let exceeded = assignment.exceeded_target_limits.get(&job.job_name).copied();
            Some((id.to_owned(), Arc::new(JobTargets::new(job, &targets, exceeded, version, previous))))
        });
        Self { token: Token::new(token), jobs: jobs.collect() }
    }

    /// These routes, and beside them those of jobs that only `others` have.
    #[must_use]
    pub fn beside(mut self, others: &Self) -> Self {
        let mut jobs = others.jobs.clone();
        jobs.extend(self.jobs);
        self.jobs = jobs;
        self
    }

    /// Whether the config has a job.
    pub(super) fn has_job(&self, name: &JobName) -> bool {
        self.jobs.values().any(|job| job.job.name == *name)
    }

    /// Where a request goes, or why it goes nowhere.
    pub(super) fn find(&self, uri: &Uri, headers: &HeaderMap) -> Result<Route, Refusal> {
        let (Some(authority), Some(asked)) = (uri.authority(), uri.path_and_query()) else {
            return Err(Refusal::not_absolute());
        };
        let user = credentials::user(headers, &self.token).ok_or_else(Refusal::no_credentials)?;
        let (id, through) = pool_of(&user);
        let job = self.jobs.get(id).ok_or_else(Refusal::unknown_job)?;
        let (asked, marked) = without_scheme_mark(asked);
        let address = Address::of_request(authority.as_str(), &asked);
        let target = job.targets.get(&address).and_then(|homonyms| homonyms.next(marked));
        let target = match target {
            Some(target) => target,
            None if job.job.is_relabeled_here => Arc::new(TargetRoute::unattributed(&job.job.name, marked)),
            None => return Err(Refusal::unknown_target(&job.job.name, uri)),
        };
        let uri =
            target_uri(target.scheme, authority.as_str(), asked).map_err(|e| Refusal::no_answer(&e.to_string()))?;
        Ok(Route { job: Arc::clone(&job.job), target, uri, through })
    }
}

/// The job's id, and the generation of a leaving pool, that a proxy user tells.
fn pool_of(user: &str) -> (&str, Option<GenerationId>) {
    let marked = user.split_once(LEAVING_MARK);
    let leaving = marked.and_then(|(id, generation)| Some((id, GenerationId(generation.parse().ok()?))));
    leaving.map_or((user, None), |(id, generation)| (id, Some(generation)))
}

fn target_uri(scheme: Scheme, authority: &str, asked: PathAndQuery) -> Result<Uri, http::Error> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Uri::builder().scheme(scheme.as_str()).authority(host).path_and_query(asked).build()
}

impl JobTargets {
    fn new(
        job: &ScrapeConfig,
        targets: &[&Target],
        exceeded_target_limit: Option<TargetLimitExceeded>,
        version: PrometheusVersion,
        previous: Option<&Self>,
    ) -> Self {
        let route = JobRoute::new(job, version, previous.map(|p| p.job.as_ref()));
        let route = Arc::new(JobRoute { exceeded_target_limit, ..route });
        // What is remembered of kept samples is worth nothing under other rules.
        let same_rules = previous.is_some_and(|p| p.job.metric_rules == route.metric_rules);
        let mut by_address: HashMap<Address, Homonyms> = HashMap::new();
        // Of those that Prometheus relabels, some are dropped, and of others it is not known yet what they have become.
        for target in targets.iter().filter(|target| !target.is_relabeled_by_shard()) {
            let Some((address, scheme)) = Address::of_target(&target.url) else {
                warn!(job = %target.job, target = %target.id, "a target without a http URL; its scrapes are refused");
                continue;
            };
            let known = previous.and_then(|p| p.targets.get(&address)?.of(scheme).with_id(target.id));
            let route = match known {
                Some(known) if same_rules => known,
                Some(known) => Arc::new(TargetRoute::new(target, scheme, Arc::clone(&known.guard))),
                None => Arc::new(TargetRoute::new(target, scheme, Arc::default())),
            };
            by_address.entry(address).or_default().of_mut(scheme).targets.push(route);
        }
        Self { job: route, targets: by_address }
    }
}

impl Homonyms {
    /// The target that is asked for: the https one when it is marked or there is no other.
    fn next(&self, marked_https: bool) -> Option<Arc<TargetRoute>> {
        let plain = if marked_https { None } else { self.http.next() };
        plain.or_else(|| self.https.next())
    }

    const fn of(&self, scheme: Scheme) -> &Twins {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }

    const fn of_mut(&mut self, scheme: Scheme) -> &mut Twins {
        match scheme {
            Scheme::Http => &mut self.http,
            Scheme::Https => &mut self.https,
        }
    }
}

impl Twins {
    fn next(&self) -> Option<Arc<TargetRoute>> {
        let count = self.targets.len().max(1);
        self.targets.get(self.turn.fetch_add(1, Ordering::Relaxed) % count).cloned()
    }

    fn with_id(&self, id: TargetId) -> Option<Arc<TargetRoute>> {
        self.targets.iter().find(|target| target.id == id).cloned()
    }
}

impl JobRoute {
    fn new(job: &ScrapeConfig, version: PrometheusVersion, previous: Option<&Self>) -> Self {
        let metric_rules = MetricRules {
            rules: job.metric_relabel_configs.clone(),
            honor_labels: job.honor_labels,
            names: job.name_validation,
            version,
        };
        let kept = match previous.filter(|p| p.metric_rules == metric_rules) {
            Some(same) => same.kept.clone(),
            None => kept_samples(job, version),
        };
        let client = match previous.filter(|p| p.http_client == job.http_client).map(|p| &p.client) {
            Some(Ok(same)) => Ok(same.clone()),
            // A file that was missing may be there now.
            Some(Err(_)) | None => JobClient::new(&job.http_client).map_err(|e| e.to_string()),
        };
        if let Err(error) = &client {
            warn!(job = %job.job_name, %error, "no HTTP client for this job; its scrapes fail with this reason");
        }
        Self {
            name: job.job_name.clone(),
            client,
            kept,
            scrape_timeout: job.scrape_timeout.to_std(),
            body_size_limit: job.body_size_limit,
            sample_limit: job.sample_limit,
            fallback_protocol: job.fallback_scrape_protocol.clone(),
            version,
            exceeded_target_limit: None,
            is_relabeled_here: job.relabeled_by.is_shards(),
            http_client: job.http_client.clone(),
            metric_rules,
        }
    }

    /// Whether the samples of a target's next scrape are to be relabeled: always where a limit depends on it.
    pub(super) fn is_kept_due(&self, target: &TargetRoute) -> bool {
        self.sample_limit > 0 || target.memory().kept.is_due()
    }
}

fn kept_samples(job: &ScrapeConfig, version: PrometheusVersion) -> Option<KeptSamples> {
    KeptSamples::new(job, version).unwrap_or_else(|error| {
        warn!(job = %job.job_name, %error, "metric relabeling not understood; every sample counts as kept");
        None
    })
}

impl TargetRoute {
    fn new(target: &Target, scheme: Scheme, guard: Arc<TargetGuard>) -> Self {
        Self {
            id: target.id,
            labels: target.labels.clone(),
            scheme,
            memory: Mutex::default(),
            metrics: TargetMetrics::default(),
            guard,
        }
    }

    /// Some target of a job that Prometheus relabels, for one scrape: under an id that no target has, so that it goes
    /// unrecorded.
    fn unattributed(job: &JobName, marked_https: bool) -> Self {
        let scheme = if marked_https { Scheme::Https } else { Scheme::Http };
        Self::new(&Target::of_discovered(job.clone(), Labels::default()), scheme, Arc::default())
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, TargetMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
