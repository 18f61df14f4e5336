//! Top metrics: which metrics the series of each job are of.
//!
//! Flow: in its first good scrape, and then in every tenth, a target's samples are counted by metric. What was counted
//! last of each target is part of its job's sums until it is counted again or leaves.
//!
//! Guarantees: a target costs at most three kilobytes, however many metrics it has; a metric's name is held once for
//! each job, as long as some target has it. Of a target with more than [`MOST_OF_A_TARGET`] metrics the smallest are
//! counted together.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use narthex_common::{
    exposition::MetricCounts,
    job::JobName,
    load::Load,
    samples::{JobSamples, MetricSamples, Samples, SamplesQuery},
};

/// Metrics seldom change, and counting by name costs more than counting.
const COUNTED_EVERY: u32 = 10;

/// Exporters have some hundred metrics; what is beyond that is mostly of one series each.
const MOST_OF_A_TARGET: usize = 256;

/// The sums of every job that has been counted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TopMetrics(Arc<Mutex<BTreeMap<JobName, Weak<Mutex<JobMetrics>>>>>);

/// The sums of one job. Lives as long as some target is part of them.
#[derive(Debug, Default)]
struct JobMetrics {
    /// Where a metric's sum is.
    places: HashMap<Arc<str>, u32>,
    sums: Vec<Sum>,
    /// Places whose metric no target has any more.
    free: Vec<u32>,
    other: Load,
    targets: u64,
}

#[derive(Debug)]
struct Sum {
    metric: Arc<str>,
    load: Load,
    /// How many targets have it.
    targets: u32,
}

/// What is remembered of one target.
#[derive(Debug, Default)]
pub(super) struct TargetMetrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// Scrapes since it was counted.
    since: u32,
    part: Option<Part>,
}

/// What a target is of its job's sums, as long as it is.
#[derive(Debug)]
struct Part {
    job: Arc<Mutex<JobMetrics>>,
    metrics: Box<[PartOfMetric]>,
    other: Load,
}

#[derive(Clone, Copy, Debug)]
struct PartOfMetric {
    place: u32,
    exposed: u32,
    kept: u32,
}

impl TopMetrics {
    /// What is asked for, of the targets that were counted.
    #[must_use]
    pub fn samples(&self, query: &SamplesQuery) -> Samples {
        let asked: Vec<_> = {
            let mut jobs = lock(&self.0);
            jobs.retain(|_, job| job.strong_count() > 0);
            let asked = jobs.iter().filter(|(name, _)| query.asks_for(name));
            asked.filter_map(|(name, job)| Some((name.clone(), job.upgrade()?))).collect()
        };
        asked.into_iter().map(|(name, job)| (name, lock(&job).samples(query.limit))).collect()
    }

    /// A target of a job has these metrics now.
    pub(super) fn counted(&self, job: &JobName, target: &TargetMetrics, counts: MetricCounts) {
        let part = Part::new(self.job(job), counts);
        // The old part goes after the new one has come: a metric keeps its place, and a job its sums.
        *lock(&target.0) = Counted { since: 0, part: Some(part) };
    }

    fn job(&self, name: &JobName) -> Arc<Mutex<JobMetrics>> {
        let mut jobs = lock(&self.0);
        if let Some(job) = jobs.get(name).and_then(Weak::upgrade) {
            return job;
        }
        let job = Arc::default();
        jobs.insert(name.clone(), Arc::downgrade(&job));
        job
    }
}

impl TargetMetrics {
    /// Whether the next scrape's samples are to be counted by metric.
    pub(super) fn is_due(&self) -> bool {
        let counted = lock(&self.0);
        counted.part.is_none() || counted.since + 1 >= COUNTED_EVERY
    }

    /// A scrape went by uncounted.
    pub(super) fn passed(&self) {
        lock(&self.0).since += 1;
    }
}

impl Part {
    fn new(job: Arc<Mutex<JobMetrics>>, counts: MetricCounts) -> Self {
        let MetricCounts { by_name, mut other } = counts;
        let mut by_size: Vec<_> = by_name.into_iter().collect();
        if by_size.len() > MOST_OF_A_TARGET {
            // The sort is stable: of equally large ones every target has the same.
            by_size.sort_by_key(|(_, load)| Reverse(*load));
            other = other.plus(by_size.drain(MOST_OF_A_TARGET..).map(|(_, load)| load).sum());
        }
        let mut sums = lock(&job);
        let metrics = by_size.iter().map(|(metric, load)| sums.add(metric, *load)).collect();
        sums.other = sums.other.plus(other);
        sums.targets += 1;
        drop(sums);
        Self { job, metrics, other }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut sums = lock(&self.job);
        for part in &self.metrics {
            sums.remove(*part);
        }
        sums.other = sums.other.minus(self.other);
        sums.targets -= 1;
    }
}

impl JobMetrics {
    fn add(&mut self, metric: &str, load: Load) -> PartOfMetric {
        let narrow = |series: u64| u32::try_from(series).unwrap_or(u32::MAX);
        let place = self.place(metric);
        let part = PartOfMetric { place, exposed: narrow(load.exposed.0), kept: narrow(load.kept.0) };
        if let Some(sum) = self.sums.get_mut(place as usize) {
            sum.load = sum.load.plus(part.load());
            sum.targets += 1;
        }
        part
    }

