//! The `global` section, and what jobs inherit from it.

use std::collections::BTreeMap;

use super::{
    PromDuration, byte_size,
    fields::{Fault, Fields, string_in},
    scrape::protocols,
    yaml::Node,
};
use crate::{
    relabel::is_valid_label_name,
    semantics::{NameValidation, PrometheusVersion},
};

/// What `global` says, defaults applied.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) scrape_interval: PromDuration,
    pub(super) scrape_timeout: PromDuration,
    pub(super) scrape_protocols: Option<Vec<String>>,
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) limits: Limits,
    pub(super) name_validation: NameValidation,
    /// As written; empty when it follows from the validation.
    pub(super) name_escaping: String,
    pub(super) scrape_native_histograms: bool,
    pub(super) always_scrape_classic_histograms: bool,
    pub(super) convert_classic_histograms_to_nhcb: bool,
    pub(super) extra_scrape_metrics: bool,
}

/// Bounds on what a job may bring; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) body_size: u64,
    pub(super) samples: u64,
    pub(super) targets: u64,
    pub(super) labels: u64,
    pub(super) label_name_length: u64,
    pub(super) label_value_length: u64,
    pub(super) dropped_targets: u64,
}

impl Limits {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let body_size = match fields.get_filled("body_size_limit") {
            Some(node) => {
                let text = string_in(node, "body_size_limit")?;
                byte_size::parse(&text).map_err(|bad| Fault::at(node, format!("field body_size_limit: {bad}")))?
            }
            None => 0,
        };
        Ok(Self {
            body_size,
            samples: fields.u64("sample_limit")?,
            targets: fields.u64("target_limit")?,
            labels: fields.u64("label_limit")?,
            label_name_length: fields.u64("label_name_length_limit")?,
            label_value_length: fields.u64("label_value_length_limit")?,
            dropped_targets: fields.u64("keep_dropped_targets")?,
        })
    }

    /// These limits, with others' where these say nothing.
    pub(super) fn or(self, other: Self) -> Self {
        let pick = |own: u64, other: u64| if own == 0 { other } else { own };
        Self {
            body_size: pick(self.body_size, other.body_size),
            samples: pick(self.samples, other.samples),
            targets: pick(self.targets, other.targets),
            labels: pick(self.labels, other.labels),
            label_name_length: pick(self.label_name_length, other.label_name_length),
            label_value_length: pick(self.label_value_length, other.label_value_length),
            dropped_targets: pick(self.dropped_targets, other.dropped_targets),
        }
    }
}

const DEFAULT_INTERVAL: PromDuration = PromDuration::from_secs(60);
const DEFAULT_TIMEOUT: PromDuration = PromDuration::from_secs(10);

impl Global {
    /// Reads the section; one that is open but empty is all defaults.
    pub(super) fn read(node: &Node, version: PrometheusVersion) -> Result<Self, Fault> {
        let fields = Fields::of(node, "config.plain")?;
        let interval = fields.duration("scrape_interval")?;
        let timeout = fields.duration("scrape_timeout")?;
        for name in ["evaluation_interval", "rule_query_offset"] {
            fields.duration(name)?;
        }
        for name in ["query_log_file", "scrape_failure_log_file"] {
            fields.string(name, "")?;
        }
        let name_validation = read_name_validation(&fields)?.unwrap_or(version.default_name_validation());
        let scrape_interval = if interval.is_zero() { DEFAULT_INTERVAL } else { interval };
        let global = Self {
            scrape_interval,
            scrape_timeout: if timeout.is_zero() { DEFAULT_TIMEOUT.min(scrape_interval) } else { timeout },
            scrape_protocols: protocols::read(&fields)?,
            external_labels: read_external_labels(&fields, version)?,
            limits: Limits::read(&fields)?,
            name_validation,
            name_escaping: fields.string("metric_name_escaping_scheme", "")?,
            scrape_native_histograms: fields.bool("scrape_native_histograms", false)?,
            always_scrape_classic_histograms: fields.bool("always_scrape_classic_histograms", false)?,
            convert_classic_histograms_to_nhcb: fields.bool("convert_classic_histograms_to_nhcb", false)?,
            extra_scrape_metrics: fields.bool("extra_scrape_metrics", false)?,
        };
        let (timeout_line, protocols_line) = (fields.line_of("scrape_timeout"), fields.line_of("scrape_protocols"));
        fields.finish()?;
        if timeout > scrape_interval {
            return Err(Fault::new(timeout_line, "global scrape timeout greater than scrape interval"));
        }
        if let Some(protocols) = &global.scrape_protocols {
            protocols::check(protocols)
                .map_err(|bad| Fault::new(protocols_line, format!("{bad} for global config")))?;
        }
        Ok(global)
    }
}

/// `metric_name_validation_scheme`, when it is set.
pub(super) fn read_name_validation(fields: &Fields<'_>) -> Result<Option<NameValidation>, Fault> {
    let field = "metric_name_validation_scheme";
    match fields.string(field, "")?.as_str() {
        "" => Ok(None),
        "legacy" => Ok(Some(NameValidation::Legacy)),
        "utf8" => Ok(Some(NameValidation::Utf8)),
        other => Err(Fault::new(fields.line_of(field), format!("unrecognized ValidationScheme: {other:?}"))),
    }
}

/// Whether these names obey `metric_name_validation_scheme` differs among 3.x; a shard that minds will say so.
fn read_external_labels(fields: &Fields<'_>, version: PrometheusVersion) -> Result<BTreeMap<String, String>, Fault> {
    let mut labels = BTreeMap::new();
    for (name, node) in fields.map("external_labels", "map[string]string")? {
        if !is_valid_label_name(&name.text, version.default_name_validation()) {
            return Err(Fault::at(node, format!("{:?} is not a valid label name", name.text)));
        }
        labels.insert(name.text.clone(), string_in(node, "external_labels")?);
    }
    Ok(labels)
}
