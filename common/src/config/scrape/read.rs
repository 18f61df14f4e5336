//! One job read, completed from `global` and validated, in the order and the words of Prometheus.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{
        HttpClientConfig, PromDuration,
        fields::{Fault, Fields, string_in},
        global::{Global, Limits, read_name_validation},
        paths::BaseDir,
        yaml::Node,
    },
    ScrapeConfig, discovery, protocols,
    relabel::WrittenRules,
};
use crate::{
    job::JobName,
    relabel::RelabeledBy,
    semantics::{NameValidation, PrometheusVersion},
};

impl ScrapeConfig {
    /// Reads an entry of `scrape_configs` in the given file.
    pub(in super::super) fn read(
        node: &Node,
        file: &Path,
        global: &Global,
        version: PrometheusVersion,
    ) -> Result<Self, Fault> {
        if node.is_null() {
            return Err(Fault::at(node, "empty or null scrape config section"));
        }
        let fields = Fields::of(node, "config.ScrapeConfig")?;
        let name = fields.string("job_name", "")?;
        read_job(&name, node, fields, file, global, version).map_err(|fault| fault.in_job(&name))
    }
}

fn read_job(
    name: &str,
    node: &Node,
    fields: Fields<'_>,
    file: &Path,
    global: &Global,
    version: PrometheusVersion,
) -> Result<ScrapeConfig, Fault> {
    let dir = BaseDir::of_file(file);
    let discovery = discovery::read(&fields, dir, version)?;
    let http_client = HttpClientConfig::read(&fields, dir)?;
    let relabel_configs = WrittenRules::read(&fields, "relabel_configs", "target", version)?;
    let metric_relabel_configs = WrittenRules::read(&fields, "metric_relabel_configs", "metric", version)?;
    let timing = Timing::read(&fields, name, global)?;
    let limits = Limits::read(&fields)?.or(global.limits);
    let histograms = Histograms::read(&fields, global, version)?;
    let (name_validation, metric_name_escaping_scheme) = read_name_schemes(&fields, global)?;
    let written_protocols = protocols::read(&fields)?;
    let fallback = fields.string("fallback_scrape_protocol", "")?;

    let mut job = ScrapeConfig {
        job_name: JobName::from(name),
        scrape_interval: timing.interval,
        scrape_timeout: timing.timeout,
        scrape_protocols: written_protocols
            .or_else(|| global.scrape_protocols.clone())
            .unwrap_or_else(|| protocols::default_protocols(histograms.native)),
        fallback_scrape_protocol: None,
        scrape_native_histograms: histograms.native,
        always_scrape_classic_histograms: histograms.always_classic,
        convert_classic_histograms_to_nhcb: histograms.convert_classic,
        extra_scrape_metrics: fields.inherited_bool("extra_scrape_metrics")?.unwrap_or(global.extra_scrape_metrics),
        params: read_params(&fields)?,
        metrics_path: fields.string("metrics_path", "/metrics")?,
        scheme: fields.string("scheme", "http")?,
        honor_labels: fields.bool("honor_labels", false)?,
        honor_timestamps: fields.bool("honor_timestamps", true)?,
        track_timestamps_staleness: fields.bool("track_timestamps_staleness", false)?,
        enable_compression: fields.bool("enable_compression", true)?,
        body_size_limit: limits.body_size,
        sample_limit: limits.samples,
        target_limit: limits.targets,
        label_limit: limits.labels,
        label_name_length_limit: limits.label_name_length,
        label_value_length_limit: limits.label_value_length,
        keep_dropped_targets: limits.dropped_targets,
        name_validation,
        metric_name_escaping_scheme,
        relabeled_by: RelabeledBy::Coordinator,
        relabel_configs: Vec::new(),
        metric_relabel_configs: Vec::new(),
        http_client,
        discovery,
        node: node.clone(),
        path: file.to_owned(),
        line: node.line,
    };
    check_what_shards_interpret(&fields)?;
    if name.is_empty() {
        return Err(Fault::at(node, "job_name is empty"));
    }
    if relabel_configs.rules.is_empty() {
        discovery::check_static_addresses(&fields)?;
    }
    let (protocols_line, fallback_line) =
        (fields.line_of("scrape_protocols"), fields.line_of("fallback_scrape_protocol"));
    fields.finish()?;

    protocols::check(&job.scrape_protocols)
        .map_err(|bad| Fault::new(protocols_line, format!("{bad} for scrape config with job name {name:?}")))?;
    if !fallback.is_empty() {
        protocols::check_one(&fallback).map_err(|bad| {
            let message = format!("invalid fallback_scrape_protocol for scrape config with job name {name:?}: {bad}");
            Fault::new(fallback_line, message)
        })?;
        job.fallback_scrape_protocol = Some(fallback);
    }
    job.relabeled_by = relabel_configs.check(name_validation, version)?;
    // What cannot be proved of these is a matter of estimates alone: they are Prometheus' to apply.
    metric_relabel_configs.check(name_validation, version)?;
    job.relabel_configs = relabel_configs.rules;
    job.metric_relabel_configs = metric_relabel_configs.rules;
    Ok(job)
}