    fn place(&mut self, metric: &str) -> u32 {
        if let Some(place) = self.places.get(metric) {
            return *place;
        }
        let name: Arc<str> = metric.into();
        let sum = Sum { metric: Arc::clone(&name), load: Load::ZERO, targets: 0 };
        let place = match self.free.pop() {
            Some(place) => {
                self.sums[place as usize] = sum;
                place
            }
            None => {
                self.sums.push(sum);
                u32::try_from(self.sums.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.places.insert(name, place);
        place
    }

    fn remove(&mut self, part: PartOfMetric) {
        let Some(sum) = self.sums.get_mut(part.place as usize) else { return };
        sum.load = sum.load.minus(part.load());
        sum.targets -= 1;
        if sum.targets == 0 {
            self.places.remove(&sum.metric);
            self.free.push(part.place);
        }
    }

    fn samples(&self, limit: usize) -> JobSamples {
        let listed = self.sums.iter().filter(|sum| sum.targets > 0);
        let all: Load = listed.clone().map(|sum| sum.load).sum::<Load>().plus(self.other);
        let mut job = JobSamples {
            scraped_total: all.kept,
            total: all.exposed,
            targets: self.targets,
            metrics_total: BTreeMap::new(),
            other: MetricSamples::from(self.other),
        };
        job.metrics_total = listed.map(|sum| (Arc::clone(&sum.metric), sum.load.into())).collect();
        job.list_largest(limit);
        job
    }
}

impl PartOfMetric {
    fn load(self) -> Load {
        use narthex_common::load::Series;
        Load { exposed: Series(self.exposed.into()), kept: Series(self.kept.into()) }
    }
}

/// No step under these locks leaves sums that are worth less than none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use narthex_common::load::Series;

    use super::*;

    fn counts(metrics: &[(&str, u64)]) -> MetricCounts {
        let load = |series: u64| Load { exposed: Series(series), kept: Series(series / 2) };
        let by_name = metrics.iter().map(|(name, series)| ((*name).into(), load(*series))).collect();
        MetricCounts { by_name, other: Load::ZERO }
    }

    fn all() -> SamplesQuery {
        SamplesQuery::parse("with_metrics_detail=true").unwrap()
    }

    fn listed(top: &TopMetrics, job: &str) -> Vec<(String, u64)> {
        let samples = top.samples(&all());
        let metrics = samples.get(&job.into()).into_iter().flat_map(|job| &job.metrics_total);
        metrics.map(|(metric, samples)| (metric.to_string(), samples.total.0)).collect()
    }

    fn expected(metrics: &[(&str, u64)]) -> Vec<(String, u64)> {
        metrics.iter().map(|(name, series)| ((*name).to_owned(), *series)).collect()
    }

    #[test]
    fn sums_are_those_of_the_targets_that_are_there_as_they_were_counted_last() {
        let top = TopMetrics::default();
        let (a, b, c) = (TargetMetrics::default(), TargetMetrics::default(), TargetMetrics::default());
        top.counted(&"node".into(), &a, counts(&[("cpu", 8), ("up", 1)]));
        top.counted(&"node".into(), &b, counts(&[("cpu", 16), ("disk", 4)]));
        top.counted(&"app".into(), &c, counts(&[("cpu", 100)]));
        assert_eq!(listed(&top, "node"), expected(&[("cpu", 24), ("disk", 4), ("up", 1)]));
        assert_eq!(listed(&top, "app"), expected(&[("cpu", 100)]));

        top.counted(&"node".into(), &a, counts(&[("cpu", 10), ("net", 2)]));
        assert_eq!(listed(&top, "node"), expected(&[("cpu", 26), ("disk", 4), ("net", 2)]));
        drop(b);
        assert_eq!(listed(&top, "node"), expected(&[("cpu", 10), ("net", 2)]));
        let node = &top.samples(&SamplesQuery::default())[&"node".into()];
        assert_eq!((node.total, node.scraped_total, node.targets), (Series(12), Series(6), 1));
        assert_eq!((node.metrics_total.len(), node.other.total), (0, Series(12)));

        drop(a);
        assert_eq!(top.samples(&all()).len(), 1, "a job of which nothing is left is forgotten");
    }

    #[test]
    fn metrics_that_come_and_go_take_no_more_room_than_those_that_are_there() {
        let (top, target) = (TopMetrics::default(), TargetMetrics::default());
        for round in 0..100 {
            let names: Vec<String> = (0..50).map(|i| format!("metric_{round}_{i}")).collect();
            let metrics: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
            top.counted(&"job".into(), &target, counts(&metrics));
        }
        let job = top.job(&"job".into());
        assert!(lock(&job).sums.len() <= 100 && lock(&job).places.len() == 50);
    }

    #[test]
    fn of_a_target_with_very_many_metrics_the_smallest_are_counted_together() {
        let (top, target) = (TopMetrics::default(), TargetMetrics::default());
        let names: Vec<String> = (0..MOST_OF_A_TARGET + 10).map(|i| format!("metric_{i:04}")).collect();
        let metrics: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 2)).chain([("large", 50)]).collect();
        top.counted(&"job".into(), &target, counts(&metrics));
        let job = &top.samples(&all())[&"job".into()];
        assert_eq!((job.metrics_total.len(), job.other.total), (MOST_OF_A_TARGET, Series(22)));
        assert_eq!(job.metrics_total["large"].total, Series(50));
        assert_eq!(job.total, Series(2 * 266 + 50));
    }

    #[test]
    fn a_target_is_counted_in_its_first_scrape_and_then_in_every_tenth() {
        let (top, target) = (TopMetrics::default(), TargetMetrics::default());
        let mut counted = vec![];
        for scrape in 0..25 {
            if target.is_due() {
                counted.push(scrape);
                top.counted(&"job".into(), &target, counts(&[]));
            } else {
                target.passed();
            }
        }
        assert_eq!(counted, [0, 10, 20]);
    }
}
