//! Which requests go through a proxy: `proxy_url`, `no_proxy`, `proxy_from_environment`, `proxy_connect_header`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use narthex_common::config::HttpClientConfig;

use super::ClientError;

/// The proxies of one client.
pub(super) struct Proxies {
    rules: Option<Matcher>,
    /// Go never sends requests to this machine itself through a proxy, unless `proxy_url` stands alone.
    loopback_is_direct: bool,
    connect_headers: HeaderMap,
}

impl Proxies {
    /// Reads the settings, and the environment when they say so.
    pub(super) fn new(config: &HttpClientConfig) -> Result<Self, ClientError> {
        let environment = |upper: &str, lower: &str| {
            std::env::var(upper).ok().filter(|text| !text.is_empty()).or_else(|| std::env::var(lower).ok())
        };
        let (rules, loopback_is_direct) = if config.proxy_from_environment {
            let rules = Matcher::builder()
                .http(usable_proxy(environment("HTTP_PROXY", "http_proxy").unwrap_or_default())?)
                .https(usable_proxy(environment("HTTPS_PROXY", "https_proxy").unwrap_or_default())?)
                .no(environment("NO_PROXY", "no_proxy").unwrap_or_default())
                .build();
            (Some(rules), true)
        } else if let Some(url) = config.proxy_url.as_ref().filter(|url| !url.expose().is_empty()) {
            let rules =
                Matcher::builder().all(usable_proxy(url.expose().to_owned())?).no(config.no_proxy.as_str()).build();
            (Some(rules), !config.no_proxy.is_empty())
        } else {
            (None, false)
        };
        let mut connect_headers = HeaderMap::new();
        for (name, values) in &config.proxy_connect_header {
            let bad = || ClientError(format!("proxy_connect_header: invalid header {name:?}"));
            for value in values {
                let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
                value.set_sensitive(true);
                connect_headers.append(HeaderName::try_from(name).map_err(|_| bad())?, value);
            }
        }
        Ok(Self { rules, loopback_is_direct, connect_headers })
    }

    /// The proxy to reach a target through.
    pub(super) fn for_target(&self, target: &Uri) -> Option<Intercept> {
        let host = target.host()?;
        if self.loopback_is_direct && is_loopback(host) {
            return None;
        }
        self.rules.as_ref()?.intercept(target)
    }

    /// What a request that a proxy reads itself has to show to that proxy.
    pub(super) fn authorization_for(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme_str() != Some("http") {
            return None;
        }
        self.for_target(target)?.basic_auth().cloned()
    }

    /// What is sent along with CONNECT.
    pub(super) fn connect_headers(&self) -> &HeaderMap {
        &self.connect_headers
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Checks that a proxy can be spoken to. Errors do not show the URL, which may hold a password.
fn usable_proxy(url: String) -> Result<String, ClientError> {
    if url.is_empty() {
        return Ok(url);
    }
    let whole = if url.contains("://") { url } else { format!("http://{url}") };
    let parsed = whole.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let parsed = parsed.ok_or_else(|| ClientError("proxy_url: not a URL with a host".to_owned()))?;
    match parsed.scheme_str() {
        Some("http") => Ok(whole),
        other => {
            let scheme = other.unwrap_or_default();
            Err(ClientError(format!("proxy_url: scheme {scheme:?} is not supported yet, only \"http\" is")))
        }
    }
}
