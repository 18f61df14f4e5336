//! Target groups: what discovery finds, before relabeling, and how lists of them are read.

mod json;
mod yaml;

use narthex_common::{
    labels::{ADDRESS, Labels},
    relabel::is_valid_label_name,
    semantics::NameValidation,
};

/// Targets that share labels, as one source of a discovery lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// What tells this group from the others of its discovery; a newer group of the same source replaces this one.
    pub source: String,
    /// The labels of all its targets.
    pub labels: Labels,
    /// Each target's own labels, its `__address__` among them.
    pub targets: Vec<Labels>,
}

impl TargetGroup {
    /// The group that says: there is nothing (any more) at this source.
    #[must_use]
    pub fn gone(source: String) -> Self {
        Self { source, labels: Labels::default(), targets: Vec::new() }
    }

    /// A group of bare addresses.
    #[must_use]
    pub fn of_addresses(source: String, labels: Labels, addresses: &[String]) -> Self {
        let targets = addresses.iter().map(|address| [(ADDRESS, address.as_str())].into_iter().collect()).collect();
        Self { source, labels, targets }
    }
}

/// How a list of groups is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListFormat {
    /// As `http_sd` and `file_sd`'s `.json` have it.
    Json,
    /// As `file_sd`'s `.yml` and `.yaml` have it.
    Yaml,
}

/// Reads a list of groups, strictly as Prometheus does: what it does not know is an error. Every group gets the label
/// `origin_label: origin` and the source `origin:index`.
///
/// # Errors
/// When any part of the list is wrong; half a list is never taken for a whole one.
pub(super) fn read_groups(
    text: &str,
    format: ListFormat,
    names: NameValidation,
    (origin_label, origin): (&str, &str),
) -> Result<Vec<TargetGroup>, String> {
    let listed = match format {
        ListFormat::Json => json::read(text)?,
        ListFormat::Yaml => yaml::read(text)?,
    };
    let group = |(index, listed): (usize, Option<ListedGroup>)| {
        let listed = listed.ok_or_else(|| format!("nil target group item found (index {index})"))?;
        if let Some((name, _)) = listed.labels.iter().find(|(name, _)| !is_valid_label_name(name, names)) {
            return Err(format!("{name:?} is not a valid label name"));
        }
        let labels = listed.labels.into_iter().chain([(origin_label.to_owned(), origin.to_owned())]).collect();
        Ok(TargetGroup::of_addresses(source(origin, index), labels, &listed.targets))
    };
    listed.into_iter().enumerate().map(group).collect()
}

/// The source of a group within a file or an answer.
pub(super) fn source(origin: &str, index: usize) -> String {
    format!("{origin}:{index}")
}

