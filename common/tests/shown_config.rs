//! No secret of the configs that Prometheus tries itself with is shown.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod conformance;

use std::fs;

use narthex_common::{
    config::{
        Config, ConfigSources,
        yaml::{self, Kind, Node},
    },
    semantics::PrometheusVersion,
};

/// The fields that are secrets by their types in Prometheus, of all its blocks.
const SECRETS: [&str; 17] = [
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "key",
    "token",
    "auth_token",
    "secret_key",
    "secrets",
    "application_secret",
    "consumer_key",
    "application_credential_secret",
    "service_account_key",
    "private_key",
    "key_passphrase",
    "account_token",
    "proxy_connect_header",
];

/// A config of one job, or of none, as it is shown.
fn shown(text: &str) -> (Node, Node) {
    let config = Config {
        root: yaml::read(text).unwrap(),
        ..Config::of_sources(&ConfigSources::of_text("/prometheus.yml", "{}"), PrometheusVersion::V3_5).unwrap()
    };
    (config.root.clone(), config.shown())
}

/// Every scalar below a secret field must be hidden; how many there are.
fn assert_hidden(written: &Node, shown: &Node, is_secret: bool, of: &str) -> usize {
    match (&written.kind, &shown.kind) {
        (Kind::Scalar(written), Kind::Scalar(shown)) => {
            let counts = is_secret && !written.text.is_empty();
            assert!(!counts || shown.text == "<secret>", "{of}: {} is shown", written.text);
            usize::from(counts)
        }
        (Kind::Sequence(written), Kind::Sequence(shown)) => {
            written.iter().zip(shown).map(|(written, shown)| assert_hidden(written, shown, is_secret, of)).sum()
        }
        (Kind::Mapping(written), Kind::Mapping(shown)) => {
            let below = |((key, written), (_, shown)): (&(_, Node), &(_, Node))| {
                let key: &yaml::Scalar = key;
                assert_hidden(written, shown, is_secret || SECRETS.contains(&key.text.as_str()), of)
            };
            written.iter().zip(shown).map(below).sum()
        }
        (Kind::Scalar(_) | Kind::Sequence(_) | Kind::Mapping(_), _) => panic!("{of}: shown as something else"),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its data")]
fn no_secret_of_a_good_config_is_shown() {
    let folder = conformance::folder().join("config_good");
    let Ok(files) = fs::read_dir(&folder) else { return eprintln!("skipped: no {}", folder.display()) };
    let mut secrets = 0;
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yml")) {
        let text = fs::read_to_string(&file).unwrap();
        let (written, shown) = shown(&text);
        secrets += assert_hidden(&written, &shown, false, &file.display().to_string());
        assert!(!shown.to_yaml().contains("mysecret"), "{}", file.display());
    }
    assert!(secrets >= 24, "there are more than {secrets}");
}

#[test]
fn no_secret_of_an_http_client_is_shown() {
    let Some(cases) = conformance::read("http_client_config.json") else { return };
    let mut secrets = 0;
    for case in ["http_good", "http_bad"].iter().flat_map(|kind| cases[kind].as_array().unwrap()) {
        let (text, file) = (case["text"].as_str().unwrap(), case["file"].as_str().unwrap());
        if yaml::read(text).is_err() {
            continue;
        }
        let (written, shown) = shown(text);
        secrets += assert_hidden(&written, &shown, false, file);
    }
    assert!(secrets > 5, "there are more than {secrets}");
}
