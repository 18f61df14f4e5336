//! The proxies that the environment names.

use super::ProxyServer;
use crate::http_client::ClientError;

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case, as Go's `httpproxy` reads them. The default is
/// an environment without them.
#[derive(Clone, Default)]
pub struct ProxyEnvironment {
    http: String,
    https: String,
    no: String,
}

/// Proxies may hold passwords.
impl std::fmt::Debug for ProxyEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyEnvironment").field("no", &self.no).finish_non_exhaustive()
    }
}

impl ProxyEnvironment {
    /// The variables as `variable` knows them.
    #[must_use]
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&str; 2]| {
            names.into_iter().filter_map(&variable).find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]),
        }
    }

    /// The variables of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// The proxy for `http://` URLs.
    pub(super) fn http(&self) -> Result<Option<ProxyServer>, ClientError> {
        server(&self.http, "HTTP_PROXY")
    }

    /// The proxy for `https://` URLs.
    pub(super) fn https(&self) -> Result<Option<ProxyServer>, ClientError> {
        server(&self.https, "HTTPS_PROXY")
    }

    /// The hosts that are reached directly all the same.
    pub(super) fn exceptions(&self) -> &str {
        &self.no
    }
}

/// Go passes over what is no URL and goes without a proxy then. Here that is an error: whoever names a proxy has a
/// reason, and requests that bypass it may tell somebody too much.
fn server(url: &str, variable: &str) -> Result<Option<ProxyServer>, ClientError> {
    if url.is_empty() {
        return Ok(None);
    }
    match ProxyServer::parse(url) {
        Ok(server) => Ok(Some(server)),
        Err(why) => Err(ClientError(format!("proxy_from_environment: {}", why.0.replace("proxy_url", variable)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_comes_first_and_empty_counts_as_unset() {
        let environment = ProxyEnvironment::new(|name| match name {
            "HTTP_PROXY" => Some("upper".to_owned()),
            "http_proxy" => Some("lower".to_owned()),
            "HTTPS_PROXY" | "NO_PROXY" => Some(String::new()),
            "https_proxy" => Some("lower".to_owned()),
            _ => None,
        });
        assert_eq!((environment.http.as_str(), environment.https.as_str()), ("upper", "lower"));
        assert_eq!(environment.exceptions(), "");
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_named_without_its_password() {
        let environment = ProxyEnvironment::new(|name| (name == "HTTPS_PROXY").then(|| "ftp://me:secret@p".to_owned()));
        let refused = environment.https().unwrap_err().0;
        assert!(refused.starts_with("proxy_from_environment: HTTPS_PROXY: scheme \"ftp\""), "{refused}");
        assert!(!format!("{refused}{environment:?}").contains("secret"));
    }
}
