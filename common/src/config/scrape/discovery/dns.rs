//! `dns_sd_configs`

use super::{
    super::{
        super::{
            PromDuration,
            fields::{Fault, Fields},
            yaml::Node,
        },
        DnsRecords, DnsSdConfig,
    },
    refresh_interval,
};
use crate::semantics::PrometheusVersion;

pub(super) fn read(node: &Node, version: PrometheusVersion) -> Result<DnsSdConfig, Fault> {
    let fields = Fields::of(node, "dns.plain")?;
    let names = fields.strings("names")?;
    let refresh_interval = refresh_interval(&fields, PromDuration::from_secs(30))?;
    let kind = fields.string("type", "SRV")?;
    let port = fields.u64("port")?;
    let [names_line, type_line] = ["names", "type"].map(|field| fields.line_of(field));
    fields.finish()?;
    if names.is_empty() {
        return Err(Fault::new(names_line, "DNS-SD config must contain at least one SRV record name"));
    }
    let records = match kind.to_uppercase().as_str() {
        "SRV" => DnsRecords::Srv,
        "A" => DnsRecords::A,
        "AAAA" => DnsRecords::Aaaa,
        "MX" => DnsRecords::Mx,
        "NS" if version.looks_up_name_servers() => DnsRecords::Ns,
        _ => return Err(Fault::new(type_line, format!("invalid DNS-SD records type {kind}"))),
    };
    if port == 0 && records != DnsRecords::Srv {
        return Err(Fault::new(type_line, "a port is required in DNS-SD configs for all record types except SRV"));
    }
    Ok(DnsSdConfig { names, records, port, refresh_interval })
}
