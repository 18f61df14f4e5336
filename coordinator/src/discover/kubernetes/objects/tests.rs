use rstest::rstest;

use super::*;

fn read<O: Kind>(json: &str) -> O {
    serde_json::from_str::<Watched<O>>(json).unwrap().object
}

#[test]
fn a_watcher_learns_where_an_object_stands_and_nothing_more() {
    let json = r#"{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "42", "labels": {"x": "y"},
        "managedFields": [{"manager": "kubelet"}]}}"#;
    let watched: Watched<Pod> = serde_json::from_str(json).unwrap();
    let identity = kube::Resource::meta(&watched);
    assert_eq!((identity.name.as_deref(), identity.namespace.as_deref()), (Some("a"), Some("n")));
    assert_eq!(identity.resource_version.as_deref(), Some("42"));
    assert_eq!((&identity.labels, &identity.managed_fields), (&None, &None));
    assert_eq!(watched.object.metadata.resource_version, None);
    assert_eq!(watched.object.metadata.labels.get("x"), Some("y"));
}

#[test]
fn an_object_is_asked_for_at_its_own_path() {
    fn path<O: Kind>(namespace: Option<&str>) -> String {
        <Watched<O> as kube::Resource>::url_path(&(), namespace)
    }
    assert_eq!(path::<Pod>(Some("n")), "/api/v1/namespaces/n/pods");
    assert_eq!(path::<Node>(None), "/api/v1/nodes");
    assert_eq!(path::<Namespace>(None), "/api/v1/namespaces");
    assert_eq!(path::<Service>(None), "/api/v1/services");
    assert_eq!(path::<Endpoints>(None), "/api/v1/endpoints");
    assert_eq!(path::<EndpointSlice>(Some("n")), "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices");
    assert_eq!(path::<Ingress>(None), "/apis/networking.k8s.io/v1/ingresses");
    assert_eq!(path::<ReplicaSet>(None), "/apis/apps/v1/replicasets");
    assert_eq!(path::<Job>(None), "/apis/batch/v1/jobs");
}

/// As Go reads them: an odd object must not end a watch.
#[rstest]
#[case("{}")]
#[case(r#"{"metadata": null, "spec": null, "status": null, "subsets": null, "endpoints": null, "ports": null}"#)]
#[case(r#"{"metadata": {"name": null, "labels": null, "annotations": null, "ownerReferences": null}, "unknown": [1]}"#)]
#[case(
    r#"{"metadata": {}, "spec": {"containers": null, "ports": null, "rules": null, "tls": null, "nodeName": null},
    "status": {"podIP": null, "conditions": null, "addresses": null, "daemonEndpoints": null, "loadBalancer": null}}"#
)]
fn what_is_missing_or_null_is_empty(#[case] json: &str) {
    assert_eq!(read::<Pod>(json), Pod::default());
    assert_eq!(read::<Node>(json), Node::default());
    assert_eq!(read::<Namespace>(json), Namespace::default());
    assert_eq!(read::<Service>(json), Service::default());
    assert_eq!(read::<Endpoints>(json), Endpoints::default());
    assert_eq!(read::<EndpointSlice>(json), EndpointSlice::default());
    assert_eq!(read::<Ingress>(json), Ingress::default());
    assert_eq!(read::<ReplicaSet>(json), ReplicaSet::default());
    assert_eq!(read::<Job>(json), Job::default());
}

#[test]
fn nulls_deep_inside_are_empty_too() {
    let pod: Pod = read(
        r#"{"spec": {"containers": [{"name": "a", "image": null, "ports": null},
            {"ports": [{"name": null, "containerPort": null, "protocol": null}]}]},
            "status": {"containerStatuses": [{"name": "a", "containerID": null}]}}"#,
    );
    assert_eq!(pod.spec.containers.len(), 2);
    assert_eq!(pod.spec.containers[1].ports[0], ContainerPort::default());
    let slice: EndpointSlice = read(r#"{"endpoints": [{"addresses": null, "conditions": null, "targetRef": null}]}"#);
    assert_eq!(*slice.endpoints, [Endpoint::default()]);
}

#[test]
fn the_controller_is_the_owner_that_says_so() {
    let pod: Pod = read(
        r#"{"metadata": {"ownerReferences": [{"kind": "A", "name": "a"}, {"kind": "B", "name": "b", "controller": null},
            {"kind": "C", "name": "c", "controller": true}, {"kind": "D", "name": "d", "controller": true}]}}"#,
    );
    let controller = pod.metadata.controller.unwrap();
    assert_eq!((&*controller.kind, &*controller.name), ("C", "c"));
}

#[test]
fn a_heartbeat_changes_nothing() {
    let beat = |time: &str, version: &str| -> Node {
        read(&format!(
            r#"{{"metadata": {{"name": "a", "resourceVersion": "{version}"}}, "status": {{"conditions": [
                {{"type": "Ready", "status": "True", "lastHeartbeatTime": "{time}"}}]}}}}"#
        ))
    };
    assert_eq!(beat("2026-11-21T22:00:00Z", "1"), beat("2026-11-21T22:00:10Z", "2"));
}

#[test]
fn only_what_a_label_needs_is_kept_of_owners() {
    let set: ReplicaSet = read(
        r#"{"metadata": {"name": "a", "uid": "u", "labels": {"a": "b"}, "annotations": {"c": "d"},
            "ownerReferences": [{"kind": "Deployment", "name": "d", "controller": true}]}}"#,
    );
    assert!(set.metadata.labels.iter().len() + set.metadata.annotations.iter().len() + set.metadata.uid.len() == 0);
    assert!(set.metadata.controller.is_some());
}

#[test]
fn a_key_says_namespace_and_name() {
    let key = ObjectKey::new("n", "a");
    assert_eq!((key.as_str(), key.namespace(), key.name()), ("n/a", "n", "a"));
    let node = ObjectKey::new("", "a");
    assert_eq!((node.as_str(), node.namespace(), node.name()), ("a", "", "a"));
    assert_eq!(node, ObjectKey::cluster_wide("a"));
}
