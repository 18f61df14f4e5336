//! The config as it may be shown: secrets hidden, also in blocks of kinds that are not known here. What is a secret is
//! told by the name of its field, in doubt too often: a hidden value costs its reader a look at the file, a shown one is
//! everybody's.

use std::borrow::Cow;

use super::yaml::{Kind, Node, Scalar};
use crate::redact::without_password;

/// What stands for a secret, as in Prometheus.
const HIDDEN: &str = "<secret>";

/// What stands for a secret within a URL.
const HIDDEN_IN_URL: &str = "xxxxx";

/// A name with one of these anywhere in it is that of a secret.
const SECRET_PARTS: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "accesskey", "connectionstring"];

/// A name with one of these as a word of its own is that of a secret.
const SECRET_WORDS: [&str; 7] = ["key", "keys", "auth", "authorization", "cookie", "sig", "signature"];

/// Names that end so are not: they say where a secret is, or what it is for.
const PLACES: [&str; 6] = ["_file", "_files", "_ref", "_url", "_uri", "_path"];

/// Mappings and lists whose every value is hidden, whatever its name.
const ALL_SECRET: [&str; 2] = ["proxy_connect_header", "endpoint_params"];

/// Mappings whose names are the user's own and whose values every series carries.
const LABELS: [&str; 2] = ["labels", "external_labels"];

/// Mappings that are named like secrets and are none: what in them is one has a name of its own.
const NOT_SECRET: [&str; 3] = ["basic_auth", "authorization", "basicauth"];

/// A tree with its secrets hidden.
pub(super) fn shown(node: &Node) -> Node {
    node_shown(node, &Around::default())
}

/// What is known of a node from what is around it.
#[derive(Clone, Copy, Default)]
struct Around {
    /// It is, or is within, a secret.
    secret: bool,
    /// It is a mapping of labels.
    labels: bool,
}

fn node_shown(node: &Node, around: &Around) -> Node {
    let kind = match &node.kind {
        Kind::Scalar(scalar) => Kind::Scalar(scalar_shown(scalar, around.secret)),
        Kind::Sequence(items) => {
            Kind::Sequence(items.iter().map(|item| node_shown(item, &Around { labels: false, ..*around })).collect())
        }
        Kind::Mapping(entries) => {
            Kind::Mapping(entries.iter().map(|(key, value)| (key.clone(), entry_shown(key, value, around))).collect())
        }
    };
    Node { line: node.line, kind }
}

fn entry_shown(key: &Scalar, value: &Node, around: &Around) -> Node {
    let name = key.text.as_str();
    let is_mapping = matches!(value.kind, Kind::Mapping(_));
    let named_so = !around.labels && is_secret(name) && !(is_mapping && NOT_SECRET.contains(&name));
    let secret = around.secret || named_so || ALL_SECRET.contains(&name);
    node_shown(value, &Around { secret, labels: is_mapping && LABELS.contains(&name) })
}

fn scalar_shown(scalar: &Scalar, secret: bool) -> Scalar {
    let is_nothing =
        scalar.text.is_empty() || !scalar.quoted && matches!(&*scalar.text, "null" | "~" | "Null" | "NULL");
    if secret && !is_nothing {
        return Scalar { text: HIDDEN.to_owned(), quoted: false };
    }
    Scalar { text: address_shown(&scalar.text).into_owned(), quoted: scalar.quoted }
}

/// An address without its password and without the values of parameters that are named like secrets.
fn address_shown(text: &str) -> Cow<'_, str> {
    let text = without_password(text);
    let Some((place, query)) = text.split_once('?') else { return text };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN_IN_URL}"),
        Some(_) | None => parameter.to_owned(),
    });
    format!("{place}?{}", parameters.collect::<Vec<_>>().join("&")).into()
}

/// Whether a field of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    if PLACES.iter().any(|place| name.ends_with(place)) {
        return false;
    }
    let letters: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
    SECRET_PARTS.iter().any(|part| letters.contains(part))
        || name.split(|c: char| !c.is_alphanumeric()).any(|word| SECRET_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::yaml;

    #[rstest]
    #[case("basic_auth: {username: u, password: pw}", "basic_auth:\n  username: u\n  password: <secret>\n")]
    #[case(
        "authorization: {type: Bearer, credentials: pw}",
        "authorization:\n  type: Bearer\n  credentials: <secret>\n"
    )]
    #[case("bearer_token: pw", "bearer_token: <secret>\n")]
    #[case("password_file: /pw\nclient_secret_ref: a", "password_file: /pw\nclient_secret_ref: a\n")]
    #[case("tls_config: {key_file: k, key: pw}", "tls_config:\n  key_file: k\n  key: <secret>\n")]
    #[case("proxy_connect_header: {X: [pw, pw]}", "proxy_connect_header:\n  X:\n  - <secret>\n  - <secret>\n")]
    #[case(
        "http_headers: {X: {values: [v], secrets: [pw], files: [f]}, X-Api-Key: {values: [pw]}}",
        "http_headers:\n  X:\n    values:\n    - v\n    secrets:\n    - <secret>\n    files:\n    - f\n  X-Api-Key:\n    values:\n    - <secret>\n"
    )]
    #[case(
        "headers: {Authorization: pw, X-Scope-OrgID: me}",
        "headers:\n  Authorization: <secret>\n  X-Scope-OrgID: me\n"
    )]
    #[case("params: {module: [m], token: [pw]}", "params:\n  module:\n  - m\n  token:\n  - <secret>\n")]
    #[case(
        "unheard_of_sd_configs: [{apiKey: pw, deep: {consumer_key: pw}}]",
        "unheard_of_sd_configs:\n- apiKey: <secret>\n  deep:\n    consumer_key: <secret>\n"
    )]
    #[case("token: {inside: [pw, {any: pw}]}", "token:\n  inside:\n  - <secret>\n  - any: <secret>\n")]
    #[case("url: 'http://u:pw@h/x?a=b&access_token=pw'", "url: \"http://u:xxxxx@h/x?a=b&access_token=xxxxx\"\n")]
    #[case("targets: ['u:pw@h:1', 'h:2']", "targets:\n- u:xxxxx@h:1\n- h:2\n")]
    #[case("token_url: http://h/token", "token_url: http://h/token\n")]
    #[case("token: ''\nsecret:", "token: \"\"\nsecret:\n")]
    #[case("labels: {token: shown, monkey: shown}", "labels:\n  token: shown\n  monkey: shown\n")]
    #[case("monkey: shown", "monkey: shown\n")]
    fn secrets_are_hidden_and_places_are_not(#[case] written: &str, #[case] expected: &str) {
        let shown = shown(&yaml::read(written).unwrap()).to_yaml();
        assert!(!shown.contains("pw") || written.contains("/pw"), "{shown}");
        let again = |text: &str| without_lines(&yaml::read(text).unwrap());
        assert_eq!(again(&shown), again(expected), "{shown}");
    }

    /// The same tree, wherever its parts stand, and however they are quoted.
    fn without_lines(node: &Node) -> Node {
        let scalar = |scalar: &Scalar| Scalar { text: scalar.text.clone(), quoted: false };
        let kind = match &node.kind {
            Kind::Scalar(text) => Kind::Scalar(scalar(text)),
            Kind::Sequence(items) => Kind::Sequence(items.iter().map(without_lines).collect()),
            Kind::Mapping(entries) => {
                Kind::Mapping(entries.iter().map(|(key, value)| (scalar(key), without_lines(value))).collect())
            }
        };
        Node { line: 0, kind }
    }
}
