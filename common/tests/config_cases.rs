//! The project's own configs: each `*.bad.yml` fails with the error on its first line, each `*.good.yml` loads, and
//! what must come out of it is said here.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use config_support::{Memory, prometheus_3};
use narthex_common::{
    config::{
        Config, ConfigError, HttpClientConfig, PromDuration, ScrapeConfig, SdConfig,
        http_client::{
            Auth, Grant, HeaderValues, OAuth2Config, ProxyConfig, Secret, SignatureAlgorithm, Source, TlsConfig,
            TlsVersion,
        },
        scrape::{DnsRecords, FileSdConfig, OtherSdConfig},
        yaml,
    },
    labels::Labels,
    relabel::{Action, RelabeledBy},
    semantics::{NameValidation, PrometheusVersion},
};

/// Where the cases pretend to lie.
const DIR: &str = "/etc/prometheus";

fn testdata() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/config").into()
}

#[expect(clippy::disallowed_methods, reason = "a test reads its data")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The cases' folder with its includes, in memory.
fn all_files() -> Memory {
    let mut files = Vec::new();
    for dir in ["", "includes"] {
        for entry in std::fs::read_dir(testdata().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(testdata()).unwrap();
                files.push((Path::new(DIR).join(name), read(&path)));
            }
        }
    }
    Memory::of(files)
}

fn load_case(name: &str) -> Result<Config, ConfigError> {
    Config::load(&Path::new(DIR).join(name), &all_files(), prometheus_3())
}

fn load_text(text: &str) -> Result<Config, ConfigError> {
    load_text_for(text, prometheus_3())
}

fn load_text_for(text: &str, version: PrometheusVersion) -> Result<Config, ConfigError> {
    Config::load(Path::new("/p.yml"), &Memory::of([("/p.yml", text)]), version)
}

