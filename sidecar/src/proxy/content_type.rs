//! Which format Prometheus takes a scrape body for.

use narthex_common::semantics::PrometheusVersion;

use super::routes::JobRoute;

/// The content type that a body is parsed by; otherwise why Prometheus refuses to parse it, in its words.
///
/// 2.x takes whatever it does not know for text. From 3.0 a body needs a type that Prometheus knows, or a job with
/// `fallback_scrape_protocol` (`model/textparse/interface.go`).
///
/// # Errors
/// When Prometheus would not parse the body.
pub(super) fn as_prometheus_reads_it(announced: &str, job: &JobRoute) -> Result<String, String> {
    read(announced, job.fallback_protocol.as_deref(), job.version)
}

fn read(announced: &str, fallback: Option<&str>, version: PrometheusVersion) -> Result<String, String> {
    let media_type = announced.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ["text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"];
    if known.contains(&media_type.as_str()) || !version.is_3_or_later() {
        return Ok(announced.to_owned());
    }
    match fallback {
        Some(protocol) => Ok(content_type_of(protocol).to_owned()),
        None if announced.is_empty() => Err("non-compliant scrape target sending blank Content-Type and no \
             fallback_scrape_protocol specified for target"
            .into()),
        None if malformed(&media_type).is_some() => Err(format!(
            "cannot parse Content-Type {announced:?} and no fallback_scrape_protocol for target\n{}",
            malformed(&media_type).unwrap_or_default()
        )),
        None => Err(format!(
            "received unsupported Content-Type {announced:?} and no fallback_scrape_protocol specified for target"
        )),
    }
}

/// What Go's `mime.ParseMediaType` finds wrong with a media type.
fn malformed(media_type: &str) -> Option<&'static str> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    let (kind, subtype) = match media_type.split_once('/') {
        Some((kind, subtype)) => (kind, Some(subtype)),
        None => (media_type, None),
    };
    match subtype {
        _ if kind.is_empty() => Some("mime: no media type"),
        _ if !is_token(kind) => Some("mime: expected slash after first token"),
        Some("") => Some("mime: expected token after slash"),
        Some(subtype) if !is_token(subtype) => Some("mime: unexpected content after media subtype"),
        Some(_) | None => None,
    }
}

/// The content type of a `scrape_protocols` entry.
fn content_type_of(protocol: &str) -> &'static str {
    match protocol {
        "PrometheusProto" => "application/vnd.google.protobuf",
        "OpenMetricsText0.0.1" | "OpenMetricsText1.0.0" => "application/openmetrics-text",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: PrometheusVersion = PrometheusVersion::V2_42;
    const V3: PrometheusVersion = PrometheusVersion::V3_5;

    #[test]
    fn prometheus_3_refuses_a_type_it_does_not_know_unless_the_job_has_a_fallback() {
        assert_eq!(
            read("text/html", None, V3).unwrap_err(),
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target"
        );
        assert_eq!(
            read("", None, V3).unwrap_err(),
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
        );
        assert_eq!(read("", Some("OpenMetricsText1.0.0"), V3).unwrap(), "application/openmetrics-text");
        assert_eq!(read("text/html", Some("PrometheusText0.0.4"), V3).unwrap(), "text/plain");
    }

    #[test]
    fn a_type_that_is_none_is_named_as_go_does() {
        let refused = |announced: &str| read(announced, None, V3).unwrap_err();
        assert_eq!(
            refused(";;;="),
            "cannot parse Content-Type \";;;=\" and no fallback_scrape_protocol for target\nmime: no media type"
        );
        assert!(refused("text/").ends_with("\nmime: expected token after slash"));
        assert!(refused("text html").ends_with("\nmime: expected slash after first token"));
        assert!(refused("text/x y").ends_with("\nmime: unexpected content after media subtype"));
        assert!(refused("text").starts_with("received unsupported Content-Type \"text\""));
    }

    #[test]
    fn prometheus_2_takes_what_it_does_not_know_for_text() {
        assert_eq!(read("", None, V2).unwrap(), "");
        assert_eq!(read("text/html", None, V2).unwrap(), "text/html");
    }

    #[test]
    fn a_known_type_is_read_with_its_parameters() {
        let announced = "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8";
        assert_eq!(read(announced, Some("PrometheusText0.0.4"), V3).unwrap(), announced);
    }
}
