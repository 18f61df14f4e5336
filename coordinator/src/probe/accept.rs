//! The `Accept` header Prometheus sends with a job's scrapes (`scrape/scrape.go`, `acceptHeader`).

use narthex_common::{config::ScrapeConfig, semantics::PrometheusVersion};

/// The protocols a config may name, with what asks for them.
const PROTOCOLS: [(&str, &str); 5] = [
    ("PrometheusProto", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
    ("OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0"),
    ("OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1"),
    ("PrometheusText1.0.0", "text/plain;version=1.0.0"),
    ("PrometheusText0.0.4", "text/plain;version=0.0.4"),
];

/// What a job's scrapes accept, the most wanted first.
pub(super) fn accept_header(job: &ScrapeConfig, version: PrometheusVersion) -> String {
    header(&job.scrape_protocols, &job.metric_name_escaping_scheme, version)
}

fn header(wanted: &[String], escaping: &str, version: PrometheusVersion) -> String {
    let mut quality = PROTOCOLS.len() + 1;
    let mut accepted = String::new();
    for name in wanted {
        let Some((_, media_type)) = PROTOCOLS.iter().find(|(known, _)| known == name) else { continue };
        accepted.push_str(media_type);
        // The formats that can carry any UTF-8 name say how names are to be made plain.
        if version.is_3_or_later() && name.ends_with("Text1.0.0") {
            accepted.push_str(";escaping=");
            accepted.push_str(if escaping.is_empty() { "allow-utf-8" } else { escaping });
        }
        accepted.push_str(&format!(";q=0.{quality},"));
        quality -= 1;
    }
    accepted.push_str(&format!("*/*;q=0.{quality}"));
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_is_prometheus_own() {
        let wanted = ["PrometheusProto", "OpenMetricsText1.0.0", "PrometheusText0.0.4"].map(str::to_owned);
        assert_eq!(
            header(&wanted, "underscores", PrometheusVersion::V3_5),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,\
             text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
        );
    }

    #[test]
    fn a_prometheus_without_utf_8_names_asks_for_no_escaping() {
        let wanted = ["OpenMetricsText1.0.0"].map(str::to_owned);
        assert_eq!(
            header(&wanted, "", PrometheusVersion::V2_42),
            "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.5"
        );
    }

    /// Prometheus' own cases, where that data is at hand.
    #[test]
    fn prometheus_own_cases_hold() {
        let folder = std::env::var("NARTHEX_CONFORMANCE")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{folder}/target_labels.json")) else {
            println!("skipped: no conformance data");
            return;
        };
        let data: serde_json::Value = serde_json::from_str(&text).unwrap();
        for case in data["accept_header"].as_array().unwrap() {
            let wanted: Vec<String> = serde_json::from_value(case["scrape_protocols"].clone()).unwrap();
            let accepted = header(&wanted, case["escaping"].as_str().unwrap(), PrometheusVersion::V3_5);
            assert_eq!(accepted, case["expected_accept"].as_str().unwrap(), "{}", case["name"]);
        }
    }
}