#[test]
fn every_bad_config_fails_with_its_error() {
    let mut cases = 0;
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(testdata()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".bad.yml") {
            continue;
        }
        cases += 1;
        let text = read(&path);
        let expected = text.lines().next().unwrap().strip_prefix("# error: ").unwrap();
        // An error in an included file begins with that file.
        let (file, expected) = match expected.split_once(".yml: ") {
            Some((file, expected)) if !file.contains(' ') => (format!("{file}.yml"), expected),
            _ => (name.to_owned(), expected),
        };
        let expected = format!("{DIR}/{file}:{expected}");
        match load_case(name) {
            Err(error) if error.to_string() == expected => {}
            Err(error) => failures.push(format!("{name}:\n  says   {error}\n  not    {expected}")),
            Ok(_) => failures.push(format!("{name} loads")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases > 30, "only {cases} cases found");
}

#[test]
fn every_field_of_a_job_is_read() {
    let config = load_case("everything.good.yml").unwrap();
    let job = &config.jobs[0];
    assert_eq!(job.job_name.as_str(), "everything");
    assert_eq!((job.scrape_interval, job.scrape_timeout), (PromDuration(90_000), PromDuration(90_000)));
    assert_eq!(job.scrape_protocols, ["PrometheusProto", "PrometheusText0.0.4"]);
    assert_eq!(job.fallback_scrape_protocol.as_deref(), Some("PrometheusText0.0.4"));
    assert!(job.scrape_native_histograms && job.always_scrape_classic_histograms);
    assert!(job.convert_classic_histograms_to_nhcb && !job.extra_scrape_metrics);
    assert_eq!(job.params["module"], ["http_2xx", "010"]);
    assert_eq!(job.params["empty"], [""; 0]);
    assert_eq!((job.metrics_path.as_str(), job.scheme.as_str()), ("/probe", "https"));
    assert!(job.honor_labels && !job.honor_timestamps && job.track_timestamps_staleness && !job.enable_compression);
    assert_eq!((job.body_size_limit, job.sample_limit), (3 << 19, 1000));
    let limits = [
        job.target_limit,
        job.label_limit,
        job.label_name_length_limit,
        job.label_value_length_limit,
        job.keep_dropped_targets,
    ];
    assert_eq!(limits, [2, 3, 4, 5, 6]);
    assert_eq!((job.name_validation, job.metric_name_escaping_scheme.as_str()), (NameValidation::Legacy, "dots"));
    assert_eq!((job.path.clone(), job.line), (Path::new(DIR).join("everything.good.yml"), 16));
    let [replace, keep] = &job.relabel_configs[..] else { panic!("{:?}", job.relabel_configs) };
    assert_eq!((replace.separator.as_str(), replace.replacement.as_str(), &replace.regex), ("", "", &None));
    assert_eq!((keep.action, keep.regex.as_deref()), (Some(Action::Keep), Some("a(b|c)")));
    assert_eq!(job.metric_relabel_configs[0].action, Some(Action::LabelDrop));
}

#[test]
fn http_settings_and_discovery_are_read_with_absolute_paths() {
    let config = load_case("everything.good.yml").unwrap();
    let job = &config.jobs[0];
    let expected = HttpClientConfig {
        auth: Some(Auth::Header {
            kind: "APIKey".into(),
            credentials: Some(Source::File("/etc/prometheus/token".into())),
        }),
        tls: TlsConfig {
            ca: Some(Source::File("/etc/prometheus/ca.pem".into())),
            cert: Some(Source::File("/etc/prometheus/cert.pem".into())),
            key: Some(Source::File("/keys/key.pem".into())),
            server_name: Some("internal".into()),
            insecure_skip_verify: true,
            min_version: Some(TlsVersion::Tls12),
            max_version: Some(TlsVersion::Tls13),
        },
        follow_redirects: false,
        enable_http2: false,
        proxy: ProxyConfig {
            url: Some(Secret::new("http://user:hidden@proxy:3128")),
            no_proxy: "localhost".into(),
            from_environment: false,
            connect_header: BTreeMap::from([("X-Tenant".into(), vec![Secret::new("a"), Secret::new("b")])]),
        },
        http_headers: BTreeMap::from([(
            "X-Team".into(),
            HeaderValues {
                values: vec!["infra".into()],
                secrets: vec![Secret::new("s3cret")],
                files: vec!["/etc/prometheus/header.txt".into()],
            },
        )]),
    };
    assert_eq!(job.http_client, expected);

    let [
        SdConfig::Static(group),
        SdConfig::File(file),
        SdConfig::Http(http),
        SdConfig::Other(OtherSdConfig { kind, line, unknown_field: None, .. }),
    ] = &job.discovery[..]
    else {
        panic!("{:?}", job.discovery)
    };
    assert_eq!(group.targets, ["a:80", "1.10", "yes"]);
    assert_eq!(group.labels, [("env", "prod")].into_iter().collect::<Labels>());
    assert_eq!(file.files, [Path::new("/etc/prometheus/targets/*.json"), Path::new("/abs/x.yml")]);
    assert_eq!(file.refresh_interval, PromDuration::from_secs(30));
    assert_eq!((http.url.expose(), http.refresh_interval), ("http://user:hidden@sd/targets", PromDuration(60_000)));
    assert!(matches!(&http.http_client.auth, Some(Auth::Basic { username: Source::Inline(u), .. }) if u == "u"));
    assert_eq!((kind.as_str(), *line), ("eureka_sd_configs", 75));
}

fn oauth2(job: &ScrapeConfig) -> &OAuth2Config {
    let Some(Auth::OAuth2(oauth2)) = &job.http_client.auth else { panic!("{:?}", job.http_client.auth) };
    oauth2
}

#[test]
fn everything_that_oauth2_says_is_read() {
    let config = load_case("oauth2.good.yml").unwrap();
    let [secret, statement, little] = [0, 1, 2].map(|job: usize| oauth2(&config.jobs[job]));
    let expected = OAuth2Config {
        client_id: "me".into(),
        grant: Grant::ClientCredentials { secret: Some(Source::File("/etc/prometheus/secret".into())) },
        token_url: Secret::new("https://u:hidden@auth/token"),
        scopes: vec!["read".into(), "1.10".into()],
        endpoint_params: BTreeMap::from([("password".into(), Secret::new("hidden")), ("n".into(), Secret::new("1e3"))]),
        tls: TlsConfig { ca: Some(Source::File("/etc/prometheus/ca.pem".into())), ..TlsConfig::default() },
        proxy: ProxyConfig { url: Some(Secret::new("http://u:hidden@p")), ..ProxyConfig::default() },
    };
    assert_eq!(secret, &expected);
    assert_eq!(config.jobs[0].http_client.tls, TlsConfig::default());
    let claims = [
        ("team", serde_json::json!("a")),
        ("number", serde_json::json!(16)),
        ("half", serde_json::json!(0.5)),
        ("on", serde_json::json!(true)),
        ("none", serde_json::json!(null)),
        ("list", serde_json::json!(["1", {"hidden": "yes"}])),
    ];
    let expected = Grant::JwtBearer {
        key: Some(Source::Inline(Secret::new("hidden"))),
        key_id: "k1".into(),
        algorithm: SignatureAlgorithm::Rs512,
        issuer: "i".into(),
        audience: "a".into(),
        claims: claims.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    assert_eq!(statement.grant, expected);
    assert_eq!(little.grant, Grant::ClientCredentials { secret: None });
    assert!(!format!("{config:?} {secret:?} {statement:?}").contains("hidden"));
}

#[test]
fn a_job_that_says_nothing_inherits_from_global_and_from_the_defaults() {
    let config = load_case("everything.good.yml").unwrap();
    let job = &config.jobs[1];
    assert_eq!((job.scrape_interval, job.scrape_timeout), (PromDuration(30_000), PromDuration(20_000)));
    assert_eq!(job.scrape_protocols.len(), 4);
    assert_eq!(job.scrape_protocols[0], "OpenMetricsText1.0.0");
    assert_eq!((job.body_size_limit, job.sample_limit, job.keep_dropped_targets), (10 << 20, 1000, 16));
    assert!(job.extra_scrape_metrics && job.honor_timestamps && job.enable_compression && !job.honor_labels);
    assert_eq!((job.metrics_path.as_str(), job.scheme.as_str()), ("/metrics", "http"));
    assert_eq!(job.http_client, HttpClientConfig::default());
    assert_eq!((job.name_validation, job.metric_name_escaping_scheme.as_str()), (NameValidation::Utf8, "allow-utf-8"));
}

/// In Go an empty value sets the type's zero, even where the default is another.
#[test]
fn a_field_that_is_written_but_empty_is_zero_not_its_default() {
    let config = load_case("everything.good.yml").unwrap();
    let job = &config.jobs[2];
    assert_eq!(job.scrape_interval, PromDuration(30_000));
    assert!(!job.honor_timestamps && !job.http_client.follow_redirects);
    assert_eq!((job.metrics_path.as_str(), job.scheme.as_str()), ("", ""));
    assert!(job.extra_scrape_metrics && job.http_client.auth.is_none() && job.discovery.is_empty());
    assert_eq!(job.sample_limit, 1000);
}

#[test]
fn names_follow_the_version_unless_the_config_says_otherwise() {
    let text = "scrape_configs: [{job_name: a, static_configs: [{labels: {name: x}}]}]";
    let old = load_text_for(text, PrometheusVersion::V2_42).unwrap();
    let job: &ScrapeConfig = &old.jobs[0];
    assert_eq!(
        (job.name_validation, job.metric_name_escaping_scheme.as_str()),
        (NameValidation::Legacy, "underscores")
    );
    let utf8 = text.replace("name: x", "näme: x");
    assert!(load_text(&utf8).is_ok());
    let error = load_text_for(&utf8, PrometheusVersion::V2_42).unwrap_err();
    assert_eq!(error.message, r#""näme" is not a valid label name"#);
}

#[test]
fn the_resolved_config_means_the_same_anywhere() {
    let config = load_case("paths.good.yml").unwrap();
    let resolved = config.resolved().to_yaml();
    let expected = read(&testdata().join("paths.resolved.yml"));
    assert_eq!(resolved, expected);
    // Elsewhere, it loads as the same jobs.
    let again = load_text(&resolved).unwrap();
    let summary = |config: &Config| -> Vec<_> {
        config.jobs.iter().map(|job| (job.job_name.clone(), job.http_client.clone(), job.discovery.clone())).collect()
    };
    // Where an entry stood, and how its paths were written, is lost.
    let meaning = |jobs: Vec<(_, _, Vec<SdConfig>)>| -> Vec<_> {
        let of_entry = |sd| match sd {
            SdConfig::Other(other) => {
                SdConfig::Other(OtherSdConfig { line: 0, written: yaml::Node::plain(""), ..other })
            }
            SdConfig::File(file) => SdConfig::File(FileSdConfig { relative: BTreeSet::new(), ..file }),
            SdConfig::Static(_)
            | SdConfig::Http(_)
            | SdConfig::Dns(_)
            | SdConfig::Consul(_)
            | SdConfig::Kubernetes(_) => sd,
        };
        jobs.into_iter()
            .map(|(name, http, sd)| (name, http, sd.into_iter().map(of_entry).collect::<Vec<_>>()))
            .collect()
    };
    assert_eq!(meaning(summary(&again)), meaning(summary(&config)));
}

#[test]
fn an_empty_config_resolves_to_an_empty_one() {
    assert_eq!(load_text("").unwrap().resolved().to_yaml(), "{}\n");
    assert_eq!(load_text("global:\n").unwrap().resolved().to_yaml(), "global:\n");
}

#[test]
fn the_fingerprint_is_of_values_not_of_layout_comments_place_or_external_labels() {
    let fingerprint = |text: &str| load_text(text).unwrap().fingerprint();
    let config = "global: {scrape_interval: 30s, external_labels: {pod: a}}\nscrape_configs: [{job_name: a}]\n";
    let same = "# a comment\nscrape_configs:\n- job_name: 'a'\nglobal:\n  scrape_interval: \"30s\"\n";
    assert_eq!(fingerprint(config), fingerprint(same));
    assert_ne!(fingerprint(config), fingerprint(&config.replace("30s", "31s")));
    assert_ne!(fingerprint(config), fingerprint(&config.replace("job_name: a", "job_name: b")));
    assert_ne!(fingerprint("rule_files: [a, b]"), fingerprint("rule_files: [b, a]"));
    assert_eq!(fingerprint("global: {external_labels: {a: b}}"), fingerprint(""), "only external labels");

    let include = "scrape_configs: [{job_name: b}]\n";
    let at = |dir: &str, include: &str| {
        let main = PathBuf::from(dir).join("prometheus.yml");
        let files = Memory::of([
            (main.clone(), "scrape_config_files: [jobs/*.yml]".to_owned()),
            (PathBuf::from(dir).join("jobs/b.yml"), include.to_owned()),
        ]);
        Config::load(&main, &files, prometheus_3()).unwrap().fingerprint()
    };
    assert_eq!(at("/etc/prometheus", include), at("/config", include));
    assert_ne!(at("/config", include), at("/config", "scrape_configs: [{job_name: c}]\n"));
}

#[test]
fn external_labels_are_expanded_only_on_demand() {
    let config = load_case("everything.good.yml").unwrap();
    assert_eq!(config.external_labels["cluster"], "$CLUSTER");
    let expanded = config.expanded_external_labels(&|name| (name == "POD").then(|| "p-0".into()));
    let expected = [("cluster", ""), ("replica", "p-0")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(expanded, BTreeMap::from(expected), "an unset variable leaves its label empty");
}

#[test]
fn no_secret_is_ever_printed() {
    let config = load_case("everything.good.yml").unwrap();
    let printed = format!("{config:?} {:?} {:?}", config.jobs[0].http_client, config.jobs[0].discovery);
    assert!(!printed.contains("hidden") && !printed.contains("s3cret"), "{printed}");
    for proxy in ["proxy_url: 'http://u:hidden@h:port'", "http_sd_configs: [{url: 'http://u:hidden@h:port'}]"] {
        let error = load_text(&format!("scrape_configs:\n- job_name: a\n  {proxy}\n")).unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    let target = "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://u:hidden@h/x']}]}]";
    let error = load_text(target).unwrap_err().to_string();
    assert!(error.ends_with("\"http://u:xxxxx@h/x\" is not a valid hostname"), "{error}");
}

#[test]
fn aliases_and_merges_are_resolved_in_what_a_job_keeps() {
    let text = "scrape_configs:\n- &a\n  job_name: a\n  scrape_interval: 33s\n- {<<: *a, job_name: b}\n";
    let config = load_text(text).unwrap();
    assert_eq!(config.jobs[1].scrape_interval, PromDuration::from_secs(33));
    assert_eq!(config.jobs[1].node.get("scrape_interval").and_then(yaml::Node::text), Some("33s"));
    assert!(config.jobs[1].node.get("<<").is_none());
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Path::new("/none.yml"), &all_files(), prometheus_3()).unwrap_err();
    assert_eq!(error.to_string(), "/none.yml: read config file: entity not found");
}

#[test]
fn name_servers_are_discovered_since_2_49() {
    let text = "scrape_configs: [{job_name: j, dns_sd_configs: [{names: [a], type: ns, port: 53}]}]";
    let old = load_text_for(text, PrometheusVersion { major: 2, minor: 48 });
    assert!(old.unwrap_err().to_string().contains("invalid DNS-SD records type ns"));
    let config = load_text_for(text, PrometheusVersion { major: 2, minor: 49 }).unwrap();
    let [SdConfig::Dns(dns)] = &config.jobs[0].discovery[..] else { panic!("{config:?}") };
    assert_eq!((dns.names.as_slice(), dns.records, dns.port), (&["a".to_owned()][..], DnsRecords::Ns, 53));
    assert_eq!(dns.refresh_interval, PromDuration::from_secs(30));
}

/// A job with one rule, read for a version.
fn with_rule(rule: &str, version: PrometheusVersion) -> Result<ScrapeConfig, ConfigError> {
    let text = format!("scrape_configs:\n- job_name: j\n  relabel_configs:\n  - action: keep\n  - {{{rule}}}\n");
    let files = Memory::of([("/p.yml", text)]);
    Config::load(Path::new("/p.yml"), &files, version).map(|config| config.jobs[0].clone())
}

#[test]
fn what_cannot_be_proved_of_a_rule_is_left_to_the_shards() {
    let large = r"target_label: b, regex: '\pL{1000}\pL{1000}\pL{1000}\pL{1000}'";
    for (rule, because) in [
        (
            "action: labeldrop, regex: __narthex_relabel_by_shards",
            "a rule that drops __narthex_relabel_by_shards asks for it",
        ),
        (large, r"the regex `\pL{1000}\pL{1000}\pL{1000}\pL{1000}` is too large"),
    ] {
        let job = with_rule(rule, PrometheusVersion::V3_5);
        let RelabeledBy::Shards { line, why } = job.unwrap().relabeled_by else { panic!("{rule}") };
        assert_eq!((line, why.as_str()), (5, because));
    }
    let job = with_rule("source_labels: [a], target_label: b", PrometheusVersion::V3_5).unwrap();
    assert_eq!(job.relabeled_by, RelabeledBy::Coordinator);
}

#[test]
fn only_a_version_that_nobody_knows_yet_may_know_more_of_a_rule() {
    let newest = PrometheusVersion::NEWEST_KNOWN;
    let newer = PrometheusVersion { minor: newest.minor + 1, ..newest };
    for (rule, because) in [
        ("action: shuffle", "unknown relabel action \"shuffle\""),
        ("target_label: b, when: now", "field when not found in type relabel.plain"),
    ] {
        let refused = with_rule(rule, newest).unwrap_err();
        assert!(refused.message.contains(because), "{refused}");
        let RelabeledBy::Shards { why, .. } = with_rule(rule, newer).unwrap().relabeled_by else { panic!("{rule}") };
        assert!(why.contains(because), "{why}");
    }
    assert!(with_rule("target_label: b, regex: '('", newer).is_err(), "no version will take that");
}