/// One item of a list, as written.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListedGroup {
    targets: Vec<String>,
    labels: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str, format: ListFormat) -> Result<Vec<TargetGroup>, String> {
        read_groups(text, format, NameValidation::Utf8, ("__meta_filepath", "f"))
    }

    fn group(index: usize, labels: &[(&str, &str)], addresses: &[&str]) -> TargetGroup {
        let labels = labels.iter().copied().chain([("__meta_filepath", "f")]).collect();
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        TargetGroup::of_addresses(format!("f:{index}"), labels, &addresses)
    }

    #[rstest]
    #[case(ListFormat::Json, r#"[{"targets": ["a:1", "b:2"], "labels": {"foo": "bar"}}, {"targets": ["c"]}]"#)]
    #[case(ListFormat::Yaml, "- targets: ['a:1', 'b:2']\n  labels:\n    foo: bar\n\n- targets: ['c']\n")]
    fn a_list_of_groups_is_read(#[case] format: ListFormat, #[case] text: &str) {
        assert_eq!(read(text, format).unwrap(), [group(0, &[("foo", "bar")], &["a:1", "b:2"]), group(1, &[], &["c"])]);
    }

    #[rstest]
    #[case("null", 0)]
    #[case("[]", 0)]
    #[case("[{}]", 1)]
    #[case(r#"[{"targets": null, "labels": null}]"#, 1)]
    #[case(r#"[{"Targets": ["a"], "LABELS": {"a": null}}]"#, 1)]
    fn json_is_read_as_leniently_as_go_reads_it(#[case] text: &str, #[case] groups: usize) {
        assert_eq!(read(text, ListFormat::Json).unwrap().len(), groups);
    }

    #[rstest]
    #[case("", 0)]
    #[case("# nothing\n", 0)]
    #[case("null", 0)]
    #[case("- {}", 1)]
    #[case("- targets:\n  labels:\n", 1)]
    fn yaml_is_read_as_leniently_as_go_reads_it(#[case] text: &str, #[case] groups: usize) {
        assert_eq!(read(text, ListFormat::Yaml).unwrap().len(), groups);
    }

    #[test]
    fn yaml_scalars_keep_their_text() {
        let groups = read("- targets: [1.10, yes, ~]\n  labels: {version: 1.10, on: 0x1F}", ListFormat::Yaml).unwrap();
        assert_eq!(groups, [group(0, &[("version", "1.10"), ("on", "0x1F")], &["1.10", "yes", ""])]);
    }

    #[rstest]
    #[case(ListFormat::Json, "[{}, null]", "nil target group item found (index 1)")]
    #[case(ListFormat::Json, "[{\"targets\": [\"a\"", "EOF")]
    #[case(ListFormat::Json, "", "EOF")]
    #[case(ListFormat::Json, r#"[{"targets": ["a"], "port": 1}]"#, r#"unknown field "port""#)]
    #[case(ListFormat::Json, r#"[{"targets": "a"}]"#, "invalid type: string")]
    #[case(ListFormat::Json, r#"[{"labels": {"a": 1}}]"#, "invalid type: integer")]
    #[case(ListFormat::Json, r#"[{"labels": {"": "x"}}]"#, r#""" is not a valid label name"#)]
    #[case(ListFormat::Yaml, "- targets: [a]\n\n- null", "nil target group item found (index 1)")]
    #[case(ListFormat::Yaml, "- targets: [a", "line")]
    #[case(ListFormat::Yaml, "- targets: [a]\n  port: 1", "line 2: field port not found")]
    #[case(ListFormat::Yaml, "- targets: [a]\n  targets: [b]", "targets")]
    #[case(ListFormat::Yaml, "- targets: a", "line 1: cannot unmarshal !!str `a` into []string")]
    #[case(ListFormat::Yaml, "- targets: [[a]]", "line 1: cannot unmarshal !!seq into string")]
    #[case(ListFormat::Yaml, "- labels: [a]", "line 1: cannot unmarshal !!seq into model.LabelSet")]
    #[case(ListFormat::Yaml, "targets: [a]", "line 1: cannot unmarshal !!map into []*targetgroup.Group")]
    #[case(ListFormat::Yaml, "- a", "line 1: cannot unmarshal !!str `a` into targetgroup.Group")]
    fn a_bad_list_is_refused(#[case] format: ListFormat, #[case] text: &str, #[case] message: &str) {
        let error = read(text, format).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn label_names_are_checked_by_the_scheme_of_the_version() {
        let text = r#"[{"labels": {"a.b": "x"}}]"#;
        let read = |names| read_groups(text, ListFormat::Json, names, ("__meta_url", "u"));
        assert_eq!(read(NameValidation::Legacy).unwrap_err(), r#""a.b" is not a valid label name"#);
        assert!(read(NameValidation::Utf8).is_ok());
    }

    /// Prometheus' own fixtures, where that data is at hand.
    #[rstest]
    #[case("file/valid.json", ListFormat::Json, Some(2))]
    #[case("file/valid.yml", ListFormat::Yaml, Some(2))]
    #[case("file/valid2.yml", ListFormat::Yaml, Some(3))]
    #[case("file/valid3.yml", ListFormat::Yaml, Some(2))]
    #[case("file/invalid_nil.json", ListFormat::Json, None)]
    #[case("file/invalid_nil.yml", ListFormat::Yaml, None)]
    #[case("http/http_sd.good.json", ListFormat::Json, Some(1))]
    fn prometheus_own_fixtures_are_read(#[case] file: &str, #[case] format: ListFormat, #[case] groups: Option<usize>) {
        let folder = std::env::var("NARTHEX_CONFORMANCE")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{folder}/sd_fixtures/{file}")) else {
            println!("skipped: no conformance data");
            return;
        };
        assert_eq!(read(&text, format).ok().map(|read| read.len()), groups);
    }
}
