//! Why a request got no answer, in Go's words: users know them from Prometheus' `lastError`, and search the web for them.

use std::{error::Error, io, path::Path};

use hyper_util::client::legacy;
use rustls::{CertificateError, InvalidMessage};

use super::{ClientError, dial::DialError};

/// The text of a failed request: the first cause in the chain for which Go has words, or else the deepest one.
pub(super) fn describe(failure: &legacy::Error) -> ClientError {
    let mut deepest = failure.to_string();
    let mut cause: Option<&(dyn Error + 'static)> = failure.source();
    while let Some(current) = cause {
        if let Some(text) = in_gos_words(current) {
            return one_line(&text);
        }
        deepest = current.to_string();
        cause = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An io::Error made of another error is that error: its `source` would skip it.
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    one_line(&deepest.strip_prefix("received fatal alert: ").map_or_else(|| deepest.clone(), alert))
}

/// Whether an answer came that is no HTTP.
pub(super) fn is_malformed_answer(failure: &legacy::Error) -> bool {
    failure.source().and_then(<dyn Error>::downcast_ref::<hyper::Error>).is_some_and(hyper::Error::is_parse)
}

fn one_line(text: &str) -> ClientError {
    ClientError(text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

fn in_gos_words(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<DialError>() {
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
    failure.raw_os_error().map(|_| format!("read: {}", words(failure)))
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
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!("certificate is not valid for any names, but wanted to match {expected}");
            }
            // rustls shows each name in a wrapping such as `DnsName("localhost")`.
            let bare = |name: &String| {
                let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
                inner.trim_matches('"').to_owned()
            };
            let presented = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
            format!("certificate is valid for {presented}, not {expected}")
        }
        other => other.to_string(),
    }
}

/// What the other side complains of, in the words of Go's `alertText`. Read from rustls' name of it, because over HTTP/2
/// its text is all that is left of the error.
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
    fn a_name_that_does_not_exist_reads_as_go_says_it() {
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(lookup(&unknown), "no such host");
        let later = io::Error::other("failed to lookup address information: Temporary failure in name resolution");
        assert_eq!(lookup(&later), "Temporary failure in name resolution");
    }

    #[test]
    fn a_certificate_for_another_name_names_both() {
        let why = CertificateError::NotValidForNameContext {
            expected: "example.com".try_into().unwrap(),
            presented: vec!["DnsName(\"localhost\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()],
        };
        assert_eq!(certificate(&why), "certificate is valid for localhost, 127.0.0.1, not example.com");
    }
}
