//! `http_sd_configs`

use super::{
    super::{
        super::{
            HttpClientConfig, PromDuration,
            fields::{Fault, Fields},
            go_url,
            http_client::Secret,
            paths::BaseDir,
            yaml::Node,
        },
        HttpSdConfig,
    },
    refresh_interval,
};

pub(super) fn read(node: &Node, dir: BaseDir<'_>) -> Result<HttpSdConfig, Fault> {
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
