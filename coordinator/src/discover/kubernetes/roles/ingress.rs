//! `role: ingress`: one target per host and path.

use narthex_common::labels::ADDRESS;

use super::{
    Attach, Reference, Role, Surroundings,
    labels::{MetaLabels, NAMESPACE},
    namespace,
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{Ingress, IngressRule, Kind as _},
};

impl Role for Ingress {
    const SOURCE: &'static str = "ingress";

    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        let mut labels = MetaLabels::default();
        labels.set(NAMESPACE, &self.metadata.namespace);
        if let Some(class) = &self.spec.ingress_class_name {
            labels.set("__meta_kubernetes_ingress_class_name", class);
        }
        labels.set("__meta_kubernetes_ingress_name", &self.metadata.name);
        labels.set_labels_and_annotations("ingress", &self.metadata);
        namespace::attach(&mut labels, &self.metadata.namespace, surroundings);
        let targets = self.spec.rules.iter().flat_map(|rule| {
            let scheme = scheme(self, &rule.host);
            paths(rule).into_iter().map(move |path| target(&rule.host, scheme, path).build())
        });
        Some(TargetGroup { source: Self::source(&self.key()), labels: labels.build(), targets: targets.collect() })
    }

    fn references(&self, _: Attach) -> Vec<Reference> {
        Vec::new()
    }
}

fn target(host: &str, scheme: &'static str, path: &str) -> MetaLabels {
    let mut labels = MetaLabels::default();
    labels.set(ADDRESS, host);
    labels.set("__meta_kubernetes_ingress_scheme", scheme);
    labels.set("__meta_kubernetes_ingress_host", host);
    labels.set("__meta_kubernetes_ingress_path", path);
    labels
}

fn scheme(ingress: &Ingress, host: &str) -> &'static str {
    let patterns = ingress.spec.tls.iter().flat_map(|tls| &tls.hosts);
    if patterns.into_iter().any(|pattern| is_match(pattern, host)) { "https" } else { "http" }
}

/// The paths of a rule. A rule that does not speak of HTTP means everything; one with an empty list of paths, nothing.
fn paths(rule: &IngressRule) -> Vec<&str> {
    let Some(http) = &rule.http else { return vec!["/"] };
    http.paths.iter().map(|path| if path.path.is_empty() { "/" } else { &*path.path }).collect()
}

/// Whether a host is the one a certificate is for. A `*` stands for exactly the first part of the name.
fn is_match(pattern: &str, host: &str) -> bool {
    let (first, parents) = first_part(pattern);
    pattern == host || first == "*" && parents == first_part(host).1
}

/// The first part of a name, and what comes after the dot, if there is one.
fn first_part(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(first, parents)| (first, Some(parents)))
}
