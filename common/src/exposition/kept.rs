//! Which samples metric relabeling leaves (`scrape/scrape.go`, `mutateSampleLabels`).

use compact_str::{CompactString, format_compact};

use crate::{
    config::ScrapeConfig,
    labels::{Labels, LabelsBuilder, METRIC_NAME},
    relabel::{BadRule, RelabelConfig, Rules},
    semantics::{NameValidation, PrometheusVersion},
};

/// What the name of an exposed label gets in front when a target's label takes its place.
const EXPORTED_PREFIX: &str = "exported_";

/// What metric relabeling of a job leaves of a sample of a target: decides which samples are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeptSamples {
    rules: Rules,
    honor_labels: bool,
}

impl KeptSamples {
    /// The judge of a job's samples; none when the job keeps every sample as it is.
    ///
    /// # Errors
    /// When a rule cannot be compiled.
    pub fn new(job: &ScrapeConfig, version: PrometheusVersion) -> Result<Option<Self>, BadRule> {
        Self::from_rules(&job.metric_relabel_configs, job.honor_labels, job.name_validation, version)
    }

    /// The judge of samples that are relabeled so; none when there is no rule.
    ///
    /// # Errors
    /// When a rule cannot be compiled.
    pub fn from_rules(
        metric_relabel_configs: &[RelabelConfig],
        honor_labels: bool,
        names: NameValidation,
        version: PrometheusVersion,
    ) -> Result<Option<Self>, BadRule> {
        let rules = Rules::compile(metric_relabel_configs, names, version)?;
        Ok((!rules.is_empty()).then_some(Self { rules, honor_labels }))
    }
}

/// Judges the samples of one target, one after the other.
#[derive(Debug)]
pub(super) struct Judge {
    kept: KeptSamples,
    /// The target's labels that series carry.
    target: Vec<(CompactString, CompactString)>,
    sample: LabelsBuilder,
    /// Labels that the sample exposes with an empty value: with `honor_labels` they hide those of the target.
    empty: Vec<CompactString>,
}

impl Judge {
    pub(super) fn new(kept: KeptSamples, target: &Labels) -> Self {
        let target = target.visible().map(|(name, value)| (name.into(), value.into())).collect();
        Self { kept, target, sample: LabelsBuilder::default(), empty: Vec::new() }
    }

    /// Whether samples of a metric are kept, when their name alone decides it: no label of a target changes that.
    pub(super) fn keeps_all_of(&self, name: &str) -> Option<bool> {
        self.kept.rules.keep_all_with(METRIC_NAME, name)
    }

    /// The next sample begins.
    pub(super) fn begin(&mut self) {
        self.sample.clear();
        self.empty.clear();
    }

    /// The sample's metric.
    pub(super) fn set_name(&mut self, name: &str) {
        self.sample.set(METRIC_NAME, name);
    }

