//! What a change in a Kubernetes cluster costs: reading an object, making its group anew, and keeping in mind who refers
//! to what. A cluster of 100,000 pods does each of these 100,000 times at a start, and some hundred times a second later.

#![expect(clippy::unwrap_used, reason = "a benchmark of input that is known to be good")]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narthex_common::semantics::PrometheusVersion;
use narthex_coordinator::discover::kubernetes::{
    objects::{Endpoints, Job, Kind, Namespace, Node, ObjectKey, Pod, ReplicaSet, Service, Watched},
    roles::{Attach, Cluster, Dependents, Role as _, Surroundings},
};
use serde_json::{Value, json};

/// How many pods are behind the service.
const PODS: usize = 100;

#[derive(Default)]
struct Pods(HashMap<ObjectKey, Arc<Pod>>);

impl Cluster for Pods {
    fn pod(&self, key: &ObjectKey) -> Option<Arc<Pod>> {
        self.0.get(key).cloned()
    }

    fn service(&self, _: &ObjectKey) -> Option<Arc<Service>> {
        None
    }

    fn node(&self, _: &str) -> Option<Arc<Node>> {
        None
    }

    fn namespace(&self, _: &str) -> Option<Arc<Namespace>> {
        None
    }

    fn replica_set(&self, _: &ObjectKey) -> Option<Arc<ReplicaSet>> {
        None
    }

    fn job(&self, _: &ObjectKey) -> Option<Arc<Job>> {
        None
    }
}

/// A pod with two containers and three ports, and the managed fields that make up half of it in a real cluster.
fn pod_json(number: usize) -> String {
    let fields = |path: &str| -> Value {
        let keys = (0..30).map(|key| (format!("f:{path}-{key}"), json!({"f:value": {}, ".": {}})));
        Value::Object(keys.collect())
    };
    let container = |name: &str, ports: Value| {
        json!({"name": name, "image": format!("registry.example.com/shop/{name}:1.2.3"), "ports": ports,
            "env": [{"name": "GOMAXPROCS", "value": "4"}], "volumeMounts": [{"name": "token", "mountPath": "/var/run"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}})
    };
    json!({
        "metadata": {
            "name": format!("checkout-6d4cf56db6-{number:05}"), "namespace": "shop", "resourceVersion": "123456789",
            "uid": format!("0f2e4d6c-1111-2222-3333-{number:012}"),
            "labels": {"app.kubernetes.io/name": "checkout", "app.kubernetes.io/part-of": "shop",
                "app.kubernetes.io/version": "1.2.3", "pod-template-hash": "6d4cf56db6", "team": "payments"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                "checksum/config": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "checkout-6d4cf56db6", "controller": true}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": fields("status")},
                {"manager": "kube-controller-manager", "fieldsV1": fields("spec")}],
        },
        "spec": {"nodeName": format!("node-{}.example.internal", number % 30), "containers": [
            container("checkout", json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}])),
            container("mesh", json!([{"name": "stats", "containerPort": 15020, "protocol": "TCP"}])),
        ]},
        "status": {"phase": "Running", "podIP": format!("10.1.{}.{}", number / 250, number % 250 + 1),
            "hostIP": "10.0.0.1", "conditions": [{"type": "Initialized", "status": "True"},
                {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "checkout", "containerID": format!("containerd://{number:064}")},
                {"name": "mesh", "containerID": format!("containerd://{:064}", number + 1)}]},
    })
    .to_string()
}

fn endpoints_json() -> String {
    let address = |number: usize| {
        json!({"ip": format!("10.1.0.{}", number + 1), "nodeName": format!("node-{}.example.internal", number % 30),
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": format!("checkout-6d4cf56db6-{number:05}")}})
    };
    let addresses: Vec<Value> = (0..PODS).map(address).collect();
    json!({"metadata": {"name": "checkout", "namespace": "shop"}, "subsets": [{"addresses": addresses,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]})
    .to_string()
}

fn read<O: Kind>(json: &str) -> O {
    serde_json::from_str::<Watched<O>>(json).unwrap().object
}

fn kubernetes(c: &mut Criterion) {
    let json = pod_json(1);
    let pods: Vec<Pod> = (0..PODS).map(|number| read(&pod_json(number))).collect();
    let cluster = Pods(pods.iter().map(|pod| (pod.key(), Arc::new(pod.clone()))).collect());
    let attach = Attach { node: true, ..Attach::default() };
    let surroundings = Surroundings { version: PrometheusVersion::V3_5, attach, cluster: &cluster };
    let endpoints: Endpoints = read(&endpoints_json());

    let mut group = c.benchmark_group("kubernetes");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("read a pod", |b| b.iter(|| read::<Pod>(black_box(&json))));
    group.throughput(Throughput::Elements(1));
    group.bench_function("group of a pod", |b| b.iter(|| black_box(&pods[1]).group(&surroundings)));
    group.throughput(Throughput::Elements(PODS as u64));
    group.bench_function("group of endpoints, per pod", |b| b.iter(|| black_box(&endpoints).group(&surroundings)));

    let mut dependents = Dependents::default();
    for pod in &pods {
        dependents.set(&pod.key(), pod.references(attach));
    }
    dependents.set(&endpoints.key(), endpoints.references(attach));
    group.throughput(Throughput::Elements(1));
    let key = pods[1].key();
    group.bench_function("a pod refers to what it did", |b| {
        b.iter(|| dependents.set(&key, black_box(&pods[1]).references(attach)));
    });
    group.finish();
}

criterion_group!(benches, kubernetes);
criterion_main!(benches);
