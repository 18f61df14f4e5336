//! Which hosts are reached through which proxy: `proxy_url`, `no_proxy`, `proxy_from_environment`.

mod environment;
mod exceptions;

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};
use narthex_common::config::http_client::ProxyConfig;
use percent_encoding::percent_decode_str;
use url::Url;

use self::exceptions::Exceptions;
use super::{ClientError, connect::Endpoint, credentials};

pub use self::environment::ProxyEnvironment;

/// How one proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyScheme {
    Http,
    Https,
    /// Names are looked up by the proxy, also where `socks5h` is not asked for: Go does so.
    Socks5,
}

/// One proxy.
#[derive(Clone, Debug)]
pub(super) struct ProxyServer {
    pub(super) scheme: ProxyScheme,
    pub(super) endpoint: Endpoint,
    /// User and password, if the URL has any.
    pub(super) user: Option<(String, String)>,
    authorization: Option<HeaderValue>,
}

impl ProxyServer {
    /// The proxy at a URL; `http://` may be left out. Errors do not show the URL, which may hold a password.
    fn parse(text: &str) -> Result<Self, ClientError> {
        let unusable = || ClientError("proxy_url: not a URL with a host".to_owned());
        let parsed = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let url = parsed.map_err(|_| unusable())?;
        let (scheme, default_port) = match url.scheme() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            other => {
                let known = "http, https, socks5 and socks5h are";
                return Err(ClientError(format!("proxy_url: scheme {other:?} is not supported, {known}")));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(unusable)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let endpoint = Endpoint { host, port: url.port().unwrap_or(default_port) };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = has_user.then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        let authorization = match &user {
            Some((user, password)) => Some(credentials::basic(user, password)?),
            None => None,
        };
        Ok(Self { scheme, endpoint, user, authorization })
    }

    /// What an HTTP proxy wants to see.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// What is sent along with CONNECT, names as the user wrote them.
#[derive(Debug, Default)]
pub(super) struct ConnectHeaders(Vec<(String, HeaderValue)>);

impl ConnectHeaders {
    fn new(config: &ProxyConfig) -> Result<Self, ClientError> {
        let mut headers = Vec::new();
        for (name, values) in &config.connect_header {
            HeaderName::try_from(name)
                .map_err(|_| ClientError(format!("proxy_connect_header: invalid header field name {name:?}")))?;
            for value in values {
                let value = credentials::secret_value(name, value.expose())
                    .map_err(|why| ClientError(format!("proxy_connect_header: {why}")))?;
                headers.push((name.clone(), value));
            }
        }
        Ok(Self(headers))
    }

    /// All of them, one by one.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// The proxies of one client.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    for_http: Option<ProxyServer>,
    for_https: Option<ProxyServer>,
    /// None where everything goes through the proxy, this machine itself included: so it is in Go when `proxy_url`
    /// stands alone.
    exceptions: Option<Exceptions>,
    connect_headers: ConnectHeaders,
}

impl Proxies {
    /// The proxies that the settings name, or the environment when they say so.
    pub(super) fn new(config: &ProxyConfig, environment: &ProxyEnvironment) -> Result<Self, ClientError> {
        let connect_headers = ConnectHeaders::new(config)?;
        if config.from_environment {
            return Ok(Self {
                for_http: environment.http()?,
                for_https: environment.https()?,
                exceptions: Some(Exceptions::parse(environment.exceptions())),
                connect_headers,
            });
        }
        let Some(url) = config.url.as_ref().filter(|url| !url.expose().is_empty()) else {
            return Ok(Self::default());
        };
        let server = ProxyServer::parse(url.expose())?;
        Ok(Self {
            for_http: Some(server.clone()),
            for_https: Some(server),
            exceptions: (!config.no_proxy.is_empty()).then(|| Exceptions::parse(&config.no_proxy)),
            connect_headers,
        })
    }

    /// The proxy to reach a target through.
    pub(super) fn for_target(&self, target: &Uri) -> Option<&ProxyServer> {
        let server = if target.scheme() == Some(&Scheme::HTTPS) { &self.for_https } else { &self.for_http };
        let server = server.as_ref()?;
        let excepted = self.exceptions.as_ref().is_some_and(|exceptions| exceptions.contain(&Endpoint::of(target)));
        (!excepted).then_some(server)
    }

    /// What a request that a proxy reads itself has to show to that proxy.
    pub(super) fn authorization_for(&self, target: &Uri) -> Option<&HeaderValue> {
        let server = self.for_target(target).filter(|server| server.scheme != ProxyScheme::Socks5)?;
        if target.scheme() == Some(&Scheme::HTTP) { server.authorization() } else { None }
    }

    /// What is sent along with CONNECT.
    pub(super) fn connect_headers(&self) -> &ConnectHeaders {
        &self.connect_headers
    }
}

#[cfg(test)]
mod tests {
    use narthex_common::config::http_client::Secret;

    use super::*;

    fn proxy_of(config: &ProxyConfig, environment: &ProxyEnvironment, target: &str) -> Option<String> {
        let proxies = Proxies::new(config, environment).unwrap();
        proxies.for_target(&target.parse().unwrap()).map(|server| format!("{:?} {}", server.scheme, server.endpoint))
    }

    fn through(url: &str, no_proxy: &str) -> ProxyConfig {
        ProxyConfig { url: Some(Secret::new(url)), no_proxy: no_proxy.to_owned(), ..ProxyConfig::default() }
    }

    #[test]
    fn a_proxy_has_the_port_of_its_scheme() {
        for (url, expected) in [
            ("http://p", "Http p:80"),
            ("p", "Http p:80"),
            ("https://p", "Https p:443"),
            ("socks5://u:p@p", "Socks5 p:1080"),
            ("socks5h://[::1]:9", "Socks5 [::1]:9"),
        ] {
            let proxy = proxy_of(&through(url, ""), &ProxyEnvironment::default(), "http://t/");
            assert_eq!(proxy.as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn a_proxy_url_alone_takes_even_this_machine_through_the_proxy() {
        let environment = ProxyEnvironment::default();
        assert!(proxy_of(&through("http://p", ""), &environment, "http://localhost/").is_some());
        assert!(proxy_of(&through("http://p", "x"), &environment, "http://localhost/").is_none());
        assert!(proxy_of(&through("http://p", "x"), &environment, "http://127.0.0.1/").is_none());
    }

    #[test]
    fn the_environment_counts_only_when_it_is_asked_for() {
        let environment = ProxyEnvironment::new(|name| match name {
            "HTTP_PROXY" => Some("plain:3128".to_owned()),
            "HTTPS_PROXY" => Some("https://safe".to_owned()),
            "NO_PROXY" => Some("direct".to_owned()),
            _ => None,
        });
        let asked = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
        assert_eq!(proxy_of(&asked, &environment, "http://t/").as_deref(), Some("Http plain:3128"));
        assert_eq!(proxy_of(&asked, &environment, "https://t/").as_deref(), Some("Https safe:443"));
        assert_eq!(proxy_of(&asked, &environment, "https://direct/"), None);
        assert_eq!(proxy_of(&asked, &environment, "https://localhost/"), None);
        assert_eq!(proxy_of(&ProxyConfig::default(), &environment, "http://t/"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_spoken_to_is_refused_without_showing_its_password() {
        let refused = |url: &str| Proxies::new(&through(url, ""), &ProxyEnvironment::default()).unwrap_err().0;
        assert_eq!(
            refused("socks4://me:secret@p"),
            "proxy_url: scheme \"socks4\" is not supported, http, https, socks5 and socks5h are"
        );
        assert_eq!(refused("http://me:secret@"), "proxy_url: not a URL with a host");
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_without_its_value() {
        let bad = |name: &str, value: &str| {
            let connect_header = [(name.to_owned(), vec![Secret::new(value)])].into();
            Proxies::new(&ProxyConfig { connect_header, ..through("p", "") }, &ProxyEnvironment::default())
                .unwrap_err()
                .0
        };
        assert_eq!(bad("a b", "x"), "proxy_connect_header: invalid header field name \"a b\"");
        let expected = "proxy_connect_header: net/http: invalid header field value for \"X\"";
        assert_eq!(bad("X", "secret\n"), expected);
    }
}
