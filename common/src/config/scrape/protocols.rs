//! `scrape_protocols`: the formats a target is asked for, most wanted first.

use super::super::fields::{Fault, Fields};

/// What is asked for when the config does not say.
const DEFAULT: [&str; 4] =
    ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];

/// The only format that carries native histograms.
const PROTOBUF: &str = "PrometheusProto";

/// The list as written; none when it is not.
pub(in super::super) fn read(fields: &Fields<'_>) -> Result<Option<Vec<String>>, Fault> {
    fields.get_filled("scrape_protocols").map(|_| fields.strings("scrape_protocols")).transpose()
}

/// The list when neither job nor `global` have one.
pub(super) fn default_protocols(native_histograms: bool) -> Vec<String> {
    let first = native_histograms.then_some(PROTOBUF);
    first.into_iter().chain(DEFAULT).map(str::to_owned).collect()
}

/// Whether Prometheus takes the list.
pub(in super::super) fn check(protocols: &[String]) -> Result<(), String> {
    if protocols.is_empty() {
        return Err("scrape_protocols cannot be empty".into());
    }
    for (i, protocol) in protocols.iter().enumerate() {
        if protocols[..i].iter().any(|earlier| earlier.eq_ignore_ascii_case(protocol)) {
            return Err(format!("duplicated protocol in scrape_protocols, got [{}]", protocols.join(" ")));
        }
        check_one(protocol).map_err(|bad| format!("scrape_protocols: {bad}"))?;
    }
    Ok(())
}

/// Whether there is such a protocol.
pub(super) fn check_one(protocol: &str) -> Result<(), String> {
    if protocol == PROTOBUF || DEFAULT.contains(&protocol) {
        return Ok(());
    }
    let mut supported = DEFAULT.to_vec();
    supported.push(PROTOBUF);
    supported.sort_unstable();
    Err(format!("unknown scrape protocol {protocol}, supported: [{}]", supported.join(" ")))
}
