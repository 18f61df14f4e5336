//! Which metrics the series of the fleet are of.

use narthex_common::samples::{JobSamples, MetricSamples, Samples};

use super::{
    super::{
        samples::{FleetSamples, fleet_samples},
        samples_table,
    },
    *,
};
use crate::observe::fake::{Fleet, Link};

fn job(metrics: &[(&str, u64)]) -> JobSamples {
    let mut job = JobSamples { targets: 1, ..JobSamples::default() };
    for (metric, series) in metrics {
        let one = MetricSamples { total: Series(*series), scraped: Series(series / 2) };
        job.total += one.total;
        job.scraped_total += one.scraped;
        job.metrics_total.insert((*metric).into(), one);
    }
    job
}

/// Two replicas of two shards each: 0 and 1, 2 and 3.
fn observed() -> Observed {
    let one = |ordinal: u32| {
        let mut shard = shard(target("a:9100"), Load::ZERO, Fingerprint(0));
        shard.address.id = ShardId(format!("shard-{ordinal}"));
        shard.address.url = format!("http://shard-{ordinal}.replica-0:8080/").parse().unwrap();
        shard
    };
    let replica = |id: &str, shards: [u32; 2]| ObservedReplica {
        id: ReplicaId(id.into()),
        scalable: false,
        wanted_shards: 2,
        shards: shards.map(one).into(),
    };
    Observed { replicas: vec![replica("one", [0, 1]), replica("two", [2, 3])] }
}

fn fleet() -> Arc<Fleet> {
    let fleet = Fleet::new(4, Fingerprint(0));
    let jobs: [&[(&str, JobSamples)]; 4] = [
        &[("node", job(&[("cpu", 10), ("up", 2)])), ("app", job(&[("requests", 7)]))],
        &[("node", job(&[("cpu", 20), ("disk", 6)]))],
        &[("node", job(&[("cpu", 10), ("up", 2)]))],
        &[("app", job(&[("requests", 9)]))],
    ];
    for (ordinal, jobs) in (0..).zip(jobs) {
        let samples: Samples = jobs.iter().map(|(name, job)| ((*name).into(), job.clone())).collect();
        fleet.with_shard(ordinal, |shard| shard.samples = samples);
    }
    fleet
}

async fn asked(fleet: &Fleet, query: &str) -> Value {
    let query = narthex_common::samples::SamplesQuery::parse(query).unwrap();
    let samples: FleetSamples = fleet_samples(&observed(), fleet, &query).await;
    serde_json::to_value(samples).unwrap()
}

#[tokio::test]
async fn shards_are_added_up_and_of_every_job_the_replica_counts_that_knows_most() {
    let answer = asked(&fleet(), "limit=1").await;
    let expected = json!({"status": "success", "data": {
        "app": {
            "scrapedTotal": 4, "total": 9, "targets": 1,
            "metricsTotal": {"requests": {"total": 9, "scraped": 4}}, "other": {"total": 0, "scraped": 0},
        },
        "node": {
            "scrapedTotal": 19, "total": 38, "targets": 2,
            "metricsTotal": {"cpu": {"total": 30, "scraped": 15}}, "other": {"total": 8, "scraped": 4},
        },
    }});
    assert_eq!(answer, expected);
    let only = asked(&fleet(), "job=app").await;
    assert_eq!((only["data"].as_object().unwrap().len(), &only["data"]["app"]["metricsTotal"]), (1, &json!({})));
}

#[tokio::test]
async fn a_shard_that_does_not_answer_is_named_and_the_others_count() {
    let fleet = fleet();
    fleet.with_shard(1, |shard| shard.link = Link::Refused);
    let answer = asked(&fleet, "with_metrics_detail=true").await;
    let [warning] = &answer["warnings"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert!(warning.as_str().unwrap().starts_with("one/shard-1 is not counted: "), "{warning}");
    assert_eq!(answer["data"]["node"]["total"], 12);
}

#[test]
fn the_table_shows_the_largest_job_and_its_largest_metrics_first() {
    let mut node = job(&[("cpu", 1_500), ("disk", 400), ("up", 100)]);
    node.list_largest(2);
    let samples: Samples = [("app".into(), job(&[("requests", 9)])), ("node".into(), node)].into_iter().collect();
    let table = samples_table::table(&samples);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words,
        [
            vec!["JOB", "METRIC", "SERIES", "KEPT", "PART"],
            vec!["node", "(all", "of", "1", "targets)", "2,000", "1,000", "100.0", "%"],
            vec!["node", "cpu", "1,500", "750", "75.0", "%"],
            vec!["node", "disk", "400", "200", "20.0", "%"],
            vec!["node", "(all", "others)", "100", "50", "5.0", "%"],
            vec!["app", "(all", "of", "1", "targets)", "9", "4", "100.0", "%"],
            vec!["app", "requests", "9", "4", "100.0", "%"],
        ]
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let (status, answer) = http::get(&http::api(snapshot()), "/api/v1/samples?limit=many").await;
    assert_eq!((status, &answer["error"]), (400, &json!("limit is \"many\"; it may be 0 to 10000")));
    let (status, answer) = http::get(&http::api(snapshot()), "/api/v1/samples/?limit=3").await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")));
}
