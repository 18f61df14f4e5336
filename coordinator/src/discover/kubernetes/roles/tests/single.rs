//! What no recorded case can show.

use rstest::rstest;

use crate::discover::kubernetes::{
    objects::{Node, ObjectKey, Pod, Service},
    roles::{
        Role as _,
        address::{join_host_port, unsigned},
        labels::{MetaLabels, sanitized},
    },
};

#[rstest]
#[case("app.kubernetes.io/name", "app_kubernetes_io_name")]
#[case("a-b_c9", "a_b_c9")]
#[case("größe", "gr__e")]
#[case("", "")]
fn what_is_no_letter_digit_or_underscore_becomes_an_underscore(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(sanitized(text), expected);
}

#[rstest]
#[case("10.0.0.1", 80, "10.0.0.1:80")]
#[case("fd00::1", 80, "[fd00::1]:80")]
#[case("web.shop.svc", 0, "web.shop.svc:0")]
#[case("", 1, ":1")]
fn addresses_are_joined_as_go_joins_them(#[case] host: &str, #[case] port: i32, #[case] expected: &str) {
    assert_eq!(join_host_port(host, unsigned(port)), expected);
}

#[test]
fn of_two_labels_with_one_name_the_later_wins_and_an_empty_one_is_none() {
    let mut labels = MetaLabels::default();
    labels.set("b", "1");
    labels.set("a", "1");
    labels.set("b", "2");
    labels.set("a", "");
    assert_eq!(labels.build(), [("b", "2")].into_iter().collect());
}

#[test]
fn what_has_gone_is_told_by_the_source_it_had() {
    let key = ObjectKey::new("n", "a");
    assert_eq!(Pod::gone(&key).source, "pod/n/a");
    assert_eq!(Service::gone(&key).source, "svc/n/a");
    assert_eq!(Node::gone(&ObjectKey::cluster_wide("a")).source, "node/a");
    assert!(Pod::gone(&key).targets.is_empty());
}
