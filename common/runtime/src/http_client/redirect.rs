//! The way of one request over redirects, as Go's `net/http` goes it.

use http::{HeaderValue, Response, StatusCode, Uri, header, uri};
use narthex_common::redact::without_password;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{ClientError, Unanswered};

/// Go's limit (`net/http` `defaultCheckRedirect`): the first request counts.
pub(super) const MAX_REQUESTS: usize = 10;

/// Where a request is, and where it started.
pub(super) struct Hops {
    first_host: String,
    current: Uri,
    user: Option<(String, String)>,
    left_the_host: bool,
    /// The last `Location` that was followed.
    location: Option<String>,
    referer: Option<HeaderValue>,
}

impl Hops {
    /// The start of the way.
    pub(super) fn from(start: Uri) -> Result<Self, ClientError> {
        let (current, user) = split_user(start)?;
        Ok(Self { first_host: host_of(&current), current, user, left_the_host: false, location: None, referer: None })
    }

    /// The URL to ask now, without its user.
    pub(super) fn current(&self) -> &Uri {
        &self.current
    }

    /// User and password that the current URL holds.
    pub(super) fn user(&self) -> Option<(&str, &str)> {
        self.user.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Whether some redirect led to a host that is not the first one nor below it. From then on credentials stay away,
    /// even when a later redirect leads back: whoever sent us around must not choose what we disclose.
    pub(super) fn have_left_the_host(&self) -> bool {
        self.left_the_host
    }

    /// Who sent us here, for servers that want to know. Go does not tell a plain server where it was over TLS.
    pub(super) fn referer(&self) -> Option<&HeaderValue> {
        self.referer.as_ref()
    }

    /// Goes where an answer points, if it does.
    pub(super) fn follow<B>(&mut self, answer: &Response<B>) -> Result<bool, Unanswered> {
        let redirects = matches!(
            answer.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = answer.headers().get(header::LOCATION).filter(|location| redirects && !location.is_empty());
        let Some(location) = location else {
            return Ok(false);
        };
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let next = self.resolved(&location).map_err(|reason| self.failed(reason))?;
        let asked = next.to_string();
        let (next, user) =
            split_user(next).map_err(|reason| Unanswered { reason, elsewhere: Some(without_user(&asked)) })?;
        let tells = self.current.scheme() == next.scheme() || next.scheme() == Some(&uri::Scheme::HTTPS);
        self.referer = HeaderValue::from_str(&self.current.to_string()).ok().filter(|_| tells);
        (self.current, self.user) = (next, user);
        self.left_the_host |= !is_same_or_below(&host_of(&self.current), &self.first_host);
        self.location = Some(location);
        Ok(true)
    }

    fn resolved(&self, location: &str) -> Result<Uri, ClientError> {
        let shown = without_password(location);
        let malformed =
            |why: &str| ClientError(format!("failed to parse Location header {shown:?}: parse {shown:?}: {why}"));
        let base = self.base().ok_or_else(|| malformed("the URL it is relative to is none"))?;
        let mut next = base.join(location).map_err(|e| malformed(&e.to_string()))?;
        next.set_fragment(None);
        next.as_str().parse().map_err(|e: uri::InvalidUri| malformed(&e.to_string()))
    }

    /// The current URL with its user, which a relative redirect keeps.
    fn base(&self) -> Option<Url> {
        let mut base = Url::parse(&self.current.to_string()).ok()?;
        if let Some((user, password)) = &self.user {
            base.set_username(user).ok()?;
            base.set_password(Some(password.as_str()).filter(|password| !password.is_empty())).ok()?;
        }
        Some(base)
    }

    /// A request that failed here.
    pub(super) fn failed(&self, reason: ClientError) -> Unanswered {
        Unanswered { reason, elsewhere: self.location.as_ref().map(|_| self.current.to_string()) }
    }

    /// One redirect too many. Go names it as the `Location` was written.
    pub(super) fn too_many(&self) -> Unanswered {
        let reason = ClientError(format!("stopped after {MAX_REQUESTS} redirects"));
        Unanswered { reason, elsewhere: self.location.as_deref().map(without_user) }
    }
}

/// A URL as it may be shown.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}//{host}{path}")
}

fn host_of(uri: &Uri) -> String {
    uri.host().unwrap_or_default().to_ascii_lowercase()
}

/// Whether `host` is `parent` or a subdomain of it (Go's `isDomainOrSubdomain`).
fn is_same_or_below(host: &str, parent: &str) -> bool {
    // An IPv6 address has no subdomains.
    host == parent || (!host.contains(':') && host.strip_suffix(parent).is_some_and(|below| below.ends_with('.')))
}

/// A URL without its user, and the user.
fn split_user(from: Uri) -> Result<(Uri, Option<(String, String)>), ClientError> {
    match from.scheme_str() {
        Some("http" | "https") => {}
        other => return Err(ClientError(format!("unsupported protocol scheme {:?}", other.unwrap_or_default()))),
    }
    let authority = from.authority().map_or("", uri::Authority::as_str);
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((from, None)) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = (decoded(name), decoded(password));
    let without = uri::Authority::try_from(host).map_err(|_| ClientError("http: no Host in request URL".to_owned()))?;
    let mut parts = from.into_parts();
    parts.authority = Some(without);
    let uri = Uri::from_parts(parts).map_err(|_| ClientError("http: no Host in request URL".to_owned()))?;
    Ok((uri, Some(user)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_may_follow_to_the_same_host_and_below_it_only() {
        for (host, parent, may) in [
            ("example.com", "example.com", true),
            ("metrics.example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("example.com", "metrics.example.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", false),
        ] {
            assert_eq!(is_same_or_below(host, parent), may, "{host} {parent}");
        }
    }

    #[test]
    fn a_urls_user_is_decoded_and_taken_out() {
        let hops = Hops::from("http://me:p%40ss@host:9100/metrics?a=b".parse().unwrap()).unwrap();
        assert_eq!(hops.user(), Some(("me", "p@ss")));
        assert_eq!(hops.current().to_string(), "http://host:9100/metrics?a=b");
    }

    #[test]
    fn once_a_redirect_has_left_the_host_no_later_one_brings_the_credentials_back() {
        let to = |location: &str| Response::builder().status(302).header("location", location).body(()).unwrap();
        let mut hops = Hops::from("http://a.example/metrics".parse().unwrap()).unwrap();
        assert!(hops.follow(&to("/other?x=1")).unwrap());
        assert_eq!(hops.current().to_string(), "http://a.example/other?x=1");
        assert!(!hops.have_left_the_host());
        assert!(hops.follow(&to("//b.example/")).unwrap());
        assert!(hops.have_left_the_host());
        assert!(hops.follow(&to("http://a.example/")).unwrap());
        assert!(hops.have_left_the_host());
    }

    #[test]
    fn what_is_no_redirect_or_names_no_place_is_an_answer() {
        let mut hops = Hops::from("http://a.example/".parse().unwrap()).unwrap();
        assert!(!hops.follow(&Response::builder().status(302).body(()).unwrap()).unwrap());
        assert!(!hops.follow(&Response::builder().status(302).header("location", "").body(()).unwrap()).unwrap());
        assert!(!hops.follow(&Response::builder().status(200).header("location", "/x").body(()).unwrap()).unwrap());
    }

    #[test]
    fn a_failure_names_where_a_redirect_led_and_no_password() {
        let to = |location: &str| Response::builder().status(302).header("location", location).body(()).unwrap();
        let failed = |hops: &Hops| hops.failed(ClientError("EOF".to_owned())).elsewhere;
        let mut hops = Hops::from("http://a.example/metrics".parse().unwrap()).unwrap();
        assert_eq!(failed(&hops), None);
        hops.follow(&to("//u:secret@b.example/x?y")).unwrap();
        assert_eq!(failed(&hops).unwrap(), "http://b.example/x?y");
        assert_eq!(hops.too_many().elsewhere.unwrap(), "//b.example/x?y");
        let malformed = hops.follow(&to("http://[::1/")).unwrap_err();
        assert!(malformed.to_string().starts_with("failed to parse Location header \"http://[::1/\": parse "));
        let ftp = hops.follow(&to("ftp://u:secret@c.example/")).unwrap_err();
        assert_eq!(ftp.elsewhere.unwrap(), "ftp://c.example/");
    }

    #[test]
    fn a_relative_redirect_keeps_the_urls_user_and_an_absolute_one_does_not() {
        let to = |location: &str| Response::builder().status(302).header("location", location).body(()).unwrap();
        let mut hops = Hops::from("http://me:p%40ss@a.example/".parse().unwrap()).unwrap();
        assert!(hops.follow(&to("/x")).unwrap());
        assert_eq!(hops.user(), Some(("me", "p@ss")));
        assert_eq!(hops.referer().unwrap(), "http://a.example/");
        assert!(hops.follow(&to("http://a.example/y")).unwrap());
        assert_eq!(hops.user(), None);
        assert!(hops.follow(&to("https://u@a.example/z")).unwrap());
        assert_eq!(hops.user(), Some(("u", "")));
    }

    #[test]
    fn a_plain_server_is_not_told_where_we_were_over_tls() {
        let to = |location: &str| Response::builder().status(302).header("location", location).body(()).unwrap();
        let mut hops = Hops::from("https://a.example/secret".parse().unwrap()).unwrap();
        assert!(hops.follow(&to("https://b.example/")).unwrap());
        assert_eq!(hops.referer().unwrap(), "https://a.example/secret");
        assert!(hops.follow(&to("http://c.example/")).unwrap());
        assert_eq!(hops.referer(), None);
    }

    #[test]
    fn a_location_that_leads_nowhere_is_shown_without_its_password() {
        let to = |location: &str| Response::builder().status(302).header("location", location).body(()).unwrap();
        let mut hops = Hops::from("http://a.example/".parse().unwrap()).unwrap();
        let failed = hops.follow(&to("http://u:pw@[bad")).unwrap_err();
        let expected = "failed to parse Location header \"http://u:xxxxx@[bad\": parse \"http://u:xxxxx@[bad\": ";
        assert!(failed.to_string().starts_with(expected), "{failed}");
    }

    #[test]
    fn only_http_is_spoken() {
        let refused = Hops::from("ftp://host/".parse().unwrap()).err().unwrap();
        assert_eq!(refused.to_string(), "unsupported protocol scheme \"ftp\"");
    }
}
