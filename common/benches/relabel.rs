//! How fast targets are built: a million of them are relabeled at every start of a coordinator.

#![expect(clippy::unwrap_used, reason = "a benchmark of input that is known to be good")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narthex_common::{
    config::PromDuration,
    job::JobName,
    labels::Labels,
    relabel::{Action, RelabelConfig, RelabeledBy},
    semantics::{NameValidation, PrometheusVersion},
    target::build::{TargetBuilder, TargetSettings},
};

fn rule(action: Action, sources: &[&str], regex: Option<&str>, target: &str, replacement: &str) -> RelabelConfig {
    RelabelConfig {
        source_labels: sources.iter().map(|&source| source.into()).collect(),
        regex: regex.map(Into::into),
        target_label: target.into(),
        replacement: replacement.into(),
        action: Some(action),
        ..RelabelConfig::default()
    }
}

/// The twelve rules of an ordinary `kubernetes-pods` job.
fn kubernetes_rules() -> Vec<RelabelConfig> {
    use Action::{Drop, Keep, LabelMap, Replace};
    const ANNOTATION: &str = "__meta_kubernetes_pod_annotation_prometheus_io_";
    let annotation = |name: &str| format!("{ANNOTATION}{name}");
    vec![
        rule(Keep, &[&annotation("scrape")], Some("true"), "", "$1"),
        rule(Drop, &["__meta_kubernetes_pod_phase"], Some("Pending|Succeeded|Failed|Completed"), "", "$1"),
        rule(Drop, &["__meta_kubernetes_pod_container_init"], Some("true"), "", "$1"),
        rule(Replace, &[&annotation("scheme")], Some("(https?)"), "__scheme__", "$1"),
        rule(Replace, &[&annotation("path")], Some("(.+)"), "__metrics_path__", "$1"),
        rule(Replace, &["__address__", &annotation("port")], Some(r"(.+?)(?::\d+)?;(\d+)"), "__address__", "$1:$2"),
        rule(LabelMap, &[], Some(&format!("{ANNOTATION}param_(.+)")), "", "__param_$1"),
        rule(LabelMap, &[], Some("__meta_kubernetes_pod_label_(.+)"), "", "$1"),
        rule(Replace, &["__meta_kubernetes_namespace"], None, "namespace", "$1"),
        rule(Replace, &["__meta_kubernetes_pod_name"], None, "pod", "$1"),
        rule(Replace, &["__meta_kubernetes_pod_container_name"], None, "container", "$1"),
        rule(Replace, &[], None, "cluster", "dev-us-central-0"),
    ]
}

fn pod() -> Labels {
    [
        ("__address__", "10.132.183.40:80"),
        ("__meta_kubernetes_namespace", "loki-boltdb-shipper"),
        ("__meta_kubernetes_pod_annotation_prometheus_io_scrape", "true"),
        ("__meta_kubernetes_pod_annotation_prometheus_io_port", "9100"),
        ("__meta_kubernetes_pod_annotation_promtail_loki_boltdb_shipper_hash", "50523b9759094a144adcec2eae0aa4ad"),
        ("__meta_kubernetes_pod_annotationpresent_promtail_loki_boltdb_shipper_hash", "true"),
        ("__meta_kubernetes_pod_container_init", "false"),
        ("__meta_kubernetes_pod_container_name", "promtail"),
        ("__meta_kubernetes_pod_container_port_name", "http-metrics"),
        ("__meta_kubernetes_pod_container_port_number", "80"),
        ("__meta_kubernetes_pod_container_port_protocol", "TCP"),
        ("__meta_kubernetes_pod_controller_kind", "DaemonSet"),
        ("__meta_kubernetes_pod_controller_name", "promtail-loki-boltdb-shipper"),
        ("__meta_kubernetes_pod_host_ip", "10.128.0.178"),
        ("__meta_kubernetes_pod_ip", "10.132.183.40"),
        ("__meta_kubernetes_pod_label_controller_revision_hash", "555b77cd7d"),
        ("__meta_kubernetes_pod_label_name", "promtail-loki-boltdb-shipper"),
        ("__meta_kubernetes_pod_label_pod_template_generation", "45"),
        ("__meta_kubernetes_pod_labelpresent_controller_revision_hash", "true"),
        ("__meta_kubernetes_pod_labelpresent_name", "true"),
        ("__meta_kubernetes_pod_labelpresent_pod_template_generation", "true"),
        ("__meta_kubernetes_pod_name", "promtail-loki-boltdb-shipper-jgtr7"),
        ("__meta_kubernetes_pod_node_name", "gke-dev-us-central-0-main-n2s8-2-14d53341-9hkr"),
        ("__meta_kubernetes_pod_phase", "Running"),
        ("__meta_kubernetes_pod_ready", "true"),
        ("__meta_kubernetes_pod_uid", "4c586419-7f6c-448d-aeec-ca4fa5b05e60"),
    ]
    .into_iter()
    .collect()
}

fn targets(criterion: &mut Criterion) {
    let settings = |relabel_configs| TargetSettings {
        job_name: JobName::from("kubernetes-pods"),
        scrape_interval: PromDuration::from_secs(15),
        scrape_timeout: PromDuration::from_secs(10),
        metrics_path: "/metrics".into(),
        scheme: "http".into(),
        params: [].into(),
        convert_classic_histograms_to_nhcb: false,
        always_scrape_classic_histograms: false,
        scrape_native_histograms: false,
        relabeled_by: RelabeledBy::Coordinator,
        relabel_configs,
        name_validation: NameValidation::Legacy,
    };
    let mut group = criterion.benchmark_group("targets");
    group.throughput(Throughput::Elements(1));
    for (name, rules) in [("no rules", vec![]), ("12 Kubernetes rules", kubernetes_rules())] {
        let builder = TargetBuilder::new(settings(rules), PrometheusVersion::V3_5).unwrap();
        let (pod, group_labels) = (pod(), Labels::default());
        group.bench_function(name, |b| b.iter(|| builder.build(black_box(&pod), &group_labels)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = targets
}
criterion_main!(benches);
