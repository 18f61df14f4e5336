//! Leaving pools, as Prometheus reads them.

use std::time::Duration;

use narthex_common::{assignment::AssignedTarget, time::Timestamp};

use super::*;
use crate::leaving::Update;

const NOW: Timestamp = Timestamp(1_000_000);

/// Targets that were handed over, those of them that are in their pools by now, and what stays assigned.
fn leaving(config: &Config, stays: &[AssignedTarget], leaves: &[AssignedTarget]) -> (Assignment, Leaving) {
    let before = assignment(config, stays.iter().chain(leaves).cloned());
    let after = assignment(config, stays.iter().cloned());
    let handed_over: Vec<_> = leaves.iter().map(|target| target.target.id).collect();
    let mut leaving = Leaving::default();
    leaving.follow(&Update { before: &before, after: &after, handed_over: &handed_over, now: NOW });
    leaving.admit(NOW);
    leaving.loaded(&leaving.pools());
    for at in [NOW, NOW.after(Duration::from_secs(1))] {
        leaving.step(|_, _| 0, at);
    }
    (after, leaving)
}

fn job<'a>(tree: &'a Node, name: &str) -> &'a Node {
    let jobs = tree.get("scrape_configs").unwrap().items();
    jobs.iter().find(|job| job.get("job_name").and_then(Node::text) == Some(name)).unwrap()
}

#[test]
fn a_leaving_pool_is_its_job_with_another_name_another_user_and_a_file_of_its_generation() {
    let config = awkward();
    let pools = LeavingPools::from([(GenerationId(3), vec!["node".into()])]);
    let text = super::super::config(&config, &ids(&config), &pools, &settings());
    let tree = narthex_common::config::yaml::read(&text).unwrap();
    let (own, pool) = (job(&tree, "node"), job(&tree, "node~leaving-3"));
    let differing = ["job_name", "proxy_url", "file_sd_configs", "relabel_configs"];
    assert!(pool.get("keep_dropped_targets").is_some(), "the others of the generation are dropped");
    let rest = |job: &Node| {
        let mut job = job.clone();
        job.retain_keys(|key| !differing.contains(&key) && key != "keep_dropped_targets");
        job.to_yaml()
    };
    assert_eq!(rest(pool), rest(own));
    let [own, pool] = [own, pool].map(|job| differing.map(|key| job.get(key).unwrap().to_yaml()));
    let id = ids(&config).id(&"node".into()).unwrap().to_owned();
    assert_eq!(pool[1], own[1].replace(&id, &format!("{id}.g3")));
    assert_eq!(pool[2], own[2].replace(&id, "leaving-3"));
    assert!(pool[3].contains(&format!("regex: \"{id}\"")) && pool[3].contains("__meta_kvjob"), "{}", pool[3]);
    assert!(pool[3].ends_with(&own[3]), "the rules that follow are the same: {}", pool[3]);
    assert!(!text.contains("split off~"), "only jobs with something that leaves have one");
}

#[test]
fn the_name_of_a_leaving_pool_is_no_jobs() {
    let names = ["a", "a~leaving-1", "a~leaving-1~"].map(Into::into);
    let ids = JobIds::new(&names);
    assert_eq!(job::pool_name("a", GenerationId(1), &ids), "a~leaving-1~~");
    assert_eq!(job::pool_name("a", GenerationId(2), &ids), "a~leaving-2");
    assert_eq!(job::pool_name("a~leaving-1", GenerationId(1), &ids), "a~leaving-1~leaving-1");
}

#[test]
fn a_target_is_written_alike_in_its_jobs_file_and_in_the_pools() {
    for config in [awkward(), many_jobs(40)] {
        let name = config.jobs[0].job_name.to_string();
        let (stays, leaves) = (target(&name, "http://a:1/m", &[]), target(&name, "https://a:1/m", &[("zone", "1.10")]));
        let (ids, layout) = (ids(&config), layout(&config));
        let both = assignment(&config, [stays.clone(), leaves.clone()]);
        let before = target_files(&both, &Leaving::default(), &ids, layout, PrometheusKind::Server);
        let (after, leaving) = leaving(&config, &[stays], &[leaves]);
        let files = target_files(&after, &leaving, &ids, layout, PrometheusKind::Server);

        let id = ids.id(&config.jobs[0].job_name).unwrap();
        let lines = |files: &BTreeMap<PathBuf, String>, file: &Path| {
            let groups = files[file].lines().filter(|line| line.starts_with("{\"targets\":[\""));
            // In a pool's file a target always says whose it is.
            let mark = format!("\"__meta_kvjob\":\"{id}\"");
            groups.map(|line| line.trim_end_matches(',').replace(&format!(",{mark}"), "")).collect::<Vec<_>>()
        };
        let unmarked: Vec<String> = lines(&before, &layout.file(id));
        let (own, pool) = (lines(&files, &layout.file(id)), lines(&files, &Layout::leaving_file(GenerationId(1))));
        assert_eq!((own.len(), pool.len()), (1, 1));
        let mut both = [own, pool].concat();
        both.sort();
        let mut expected = unmarked;
        expected.sort();
        assert_eq!(both, expected, "the https one is still a twin");
    }
}
