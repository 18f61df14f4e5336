//! `kubernetes_sd_configs`: what is read, and what is refused in Prometheus' words.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use config_support::{Memory, prometheus_3};
use narthex_common::config::{
    Config, HttpClientConfig, SdConfig,
    http_client::{Auth, Secret, Source},
    scrape::{
        KubernetesApi, KubernetesAttach, KubernetesNamespaces, KubernetesRole, KubernetesSdConfig, KubernetesSelector,
        OtherSdConfig,
    },
};
use rstest::rstest;

/// The only SD block of a config's only job, written in one line.
fn load(block: &str) -> Result<SdConfig, String> {
    let text = format!("scrape_configs:\n- job_name: k8s\n  kubernetes_sd_configs:\n  - {block}\n");
    let files = Memory::of([("/etc/prometheus/p.yml", text.as_str())]);
    let config = Config::load(Path::new("/etc/prometheus/p.yml"), &files, prometheus_3()).map_err(|e| e.message)?;
    Ok(config.jobs[0].discovery[0].clone())
}

fn kubernetes(block: &str) -> KubernetesSdConfig {
    let SdConfig::Kubernetes(config) = load(block).unwrap() else { panic!("{block}") };
    config
}

#[test]
fn a_role_is_all_that_must_be_said() {
    for role in KubernetesRole::ALL {
        let expected = KubernetesSdConfig {
            api: KubernetesApi::InCluster,
            role,
            namespaces: KubernetesNamespaces::default(),
            selectors: BTreeMap::new(),
            attach: KubernetesAttach::default(),
        };
        let written_but_empty = "api_server: , kubeconfig_file: '', namespaces: , selectors: , attach_metadata: ";
        assert_eq!(kubernetes(&format!("{{role: {role}}}")), expected);
        assert_eq!(kubernetes(&format!("{{role: {role}, {written_but_empty}}}")), expected);
    }
}

#[test]
fn every_field_is_read() {
    let block = "{role: pod, namespaces: {own_namespace: true, names: [b, a, b]}, attach_metadata: {node: true, \
                 namespace: true, \
                 deployment: true, job: true, cronjob: true}, selectors: [{role: pod, label: 'a in (b)', field: spec.nodeName=n}, {role: node}]}";
    let config = kubernetes(block);
    let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(config.namespaces, KubernetesNamespaces { own: true, names });
    let pods = KubernetesSelector { label: "a in (b)".to_owned(), field: "spec.nodeName=n".to_owned() };
    let expected = [(KubernetesRole::Pod, pods), (KubernetesRole::Node, KubernetesSelector::default())];
    assert_eq!(config.selectors, BTreeMap::from(expected));
    let all = KubernetesAttach { node: true, namespace: true, deployment: true, job: true, cron_job: true };
    assert_eq!(config.attach, all);
    assert_eq!(kubernetes("{role: pod, attach_metadata: {node: }}").attach, KubernetesAttach::default());

    let config = kubernetes("{role: node, kubeconfig_file: kube.conf}");
    assert_eq!(config.api, KubernetesApi::Kubeconfig("/etc/prometheus/kube.conf".into()));

    let config = kubernetes("{role: node, api_server: 'https://u:hidden@k:6443', bearer_token_file: token}");
    let credentials = Some(Source::File("/etc/prometheus/token".into()));
    let auth = Some(Auth::Header { kind: "Bearer".to_owned(), credentials });
    let http_client = Box::new(HttpClientConfig { auth, ..HttpClientConfig::default() });
    assert_eq!(config.api, KubernetesApi::Server { url: Secret::new("https://u:hidden@k:6443"), http_client });
    assert!(!format!("{config:?}").contains("hidden"));
}

#[rstest]
#[case("{}", "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)")]
#[case("{role: }", "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)")]
#[case("{role: pod, api_server: 'http://[::1'}", "field api_server: missing ']' in host")]
#[case(
    "{role: pod, api_server: k, kubeconfig_file: f}",
    "cannot use 'kubeconfig_file' and 'api_server' simultaneously"
)]
#[case(
    "{role: pod, kubeconfig_file: f, follow_redirects: false}",
    "cannot use a custom HTTP client configuration together with 'kubeconfig_file'"
)]
#[case(
    "{role: pod, tls_config: {insecure_skip_verify: true}}",
    "to use custom HTTP client configuration please provide the 'api_server' URL explicitly"
)]
#[case(
    "{role: pod, api_server: k, namespaces: {own_namespace: true}}",
    "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously"
)]
#[case(
    "{role: pod, kubeconfig_file: f, namespaces: {own_namespace: true}}",
    "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously"
)]
#[case("{role: pod, selectors: [{role: service}]}", "pod role supports only pod, node selectors")]
#[case("{role: pod, selectors: [{label: a}]}", "pod role supports only pod, node selectors")]
#[case(
    "{role: endpoints, selectors: [{role: node}]}",
    "endpoints role supports only pod, service, endpoints selectors"
)]
#[case(
    "{role: endpointslice, selectors: [{role: endpoints}]}",
    "endpointslice role supports only pod, service, endpointslice selectors"
)]
#[case("{role: node, selectors: [{role: node}, {role: node}]}", "duplicated selector role: node")]
#[case("{role: node, selectors: [{role: node, label: a=b c}]}", "found 'c', expected: ',' or 'end of string'")]
#[case("{role: node, selectors: [{role: node, field: a}]}", "invalid selector: 'a'; can't understand 'a'")]
#[case(
    "{role: pod, bearer_token: a, bearer_token_file: b}",
    "at most one of bearer_token & bearer_token_file must be configured"
)]
fn what_prometheus_refuses_is_refused_in_its_words(#[case] block: &str, #[case] words: &str) {
    assert_eq!(load(block).unwrap_err(), words);
}

#[rstest]
#[case("{role: httproute}", r#"unknown Kubernetes SD role "httproute""#)]
#[case("{role: pod, selectors: [{role: gateway}]}", r#"unknown Kubernetes SD role "gateway""#)]
#[case("{role: pod, new: 1}", "field new not found in type kubernetes.plain")]
#[case("{role: pod, namespaces: {new: 1}}", "field new not found in type kubernetes.plain")]
#[case("{role: pod, attach_metadata: {pod: true}}", "field pod not found in type kubernetes.AttachMetadataConfig")]
fn what_a_newer_prometheus_may_know_is_left_to_somebody_else(#[case] block: &str, #[case] unknown: &str) {
    let SdConfig::Other(OtherSdConfig { kind, line, unknown_field, .. }) = load(block).unwrap() else {
        panic!("{block}")
    };
    assert_eq!((kind.as_str(), line, unknown_field.as_deref()), ("kubernetes_sd_configs", 4, Some(unknown)));
}
