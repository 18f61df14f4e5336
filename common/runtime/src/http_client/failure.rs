//! Why a request got no answer, in Go's words: users know them from Prometheus' `lastError`, and search the web for them.

use std::{error::Error, io, net::IpAddr, path::Path};

use hyper_util::client::legacy;
use narthex_common::time::Timestamp;
use rustls::{CertificateError, InvalidMessage, pki_types::UnixTime};

use super::{
    ClientError,
    connect::{Broken, ConnectError},
};

/// The text of a failed request.
pub(super) fn of_a_request(failure: &legacy::Error) -> ClientError {
    one_line(&failure.source().map_or_else(|| failure.to_string(), first_known))
}

/// The text of a connection that broke.
pub(super) fn of_a_connection(failure: &io::Error) -> String {
    first_known(failure)
}

/// The first cause in a chain for which Go has words, or else the deepest one.
fn first_known(failure: &(dyn Error + 'static)) -> String {
    let mut current = failure;
    loop {
        if let Some(text) = in_gos_words(current) {
            return text;
        }
        let next = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An io::Error made of another error is that error: its `source` would skip it.
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
        match next {
            Some(deeper) => current = deeper,
            None => return current.to_string(),
        }
    }
}

/// Whether an answer came that is no HTTP.
pub(super) fn is_malformed_answer(failure: &legacy::Error) -> bool {
    failure.source().and_then(<dyn Error>::downcast_ref::<hyper::Error>).is_some_and(hyper::Error::is_parse)
}

/// A text as the one line that an error is.
pub(super) fn one_line(text: &str) -> ClientError {
    ClientError(text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

fn in_gos_words(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<ConnectError>() {
        return Some(failure.to_string());
    }
    if let Some(failure) = cause.downcast_ref::<Broken>() {
        return Some(failure.to_string());
    }
    if let Some(failure) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls(failure));
    }
    if let Some(failure) = cause.downcast_ref::<hyper::Error>() {
        if failure.is_incomplete_message() {
            return Some("EOF".to_owned());
        }
        return failure
            .is_parse()
            .then(|| "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned());
    }
    let failure = cause.downcast_ref::<io::Error>()?;
    if failure.kind() == io::ErrorKind::UnexpectedEof {
        return Some("EOF".to_owned());
    }
    let doing = if failure.kind() == io::ErrorKind::BrokenPipe { "write" } else { "read" };
    failure.raw_os_error().map(|_| format!("{doing}: {}", words(failure)))
}

/// A failure of TLS, as Go's `crypto/tls` and `crypto/x509` say it.
pub(super) fn tls(failure: &rustls::Error) -> String {
    use rustls::Error as Tls;
    #[expect(clippy::wildcard_enum_match_arm, reason = "what Go has no other words for is said in rustls' own")]
    match failure {
        Tls::InvalidCertificate(why) => format!("tls: failed to verify certificate: x509: {}", certificate(why)),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Tls::AlertReceived(description) => alert(&format!("{description:?}")),
        Tls::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
        other => format!("tls: {other}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what Go has no other words for is said in rustls' own")]
    match why {
        // A bad signature is what another authority of the same name leaves. Go says it in the same words.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::NotValidYet => NOT_NOW.to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{NOT_NOW}: current time {} is after {}", in_seconds(*time), in_seconds(*not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{NOT_NOW}: current time {} is before {}", in_seconds(*time), in_seconds(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => wrong_name(&expected.to_str(), presented),
        other => other.to_string(),
    }
}

const NOT_NOW: &str = "certificate has expired or is not yet valid";

/// RFC 3339 without a fraction.
fn in_seconds(time: UnixTime) -> String {
    let millis = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp(millis).to_string().replace(".000Z", "Z")
}

/// Go's `x509.HostnameError`, which names what is of the same kind as what was asked for.
fn wrong_name(expected: &str, presented: &[String]) -> String {
    let is_address = expected.parse::<IpAddr>().is_ok();
    // rustls shows each name in a wrapping such as `DnsName("localhost")`.
    let wrapping = if is_address { "IpAddress(" } else { "DnsName(" };
    let bare = |name: &String| Some(name.strip_prefix(wrapping)?.trim_end_matches(')').trim_matches('"').to_owned());
    let presented = presented.iter().filter_map(bare).collect::<Vec<_>>().join(", ");
    match (presented.is_empty(), is_address) {
        (false, _) => format!("certificate is valid for {presented}, not {expected}"),
        (true, true) => format!("cannot validate certificate for {expected} because it doesn't contain any IP SANs"),
        (true, false) => format!("certificate is not valid for any names, but wanted to match {expected}"),
    }
}

/// What the other side complains of, in the words of Go's `alertText`.
fn alert(name: &str) -> String {
    let text = match name {
        "BadCertificate" => "bad certificate",
        "CertificateRequired" => "certificate required",
        "UnknownCA" => "unknown certificate authority",
        "CertificateExpired" => "expired certificate",
        "CertificateUnknown" => "unknown certificate",
        "HandshakeFailure" => "handshake failure",
        "ProtocolVersion" => "protocol version not supported",
        "UnrecognisedName" => "unrecognized name",
        "AccessDenied" => "access denied",
        other => other,
    };
    format!("remote error: tls: {text}")
}

/// An error of the system as Go prints it: `connection refused`, not `Connection refused (os error 111)`.
pub(super) fn words(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Why a file could not be opened: `open /path: no such file or directory`.
pub(super) fn open(path: &Path, e: &io::Error) -> String {
    format!("open {}: {}", path.display(), words(e))
}

/// Why a name was not found.
pub(super) fn lookup(e: &io::Error) -> String {
    let text = e.to_string();
    if ["Name or service not known", "No address associated with hostname"].iter().any(|known| text.contains(known)) {
        return "no such host".to_owned();
    }
    text.rsplit(": ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_read_as_gos_do() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::from_raw_os_error(113)), "no route to host");
        let missing = open(Path::new("/etc/ca.pem"), &io::Error::from_raw_os_error(2));
        assert_eq!(missing, "open /etc/ca.pem: no such file or directory");
    }

    #[test]
    fn a_certificate_that_is_not_valid_now_says_when_now_is() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let over = CertificateError::ExpiredContext { time: at(86_400), not_after: at(3_600) };
        assert_eq!(
            certificate(&over),
            "certificate has expired or is not yet valid: current time 1970-01-02T00:00:00Z is after 1970-01-01T01:00:00Z"
        );
    }

    #[test]
    fn a_name_that_does_not_exist_reads_as_go_says_it() {
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(lookup(&unknown), "no such host");
        let later = io::Error::other("failed to lookup address information: Temporary failure in name resolution");
        assert_eq!(lookup(&later), "Temporary failure in name resolution");
    }

    #[test]
    fn a_certificate_for_another_name_names_what_it_is_for() {
        let presented = ["DnsName(\"localhost\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let (names, addresses) = presented.split_at(1);
        assert_eq!(wrong_name("a.example", &presented), "certificate is valid for localhost, not a.example");
        assert_eq!(wrong_name("10.0.0.1", &presented), "certificate is valid for 127.0.0.1, not 10.0.0.1");
        assert_eq!(
            wrong_name("10.0.0.1", names),
            "cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs"
        );
        assert_eq!(
            wrong_name("a.example", addresses),
            "certificate is not valid for any names, but wanted to match a.example"
        );
    }
}
