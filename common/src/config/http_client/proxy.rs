//! `proxy_url` and what belongs to it: how a host is reached through a proxy.

use std::collections::BTreeMap;

use super::{
    super::{
        fields::{Fault, Fields, secrets_in},
        go_url,
    },
    Secret,
};

/// How hosts are reached through a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProxyConfig {
    /// `proxy_url`. May hold a password.
    pub url: Option<Secret>,
    /// `no_proxy`: hosts that are reached directly all the same.
    pub no_proxy: String,
    /// `proxy_from_environment`: whether `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say all this.
    pub from_environment: bool,
    /// `proxy_connect_header`: headers that only the proxy sees, sent along with CONNECT.
    pub connect_header: BTreeMap<String, Vec<Secret>>,
}

impl ProxyConfig {
    /// Reads the settings among a client's other fields.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let url = fields.string("proxy_url", "")?;
        let url_is_written = fields.get_filled("proxy_url").is_some();
        let no_proxy = fields.string("no_proxy", "")?;
        let from_environment = fields.bool("proxy_from_environment", false)?;
        let mut connect_header = BTreeMap::new();
        for (name, values) in fields.map("proxy_connect_header", "config.ProxyHeader")? {
            connect_header.insert(name.text.clone(), secrets_in(values, &name.text)?);
        }

        let refuse = |field, message: &str| Err(Fault::new(fields.line_of(field), message));
        if let Err(problem) = go_url::parse(&url) {
            return refuse("proxy_url", &format!("proxy_url: {problem}"));
        }
        if !connect_header.is_empty() && !from_environment && url.is_empty() {
            let message =
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
            return refuse("proxy_connect_header", message);
        }
        if from_environment && !url.is_empty() {
            return refuse("proxy_url", "if proxy_from_environment is configured, proxy_url must not be configured");
        }
        if from_environment && !no_proxy.is_empty() {
            return refuse("no_proxy", "if proxy_from_environment is configured, no_proxy must not be configured");
        }
        if !url_is_written && !no_proxy.is_empty() {
            return refuse("no_proxy", "if no_proxy is configured, proxy_url must also be configured");
        }
        let url = (!url.is_empty()).then(|| Secret::new(url));
        Ok(Self { url, no_proxy, from_environment, connect_header })
    }
}
