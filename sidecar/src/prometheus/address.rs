//! Where the Prometheus next door is.

use http::{Uri, uri::PathAndQuery};
use url::Url;

/// An URL that cannot be a Prometheus next door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not the URL of a Prometheus next door: {why}; expected http://HOST:PORT (flag --prometheus.url)")]
pub struct BadPrometheusUrl {
    url: String,
    why: String,
}

/// Where Prometheus answers: host, port and, with `--web.route-prefix`, a path before all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusAddress {
    authority: String,
    prefix: String,
}

impl PrometheusAddress {
    /// Reads an URL.
    ///
    /// # Errors
    /// When it is not of the form `http://HOST:PORT/PREFIX`.
    pub fn parse(text: &str) -> Result<Self, BadPrometheusUrl> {
        let bad = |why: &str| BadPrometheusUrl { url: without_user(text), why: why.to_owned() };
        let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("the sidecar asks by plain http, on the same machine"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it may have no user, query or fragment"));
        }
        let host = url.host_str().ok_or_else(|| bad("it has no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self { authority: format!("{host}:{port}"), prefix: url.path().trim_end_matches('/').to_owned() })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The whole URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.prefix)
    }

    /// Where Prometheus answers a request for a path.
    ///
    /// # Errors
    /// When the path makes no URL.
    pub fn at(&self, path: &PathAndQuery) -> Result<Uri, http::Error> {
        let has_prefix = path.path().strip_prefix(&self.prefix).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        let path_and_query = if has_prefix { path.to_string() } else { format!("{}{path}", self.prefix) };
        Uri::builder().scheme("http").authority(self.authority.as_str()).path_and_query(path_and_query).build()
    }
}

/// An URL as it may be shown: its user part may hold a password.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, rest)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://xxxxx@{rest}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str, path: &str) -> String {
        PrometheusAddress::parse(url).unwrap().at(&path.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_prefix_stands_before_every_path_once() {
        assert_eq!(at("http://127.0.0.1:9090", "/-/ready"), "http://127.0.0.1:9090/-/ready");
        assert_eq!(
            at("http://127.0.0.1:9090/prom/", "/api/v1/query?a=%2F"),
            "http://127.0.0.1:9090/prom/api/v1/query?a=%2F"
        );
        assert_eq!(at("http://127.0.0.1:9090/prom", "/prom/graph"), "http://127.0.0.1:9090/prom/graph");
        assert_eq!(at("http://127.0.0.1:9090/prom", "/promises"), "http://127.0.0.1:9090/prom/promises");
    }

    #[test]
    fn a_password_in_a_refused_url_is_not_shown() {
        let refused = PrometheusAddress::parse("http://me:hunter2@127.0.0.1:9090").unwrap_err();
        assert!(refused.to_string().starts_with("\"http://xxxxx@127.0.0.1:9090\" is not"), "{refused}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_prometheus_next_door_is_refused() {
        for url in ["https://127.0.0.1:9090", "127.0.0.1:9090", "http://u:p@127.0.0.1:9090", "unix:/x"] {
            let refused = PrometheusAddress::parse(url).unwrap_err().to_string();
            assert!(refused.contains("(flag --prometheus.url)"), "{refused}");
        }
    }
}