/// Fields that only the shard's Prometheus acts on; here they must merely be of the right type.
fn check_what_shards_interpret(fields: &Fields<'_>) -> Result<(), Fault> {
    fields.u64("native_histogram_bucket_limit")?;
    fields.f64("native_histogram_min_bucket_factor")?;
    fields.string("scrape_failure_log_file", "")?;
    Ok(())
}

/// When a job's targets are scraped.
struct Timing {
    interval: PromDuration,
    timeout: PromDuration,
}

impl Timing {
    fn read(fields: &Fields<'_>, job: &str, global: &Global) -> Result<Self, Fault> {
        let (interval, timeout) = (fields.duration("scrape_interval")?, fields.duration("scrape_timeout")?);
        let interval = if interval.is_zero() { global.scrape_interval } else { interval };
        if timeout > interval {
            let message =
                format!("scrape timeout greater than scrape interval for scrape config with job name {job:?}");
            return Err(Fault::new(fields.line_of("scrape_timeout"), message));
        }
        let timeout = if timeout.is_zero() { global.scrape_timeout.min(interval) } else { timeout };
        Ok(Self { interval, timeout })
    }
}

/// Which histograms a job ingests.
struct Histograms {
    native: bool,
    always_classic: bool,
    convert_classic: bool,
}

impl Histograms {
    fn read(fields: &Fields<'_>, global: &Global, version: PrometheusVersion) -> Result<Self, Fault> {
        // 3.0 renamed the field and no longer knows the old name.
        let old_name =
            if version.is_3_or_later() { None } else { fields.inherited_bool("scrape_classic_histograms")? };
        Ok(Self {
            native: fields.inherited_bool("scrape_native_histograms")?.unwrap_or(global.scrape_native_histograms),
            always_classic: fields
                .inherited_bool("always_scrape_classic_histograms")?
                .or(old_name)
                .unwrap_or(global.always_scrape_classic_histograms),
            convert_classic: fields
                .inherited_bool("convert_classic_histograms_to_nhcb")?
                .unwrap_or(global.convert_classic_histograms_to_nhcb),
        })
    }
}

fn read_params(fields: &Fields<'_>) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let mut params = BTreeMap::new();
    for (name, node) in fields.map("params", "url.Values")? {
        let values = node.as_list().ok_or_else(|| {
            Fault::at(node, format!("field params, key {:?}: {}", name.text, node.mismatch("[]string")))
        })?;
        let values = values.iter().map(|value| string_in(value, "params")).collect::<Result<_, _>>()?;
        params.insert(name.text.clone(), values);
    }
    Ok(params)
}

const ALLOW_UTF8: &str = "allow-utf-8";
const UNDERSCORES: &str = "underscores";

/// Which metric names are valid, and how the others are asked for.
fn read_name_schemes(fields: &Fields<'_>, global: &Global) -> Result<(NameValidation, String), Fault> {
    let local_validation = read_name_validation(fields)?;
    let validation = local_validation.unwrap_or(global.name_validation);
    let natural = |validation| match validation {
        NameValidation::Legacy => UNDERSCORES,
        NameValidation::Utf8 => ALLOW_UTF8,
    };
    let field = "metric_name_escaping_scheme";
    let check = |scheme: &str, whose: &str| match scheme {
        ALLOW_UTF8 | UNDERSCORES | "dots" | "values" => Ok(()),
        other => Err(Fault::new(
            fields.line_of(field),
            format!(
                "unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', \
                 'dots', or 'values', got {other:?}"
            ),
        )),
    };

    let global_escaping = match global.name_escaping.as_str() {
        "" => natural(global.name_validation),
        written => written,
    };
    check(global_escaping, "global")?;
    let mut escaping = fields.string(field, "")?;
    if escaping.is_empty() {
        escaping = local_validation.map_or(global_escaping, natural).to_owned();
    }
    check(&escaping, "scrape config")?;
    if escaping == ALLOW_UTF8 && validation == NameValidation::Legacy {
        let message = "utf8 metric names requested but validation scheme is not set to UTF8";
        return Err(Fault::new(fields.line_of(field), message));
    }
    Ok((validation, escaping))
}
