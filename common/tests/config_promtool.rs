//! The same texts read by a real `promtool`, where one is installed: YAML as Narthex reads it and as Narthex writes it
//! must mean to Prometheus what it means to Narthex.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use config_support::{Memory, prometheus_3};
use narthex_common::config::{Config, SdConfig, yaml};
use proptest::{
    prelude::any,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

/// The labels of the only static target, as Prometheus reads them; none when there is no promtool.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test gives promtool a file, and says when it cannot"
)]
fn labels_by_promtool(config: &str) -> Option<BTreeMap<String, String>> {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("narthex-config-{}-{}.yml", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, config).unwrap();
    let output =
        Command::new("promtool").args(["check", "service-discovery", "--timeout=1s"]).arg(&file).arg("a").output();
    std::fs::remove_file(&file).unwrap();
    let Ok(output) = output else {
        println!("skipped: no promtool here");
        return None;
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{config}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
    let mut labels: BTreeMap<String, String> = serde_json::from_value(answer[0]["discoveredLabels"].clone()).unwrap();
    labels.retain(|name, _| name.starts_with('l'));
    Some(labels)
}

fn labels_by_narthex(config: &str) -> BTreeMap<String, String> {
    let files = Memory::of([("/p.yml", config)]);
    let config = Config::load(Path::new("/p.yml"), &files, prometheus_3()).unwrap();
    let [SdConfig::Static(group)] = &config.jobs[0].discovery[..] else { panic!("{config:?}") };
    group.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Every way to write a string that people use, and some they do not.
const SCALARS: &str = r#"
l0: plain
l1: 'it''s'
l2: "tab\t\x41\u00e9\U0001F600\e\
     folded"
l3: |
  literal
    indented

l4: |-
  stripped
l5: |+
  kept

l6: >
  folded
  line

    more indented
  back
l7: >-
  a
  b

  c
l8: plain over
  two lines
l9: plain with

  a blank line
la: 'quoted over
  two lines

  and a blank'
lb: 010
lc: yes
ld: 2020-01-01
le: 1.10
lf: ~
lg: null
lh: !!str 12
li: !!binary aGVsbG8=
lj: a#b
lk: a:b
ll: http://host:80/?a=b&c={d}
lm: "é ü \L \P \N \_"
ln: [0-9]+ # no, this is a list
lo: -x
lp: '  blanks  '
lq: |2
    two more
lr: 'a: b # c'
ls: "\"\\"
lt: @x
"#;

#[test]
fn scalars_mean_to_narthex_what_they_mean_to_prometheus() {
    let labels: Vec<&str> = SCALARS.split("\nl").filter(|label| !label.trim().is_empty()).collect();
    let mut config = String::from("scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: [a]\n    labels:\n");
    for label in labels.iter().filter(|label| !label.starts_with("n:") && !label.starts_with("t:")) {
        config += &format!("l{label}\n").lines().map(|line| format!("      {line}\n")).collect::<String>();
    }
    let Some(by_promtool) = labels_by_promtool(&config) else { return };
    assert_eq!(labels_by_narthex(&config), by_promtool, "{config}");
    // And what Narthex makes of them, Prometheus reads the same.
    let written = yaml::read(&config).unwrap().to_yaml();
    assert_eq!(labels_by_promtool(&written).unwrap(), by_promtool, "{written}");
}

#[test]
fn any_string_narthex_writes_is_read_by_prometheus() {
    let mut runner = TestRunner::deterministic();
    let mut texts: Vec<String> =
        ["# x", "a: b", " a ", "a\nb\n", "\u{feff}", "\u{85}", "\u{2028}", "\u{fffe}", "\u{10ffff}"]
            .map(str::to_owned)
            .into();
    texts.extend((1..128).map(|c| format!("x{}", char::from(c))));
    for _ in 0..300 {
        texts.push(any::<String>().new_tree(&mut runner).unwrap().current());
    }
    let labels: Vec<(String, String)> =
        texts.into_iter().enumerate().filter(|(_, t)| !t.is_empty()).map(|(i, text)| (format!("l{i}"), text)).collect();
    let group = yaml::Node::map([
        ("targets", yaml::Node::list([yaml::Node::plain("a")])),
        ("labels", yaml::Node::map(labels.iter().map(|(name, text)| (name.as_str(), yaml::Node::string(text))))),
    ]);
    let job = yaml::Node::map([("job_name", yaml::Node::string("a")), ("static_configs", yaml::Node::list([group]))]);
    let config = yaml::Node::map([("scrape_configs", yaml::Node::list([job]))]).to_yaml();
    let Some(by_promtool) = labels_by_promtool(&config) else { return };
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    for (name, text) in &labels {
        assert_eq!(by_promtool.get(name), Some(text), "{name}");
    }
    assert_eq!(labels_by_narthex(&config), labels);
}
