//! `static_configs` and the `*_sd_configs` of a job read and validated.

use super::{
    super::{
        HttpClientConfig, PromDuration,
        fields::{Fault, Fields, string_in},
        go_url,
        http_client::Secret,
        paths::{BaseDir, has_star_in_last_element_only},
        yaml::Node,
    },
    FileSdConfig, HttpSdConfig, SdConfig, StaticConfig,
};
use crate::{redact::without_password, relabel::is_valid_label_name, semantics::NameValidation};

/// Discoveries that Prometheus has and Narthex leaves to somebody else.
const OTHER_KINDS: [&str; 34] = [
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "ecs_sd_configs",
    "elasticache_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "msk_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "oci_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "rds_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

/// The endings a target file may have.
const TARGET_FILE_ENDINGS: [&str; 6] = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];

/// All discoveries of a job: static ones first, then by kind.
pub(super) fn read(fields: &Fields<'_>, dir: BaseDir<'_>, names: NameValidation) -> Result<Vec<SdConfig>, Fault> {
    let mut discovery = Vec::new();
    for node in entries(fields, "static_configs")? {
        discovery.push(SdConfig::Static(read_static(node, names)?));
    }
    for node in entries(fields, "file_sd_configs")? {
        discovery.push(SdConfig::File(read_file_sd(node, dir)?));
    }
    for node in entries(fields, "http_sd_configs")? {
        discovery.push(SdConfig::Http(read_http_sd(node, dir)?));
    }
    for kind in OTHER_KINDS {
        for node in entries(fields, kind)? {
            discovery.push(SdConfig::Other { kind: kind.into(), line: node.line });
        }
    }
    Ok(discovery)
}

/// A job without relabeling cannot mend addresses, so a URL in their place is certainly a mistake.
pub(super) fn check_static_targets(fields: &Fields<'_>) -> Result<(), Fault> {
    for group in fields.list("static_configs", "")? {
        for target in group.get("targets").map_or(&[][..], Node::items) {
            if let Some(text) = target.text().filter(|text| text.contains('/')) {
                let shown = without_password(text);
                return Err(Fault::at(target, format!("{shown:?} is not a valid hostname")));
            }
        }
    }
    Ok(())
}

fn entries<'a>(fields: &Fields<'a>, kind: &'static str) -> Result<&'a [Node], Fault> {
    let entries = fields.list(kind, "a list of discoveries")?;
    match entries.iter().find(|node| node.is_null()) {
        Some(node) => Err(Fault::at(node, format!("empty or null section in {kind}"))),
        None => Ok(entries),
    }
}

fn read_static(node: &Node, names: NameValidation) -> Result<StaticConfig, Fault> {
    let fields = Fields::of(node, "targetgroup.Group")?;
    let targets = fields.strings("targets")?;
    let mut labels = Vec::new();
    for (name, value) in fields.map("labels", "model.LabelSet")? {
        if !is_valid_label_name(&name.text, names) {
            return Err(Fault::at(value, format!("{:?} is not a valid label name", name.text)));
        }
        labels.push((name.text.as_str(), string_in(value, "labels")?));
    }
    fields.finish()?;
    Ok(StaticConfig { targets, labels: labels.into_iter().collect() })
}

fn read_file_sd(node: &Node, dir: BaseDir<'_>) -> Result<FileSdConfig, Fault> {
    let fields = Fields::of(node, "file.plain")?;
    let files = fields.strings("files")?;
    let refresh_interval = refresh_interval(&fields, PromDuration::from_secs(300))?;
    let files_line = fields.line_of("files");
    fields.finish()?;
    if files.is_empty() {
        return Err(Fault::new(files_line, "file service discovery config must contain at least one path name"));
    }
    for file in &files {
        let has_ending = TARGET_FILE_ENDINGS.iter().any(|ending| file.ends_with(ending));
        if !has_ending || !has_star_in_last_element_only(file) {
            return Err(Fault::new(files_line, format!("path name {file:?} is not valid for file discovery")));
        }
    }
    Ok(FileSdConfig { files: files.iter().map(|file| dir.join(file)).collect(), refresh_interval })
}

fn read_http_sd(node: &Node, dir: BaseDir<'_>) -> Result<HttpSdConfig, Fault> {
    let fields = Fields::of(node, "http.plain")?;
    let url = fields.string("url", "")?;
    let refresh_interval = refresh_interval(&fields, PromDuration::from_secs(60))?;
    check_url(&url).map_err(|problem| Fault::new(fields.line_of("url"), problem))?;
    let http_client = HttpClientConfig::read(&fields, dir)?;
    fields.finish()?;
    Ok(HttpSdConfig { url: Secret::new(url), refresh_interval, http_client })
}

fn check_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("URL is missing".into());
    }
    let parsed = go_url::parse(url).map_err(|problem| format!("field url: {problem}"))?;
    if parsed.scheme != "http" && parsed.scheme != "https" {
        return Err("URL scheme must be 'http' or 'https'".into());
    }
    if parsed.host.is_empty() {
        return Err("host is missing in URL".into());
    }
    Ok(())
}

/// Prometheus would stop with a panic on an interval of no time.
fn refresh_interval(fields: &Fields<'_>, default: PromDuration) -> Result<PromDuration, Fault> {
    let field = "refresh_interval";
    if fields.get(field).is_none() {
        return Ok(default);
    }
    let interval = fields.duration(field)?;
    if interval.is_zero() {
        return Err(Fault::new(fields.line_of(field), "refresh_interval must be greater than 0"));
    }
    Ok(interval)
}
