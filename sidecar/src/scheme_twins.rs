//! Scheme twins: two targets of a job whose URLs differ in nothing but `http` and `https`.
//!
//! Prometheus scrapes everything through the proxy by plain http, so that the proxy can see what it forwards; the true
//! scheme is looked up by the rest of the URL. For twins the rest is the same. The https one therefore carries one
//! more URL parameter, which the proxy takes off again.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{assignment::Assignment, job::JobName, target::TargetId};

/// The URL parameter that tells an https target from its http twin: `narthex_scheme=https`.
pub const SCHEME_PARAM: &str = "narthex_scheme";

/// The targets that are scraped with [`SCHEME_PARAM`]: https targets for which the same job has the same URL with http.
#[must_use]
pub fn https_twins(assignment: &Assignment) -> BTreeSet<TargetId> {
    let mut plain: BTreeMap<(&JobName, &str), bool> = BTreeMap::new();
    for assigned in assignment.targets.values() {
        if let Some(rest) = assigned.target.url.strip_prefix("https://") {
            plain.entry((&assigned.target.job, rest)).or_default();
        }
    }
    if plain.is_empty() {
        return BTreeSet::new();
    }
    for assigned in assignment.targets.values() {
        if let Some(rest) = assigned.target.url.strip_prefix("http://")
            && let Some(is_twin) = plain.get_mut(&(&assigned.target.job, rest))
        {
            *is_twin = true;
        }
    }
    let is_twin = |job, url: &str| {
        url.strip_prefix("https://").is_some_and(|rest| plain.get(&(job, rest)).copied().unwrap_or_default())
    };
    assignment
        .targets
        .iter()
        .filter(|(_, assigned)| is_twin(&assigned.target.job, &assigned.target.url))
        .map(|(id, _)| *id)
        .collect()
}

/// The URL that one with the mark of https stands for.
#[must_use]
pub fn true_url(scraped: String) -> String {
    let is_mark = |pair: &&str| pair.split_once('=') == Some((SCHEME_PARAM, "https"));
    let Some((base, query)) = scraped.split_once('?').filter(|(_, query)| query.split('&').any(|p| is_mark(&p))) else {
        return scraped;
    };
    let base = base.strip_prefix("http://").unwrap_or(base);
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_mark(pair)).collect();
    let separator = if rest.is_empty() { "" } else { "?" };
    format!("https://{base}{separator}{}", rest.join("&"))
}

#[cfg(test)]
mod tests {
    use narthex_common::{
        assignment::{AssignedTarget, TargetState},
        labels::Labels,
        target::Target,
    };

    use super::*;

    fn assignment(urls: &[(&str, &str)]) -> Assignment {
        let targets = urls
            .iter()
            .map(|(job, url)| {
                let labels = Labels::from_iter([("__scheme__", url.split(':').next().unwrap())]);
                let target = Target::new((*job).into(), labels, (*url).into());
                (target.id, AssignedTarget { target, state: TargetState::Normal, since: None, load: None })
            })
            .collect();
        Assignment { targets, ..Assignment::default() }
    }

    fn twins_of(urls: &[(&str, &str)]) -> Vec<String> {
        let assignment = assignment(urls);
        https_twins(&assignment).iter().map(|id| assignment.targets[id].target.url.clone()).collect()
    }

    #[test]
    fn only_the_https_one_of_two_twins_in_one_job_is_marked() {
        assert_eq!(twins_of(&[("a", "http://x/m"), ("a", "https://x/m")]), ["https://x/m"]);
    }

    #[test]
    fn targets_of_two_jobs_or_of_two_paths_are_no_twins() {
        assert!(twins_of(&[("a", "http://x/m"), ("b", "https://x/m")]).is_empty());
        assert!(twins_of(&[("a", "http://x/m"), ("a", "https://x/n")]).is_empty());
    }
}
