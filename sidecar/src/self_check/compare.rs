//! What is assigned against what Prometheus scrapes: a function of the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use narthex_common::{
    assignment::Assignment,
    job::JobName,
    labels::{INSTANCE, Labels},
    target::Target,
};

use crate::{
    job_ids::JobIds,
    leaving::Leaving,
    prometheus::ActiveTarget,
    render::job::pool_name,
    scheme_twins::{https_twins, true_url},
};

/// How many examples are told.
const EXAMPLES: usize = 3;

/// The scrape pools of a generated config: whose targets each of them scrapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapePools {
    jobs: BTreeMap<String, JobName>,
    relabeled_here: BTreeSet<JobName>,
}

impl ScrapePools {
    /// The pools of all jobs, those included that targets leave through.
    #[must_use]
    pub fn new(ids: &JobIds, leaving: &Leaving) -> Self {
        let own = ids.iter().map(|(job, _)| (job.as_str().to_owned(), job.clone()));
        let pools = leaving.pools();
        let leaving = pools.iter().flat_map(|(generation, jobs)| jobs.iter().map(move |job| (*generation, job)));
        let leaving = leaving.map(|(generation, job)| (pool_name(job.as_str(), generation, ids), job.clone()));
        let relabeled_here = ids.iter().map(|(job, _)| job).filter(|job| ids.is_relabeled_here(job));
        Self { relabeled_here: relabeled_here.cloned().collect(), jobs: own.chain(leaving).collect() }
    }

    /// The pools of jobs whose targets Prometheus relabels by itself, with the job of each.
    pub fn relabeled_here(&self) -> impl Iterator<Item = (&str, &JobName)> {
        let pools = self.jobs.iter().map(|(pool, job)| (pool.as_str(), job));
        pools.filter(|(_, job)| self.is_relabeled_here(job))
    }

    /// Whether Prometheus relabels the targets of a job by itself. What becomes of them is not known beforehand, and so
    /// not compared.
    #[must_use]
    pub fn is_relabeled_here(&self, job: &JobName) -> bool {
        self.relabeled_here.contains(job)
    }

    fn has_job(&self, job: &JobName) -> bool {
        self.jobs.contains_key(job.as_str())
    }

    /// The job of a pool; of one that nobody knows, its own name.
    fn job_of(&self, pool: &str) -> JobName {
        self.jobs.get(pool).cloned().unwrap_or_else(|| pool.into())
    }
}

/// A target as both sides know it. It shows itself without its URL, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScrapedTarget {
    job: JobName,
    /// Those that series carry.
    labels: Labels,
    url: String,
}

impl fmt::Display for ScrapedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.labels.get(INSTANCE) {
            Some(instance) => write!(f, "{} {instance}", self.job),
            None => write!(f, "{} {}", self.job, self.labels),
        }
    }
}

/// How often a target should be scraped, and is.
#[derive(Clone, Copy, Debug, Default)]
struct Scraped {
    at_least: usize,
    at_most: usize,
    is: usize,
}

/// Where the two sides differ: which targets, and how many times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Assigned and not scraped.
    pub missing: BTreeMap<ScrapedTarget, usize>,
    /// Scraped and not assigned.
    pub unexpected: BTreeMap<ScrapedTarget, usize>,
}

/// Compares, where the coordinator relabels. A target on its way out may be scraped by the pool of its job, by the one it leaves through, or by both;
/// one that is no longer assigned also by none.
#[must_use]
pub fn compare(
    assignment: &Assignment,
    leaving: &Leaving,
    pools: &ScrapePools,
    active: impl IntoIterator<Item = ActiveTarget>,
) -> Differences {
    let both = leaving.beside(assignment);
    let twins = https_twins(&both);
    let mut all: BTreeMap<ScrapedTarget, Scraped> = BTreeMap::new();
    let is_compared = |job: &JobName| pools.has_job(job) && !pools.is_relabeled_here(job);
    let assigned = both.targets.values().filter(|assigned| is_compared(&assigned.target.job));
    for target in assigned.map(|assigned| &assigned.target) {
        let scraped = all.entry(as_scraped(target, twins.contains(&target.id))).or_default();
        scraped.at_least += usize::from(assignment.targets.contains_key(&target.id));
        scraped.at_most += 1;
    }
    for (_, id, leaver) in leaving.leavers().filter(|(_, _, leaver)| is_compared(&leaver.assigned.target.job)) {
        let as_scraped = as_scraped(&leaver.assigned.target, twins.contains(id));
        all.entry(as_scraped).or_default().at_most += 1;
    }
    for target in active {
        let job = pools.job_of(&target.scrape_pool);
        if pools.is_relabeled_here(&job) {
            continue;
        }
        let target = ScrapedTarget { job, labels: target.labels, url: true_url(target.scrape_url) };
        all.entry(target).or_default().is += 1;
    }
    let mut differences = Differences::default();
    for (target, scraped) in all {
        if scraped.is < scraped.at_least {
            differences.missing.insert(target, scraped.at_least - scraped.is);
        } else if scraped.is > scraped.at_most {
            differences.unexpected.insert(target, scraped.is - scraped.at_most);
        }
    }
    differences
}

/// As Prometheus shows it: without the labels that no series carries, and by http, unless it is told from its twin.
fn as_scraped(target: &Target, is_https_twin: bool) -> ScrapedTarget {
    let url = match target.url.strip_prefix("https://") {
        Some(rest) if !is_https_twin => format!("http://{rest}"),
        Some(_) | None => target.url.clone(),
    };
    ScrapedTarget { job: target.job.clone(), labels: target.labels.visible().collect(), url }
}

impl Differences {
    /// Those that were there before, too.
    #[must_use]
    pub fn lasting_since(&self, before: &Self) -> Self {
        let lasting = |now: &BTreeMap<ScrapedTarget, usize>, before: &BTreeMap<ScrapedTarget, usize>| {
            let both = |(target, count): (&ScrapedTarget, &usize)| {
                before.get(target).map(|earlier| (target.clone(), *count.min(earlier)))
            };
            now.iter().filter_map(both).collect()
        };
        Self {
            missing: lasting(&self.missing, &before.missing),
            unexpected: lasting(&self.unexpected, &before.unexpected),
        }
    }

    /// A few of them, with what differs, for people.
    #[must_use]
    pub fn examples(&self) -> Vec<String> {
        let missing = self.missing.keys().map(|target| self.why_missing(target));
        let is_another = |target: &&ScrapedTarget| !self.missing.keys().any(|missing| missing.is_meant_by(target));
        let unexpected = self.unexpected.keys().filter(is_another).map(|target| format!("{target} is not assigned"));
        missing.chain(unexpected).take(EXAMPLES).collect()
    }

    fn why_missing(&self, target: &ScrapedTarget) -> String {
        match self.unexpected.keys().find(|other| target.is_meant_by(other)) {
            Some(other) if other.labels == target.labels => format!("{target} is scraped at another URL"),
            Some(other) => format!("{target} is scraped with the labels {}, not {}", other.labels, target.labels),
            None => format!("{target} is missing"),
        }
    }
}

impl ScrapedTarget {
    /// Whether another one is this one with something wrong.
    fn is_meant_by(&self, other: &Self) -> bool {
        self.job == other.job && (self.url == other.url || self.labels == other.labels)
    }
}

#[cfg(test)]
mod tests;
