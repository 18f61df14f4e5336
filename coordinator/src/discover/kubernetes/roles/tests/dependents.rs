//! Who has to be made anew when something changes.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::config::scrape::KubernetesAttach;
use proptest::{collection::vec, prelude::*};

use crate::discover::kubernetes::{
    objects::{EndpointSlice, Endpoints, Kind, ObjectKey, Pod, Watched},
    roles::{Dependents, Reference, Role as _},
};

const ALL: KubernetesAttach =
    KubernetesAttach { node: true, namespace: true, deployment: true, job: true, cron_job: true };

fn read<O: Kind>(json: &str) -> O {
    serde_json::from_str::<Watched<O>>(json).unwrap().object
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::cluster_wide(text)
}

#[test]
fn a_pod_refers_to_its_node_and_its_controller_only_where_they_are_attached() {
    let pod = |owner: &str| -> Pod {
        read(&format!(
            r#"{{"metadata": {{"name": "a", "namespace": "n", "ownerReferences": [
                {{"kind": "{owner}", "name": "o", "controller": true}}]}}, "spec": {{"nodeName": "n1"}}}}"#
        ))
    };
    let node = Reference::Node(key("n1"));
    assert_eq!(pod("ReplicaSet").references(KubernetesAttach::default()), []);
    assert_eq!(pod("ReplicaSet").references(ALL), [node.clone(), Reference::ReplicaSet(key("n/o"))]);
    assert_eq!(pod("Job").references(ALL), [node.clone(), Reference::Job(key("n/o"))]);
    assert_eq!(pod("DaemonSet").references(ALL), [node]);
    assert_eq!(Pod::default().references(ALL), []);
}

#[test]
fn endpoints_refer_to_their_service_their_pods_and_where_they_are_attached_to_nodes() {
    let endpoints: Endpoints = read(
        r#"{"metadata": {"name": "web", "namespace": "n"}, "subsets": [{
            "addresses": [{"targetRef": {"kind": "Pod", "namespace": "n", "name": "a"}, "nodeName": "n1"},
                {"targetRef": {"kind": "Node", "name": "n2"}}],
            "notReadyAddresses": [{"targetRef": {"kind": "Pod", "namespace": "n", "name": "b"}}]}]}"#,
    );
    let (a, b) = (Reference::Pod(key("n/a")), Reference::Pod(key("n/b")));
    let service = Reference::Service(key("n/web"));
    assert_eq!(endpoints.references(KubernetesAttach::default()), [a.clone(), b.clone(), service.clone()]);
    let nodes = [Reference::Node(key("n1")), Reference::Node(key("n2"))];
    assert_eq!(endpoints.references(ALL), [a, nodes[0].clone(), nodes[1].clone(), b, service]);
}

#[test]
fn a_slice_refers_to_the_service_its_label_names() {
    let slice: EndpointSlice = read(
        r#"{"metadata": {"name": "web-x", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"targetRef": {"kind": "Pod", "namespace": "n", "name": "a"}, "nodeName": "n1"}]}"#,
    );
    let pod = Reference::Pod(key("n/a"));
    assert_eq!(slice.references(ALL), [pod, Reference::Node(key("n1")), Reference::Service(key("n/web"))]);
    assert_eq!(EndpointSlice::default().references(ALL), []);
}

#[test]
fn what_no_longer_refers_to_something_is_not_made_anew_with_it() {
    let mut dependents = Dependents::default();
    let on = |dependents: &Dependents, node: &str| -> Vec<ObjectKey> {
        dependents.on(&Reference::Node(key(node))).cloned().collect()
    };
    for pod in ["n/a", "n/b", "n/c"] {
        dependents.set(&key(pod), vec![Reference::Node(key("n1")), Reference::Node(key("n1"))]);
    }
    assert_eq!(on(&dependents, "n1"), [key("n/a"), key("n/b"), key("n/c")]);
    dependents.set(&key("n/b"), vec![Reference::Node(key("n2"))]);
    dependents.remove(&key("n/c"));
    dependents.remove(&key("n/c"));
    assert_eq!((on(&dependents, "n1"), on(&dependents, "n2")), (vec![key("n/a")], vec![key("n/b")]));
}

#[test]
fn a_namespace_is_not_taken_for_another_that_begins_like_it() {
    let mut dependents = Dependents::default();
    for pod in ["a/1", "a/2", "a-b/1", "ab/1", "a0/1", "node"] {
        dependents.set(&key(pod), Vec::new());
    }
    assert!(dependents.in_namespace("a").eq(&[key("a/1"), key("a/2")]));
    assert_eq!(dependents.in_namespace("b").count(), 0);
}

fn reference() -> impl Strategy<Value = Reference> {
    (0..3_u8, 0..4_u8).prop_map(|(kind, name)| {
        let key = key(&format!("n/{name}"));
        match kind {
            0 => Reference::Node(key),
            1 => Reference::Pod(key),
            _ => Reference::Service(key),
        }
    })
}

proptest! {
    /// Whatever is set and removed, in any order: an object is a dependent of exactly what it was last set to refer to.
    #[test]
    fn dependents_are_what_was_last_set(steps in vec((0..6_u8, prop::option::of(vec(reference(), 0..5))), 0..40)) {
        let mut dependents = Dependents::default();
        let mut model: BTreeMap<ObjectKey, BTreeSet<Reference>> = BTreeMap::new();
        for (object, references) in steps {
            let object = key(&format!("m{}/{object}", object % 2));
            if let Some(references) = references {
                dependents.set(&object, references.clone());
                model.insert(object, references.into_iter().collect());
            } else {
                dependents.remove(&object);
                model.remove(&object);
            }
            for reference in model.values().flatten() {
                let expected = model.iter().filter(|(_, references)| references.contains(reference));
                prop_assert!(dependents.on(reference).eq(expected.map(|(key, _)| key)));
            }
            let expected = model.keys().filter(|key| key.namespace() == "m1");
            prop_assert!(dependents.in_namespace("m1").eq(expected));
        }
        for object in model.keys() {
            dependents.remove(object);
        }
        prop_assert!(dependents.is_empty());
    }
}