    /// One of the sample's labels.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.empty.push(name.into());
        } else {
            self.sample.set(name, value);
        }
    }

    /// Whether the sample survives relabeling, with a name to be stored under.
    pub(super) fn keeps(&mut self) -> bool {
        self.add_target_labels();
        self.kept.rules.apply(&mut self.sample) && self.sample.get(METRIC_NAME).is_some()
    }

    fn add_target_labels(&mut self) {
        if self.kept.honor_labels {
            for (name, value) in self.target.iter().filter(|(name, _)| !self.empty.contains(name)) {
                self.sample.set_default(name.clone(), value.clone());
            }
            return;
        }
        let mut displaced = Vec::new();
        for (name, value) in &self.target {
            if let Some(exposed) = self.sample.get(name) {
                displaced.push((name.clone(), CompactString::from(exposed)));
            }
            self.sample.set(name.clone(), value.clone());
        }
        displaced.sort_by_key(|(name, _)| name.len());
        for (name, value) in displaced {
            let mut exported = name;
            loop {
                exported = format_compact!("{EXPORTED_PREFIX}{exported}");
                if self.sample.get(&exported).is_none() {
                    break;
                }
            }
            self.sample.set(exported, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{exposition::sample, relabel::Action};

    fn judge(honor_labels: bool, rules: &[RelabelConfig], target: &[(&str, &str)]) -> Judge {
        let kept = KeptSamples::from_rules(rules, honor_labels, NameValidation::Utf8, PrometheusVersion::V3_5);
        Judge::new(kept.unwrap().unwrap(), &target.iter().copied().collect())
    }

    fn rule(action: Action, source: &str, regex: &str) -> RelabelConfig {
        RelabelConfig {
            source_labels: if source.is_empty() { vec![] } else { vec![source.into()] },
            regex: Some(regex.into()),
            action: Some(action),
            ..RelabelConfig::default()
        }
    }

    #[rstest]
    #[case::collision(false, r#"m{n="1"} 1"#, &[("n", "2")], r#"{__name__="m", exported_n="1", n="2"}"#)]
    #[case::exported_is_taken_by_the_target(
        false, r#"m{n="1"} 1"#, &[("n", "2"), ("exported_n", "3")],
        r#"{__name__="m", exported_exported_n="1", exported_n="3", n="2"}"#
    )]
    #[case::exported_is_exposed(
        false, r#"m{foo="1", exported_foo="2"} 0"#, &[("foo", "3")],
        r#"{__name__="m", exported_exported_foo="1", exported_foo="2", foo="3"}"#
    )]
    #[case::shortest_name_first(
        false, r#"m{foo="1", exported_foo="2"} 0"#, &[("foo", "3"), ("exported_foo", "4")],
        r#"{__name__="m", exported_exported_exported_foo="2", exported_exported_foo="1", exported_foo="4", foo="3"}"#
    )]
    #[case::extreme(
        false,
        r#"m{foo="3", exported_foo="4", exported_exported_exported_foo="5"} 0"#,
        &[("foo", "0"), ("exported_exported_foo", "1"), ("exported_exported_exported_foo", "2")],
        r#"{__name__="m", exported_exported_exported_exported_exported_foo="5", exported_exported_exported_exported_foo="3", exported_exported_exported_foo="2", exported_exported_foo="1", exported_foo="4", foo="0"}"#
    )]
    #[case::empty(false, r#"m{n=""} 1"#, &[("n", "2")], r#"{__name__="m", n="2"}"#)]
    #[case::honored(true, r#"m{n="1"} 1"#, &[("n", "2"), ("o", "3")], r#"{__name__="m", n="1", o="3"}"#)]
    #[case::empty_is_honored(true, r#"m{instance=""} 1"#, &[("instance", "a:1")], r#"{__name__="m"}"#)]
    #[case::reserved_labels_stay_with_the_target(false, "m 1", &[("__address__", "a"), ("j", "b")], r#"{__name__="m", j="b"}"#)]
    fn labels_of_sample_and_target_meet(
        #[case] honor_labels: bool,
        #[case] line: &str,
        #[case] target: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let mut judge = judge(honor_labels, &[rule(Action::Keep, "", "")], target);
        sample::read_labels(line, &mut judge).unwrap();
        judge.add_target_labels();
        assert_eq!(judge.sample.build().to_string(), expected);
    }

    #[rstest]
    #[case("  m 1", r#"{__name__="m"}"#)]
    #[case("m\t{ a = \"b\" , } 1 2", r#"{__name__="m", a="b"}"#)]
    #[case(r#"m{} 1 # {trace="x"} 1"#, r#"{__name__="m"}"#)]
    #[case(r##"m{a="},{=\"x",b="#"}1"##, r##"{__name__="m", a="},{=\"x", b="#"}"##)]
    #[case(r#"m{a="\\\n\"\q"} 1"#, r#"{__name__="m", a="\\\n\"\\q"}"#)]
    #[case(r#"{"a.b", "c d"="é", e="f"} 1"#, r#"{__name__="a.b", c d="é", e="f"}"#)]
    #[case(r#"{"with \"quotes\""} 1"#, r#"{__name__="with \"quotes\""}"#)]
    #[case(r#"m{a="b" c="d"} 1"#, r#"{__name__="m", a="b", c="d"}"#)]
    #[case("job:up:sum 1", r#"{__name__="job:up:sum"}"#)]
    fn the_labels_of_a_sample_are_read(#[case] line: &str, #[case] expected: &str) {
        let mut judge = judge(false, &[rule(Action::Keep, "", "")], &[]);
        sample::read_labels(line, &mut judge).unwrap();
        assert_eq!(judge.sample.build().to_string(), expected, "{line}");
    }

    #[rstest]
    #[case(r#"m{a="b"#)]
    #[case(r#"m{a} 1"#)]
    #[case(r#"m{a=b} 1"#)]
    #[case(r#"m{a"#)]
    #[case(r#"m{a="\"#)]
    fn a_malformed_sample_is_not_read(#[case] line: &str) {
        assert_eq!(sample::read_labels(line, &mut judge(false, &[rule(Action::Keep, "", "")], &[])), None, "{line}");
    }

    #[test]
    fn a_sample_is_kept_unless_it_is_dropped_or_loses_its_name() {
        let rules = [
            rule(Action::Drop, METRIC_NAME, "go_.*"),
            rule(Action::Drop, "team", "other"),
            RelabelConfig {
                target_label: METRIC_NAME.into(),
                replacement: String::new(),
                ..rule(Action::Replace, METRIC_NAME, "x")
            },
        ];
        let mut judge = judge(false, &rules, &[("team", "ours")]);
        let mut keeps = |line: &str| sample::is_kept(line.as_bytes(), &mut judge);
        assert!(keeps("up 1"));
        assert!(!keeps("go_info 1"));
        assert!(!keeps("x 1"));
        assert!(keeps(r#"up{team="other"} 1"#), "the target's label is what is judged");
    }
}
