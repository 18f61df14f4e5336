//! From the records of a name to its target group.

use std::net::{IpAddr, Ipv6Addr};

use hickory_proto::rr::{RData, Record, RecordType};
use narthex_common::labels::{ADDRESS, Labels};

use super::{super::group::TargetGroup, name};

/// The name as the config has it.
const NAME: &str = "__meta_dns_name";
/// The host of an `SRV` record, with a dot at its end.
const SRV_TARGET: &str = "__meta_dns_srv_record_target";
/// The port of an `SRV` record.
const SRV_PORT: &str = "__meta_dns_srv_record_port";
/// The host of an `MX` record, with a dot at its end.
const MX_TARGET: &str = "__meta_dns_mx_record_target";
/// The host of an `NS` record, with a dot at its end.
const NS_TARGET: &str = "__meta_dns_ns_record_target";

/// A target for every record that is an address or names a host. Its source is the name, so that no records take back
/// what was there before.
pub(super) fn group_of(name: &str, records: &[Record], port: u64) -> TargetGroup {
    let targets = records.iter().filter_map(|record| target_of(name, record, port)).collect();
    TargetGroup { source: name.to_owned(), labels: Labels::default(), targets }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of records grows; the others make no target")]
fn target_of(name: &str, record: &Record, port: u64) -> Option<Labels> {
    let (address, labels) = match &record.data {
        RData::SRV(srv) => {
            let host = name::write(&srv.target);
            let address = join(host.trim_end_matches('.'), u64::from(srv.port));
            (address, vec![(SRV_TARGET, host), (SRV_PORT, srv.port.to_string())])
        }
        RData::MX(mx) => of_host(&mx.exchange, port, MX_TARGET),
        RData::NS(ns) => of_host(ns, port, NS_TARGET),
        RData::A(a) => (join(&a.to_string(), port), Vec::new()),
        RData::AAAA(aaaa) => (join(&as_go_writes_it(aaaa.0), port), Vec::new()),
        other => {
            // A name that stands for another one is answered with that, too.
            if other.record_type() != RecordType::CNAME {
                tracing::debug!(name, record = %other.record_type(), "dns_sd: a record that makes no target");
            }
            return None;
        }
    };
    Some([(ADDRESS, address), (NAME, name.to_owned())].into_iter().chain(labels).collect())
}

fn of_host(host: &hickory_proto::rr::Name, port: u64, label: &'static str) -> (String, Vec<(&'static str, String)>) {
    let host = name::write(host);
    (join(host.trim_end_matches('.'), port), vec![(label, host)])
}

/// An IPv4 address in disguise is written as one.
fn as_go_writes_it(address: Ipv6Addr) -> String {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4).to_string()
}

fn join(host: &str, port: u64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{
        Name,
        rdata::{A, AAAA, CNAME, MX, NS, SRV, TXT},
    };

    use super::*;

    fn labels(data: RData) -> Option<Vec<(String, String)>> {
        let record = Record::from_rdata(Name::root(), 60, data);
        let group = group_of("a.b", &[record], 9100);
        assert_eq!(group.source, "a.b");
        group.targets.first().map(|labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    fn expected(address: &str, others: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let all = [(ADDRESS, address)].into_iter().chain(others.iter().copied()).chain([(NAME, "a.b")]);
        let labels: Labels = all.collect();
        Some(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn every_kind_of_record_makes_its_target() {
        let host = || name::read("h.example").unwrap();
        assert_eq!(
            labels(RData::SRV(SRV::new(1, 2, 8080, host()))),
            expected("h.example:8080", &[(SRV_TARGET, "h.example."), (SRV_PORT, "8080")])
        );
        assert_eq!(labels(RData::MX(MX::new(10, host()))), expected("h.example:9100", &[(MX_TARGET, "h.example.")]));
        assert_eq!(labels(RData::NS(NS(host()))), expected("h.example:9100", &[(NS_TARGET, "h.example.")]));
        assert_eq!(labels(RData::A(A::new(10, 0, 0, 1))), expected("10.0.0.1:9100", &[]));
        let aaaa = |text: &str| RData::AAAA(AAAA(text.parse().unwrap()));
        assert_eq!(labels(aaaa("2001:db8::1")), expected("[2001:db8::1]:9100", &[]));
        assert_eq!(labels(aaaa("::ffff:10.0.0.1")), expected("10.0.0.1:9100", &[]));
    }

    #[test]
    fn other_records_make_none() {
        assert_eq!(labels(RData::CNAME(CNAME(Name::root()))), None);
        assert_eq!(labels(RData::TXT(TXT::new(vec!["x".into()]))), None);
    }
}
