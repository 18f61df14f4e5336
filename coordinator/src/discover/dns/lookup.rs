//! Looking a name up: which of the names it may stand for is there, and which server says so.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use narthex_common::config::scrape::DnsRecords;

use super::{
    ask::{Transport, ask},
    name,
    resolv_conf::ResolvConf,
};

/// The records of a name: those of the first full name it may stand for that exists. None when servers say of all of
/// them that they do not exist.
///
/// # Errors
/// When no name exists, and of at least one nobody could say so. Then there may be records.
pub(super) async fn look_up(conf: &ResolvConf, name: &str, records: DnsRecords) -> Result<Vec<Record>, String> {
    let mut failures = Vec::new();
    for candidate in conf.candidates(name) {
        match ask_any_server(conf, &candidate, type_of(records)).await {
            Ok(answer) if answer.metadata.response_code == ResponseCode::NoError => return Ok(answer.answers),
            Ok(_there_is_no_such_name) => {}
            Err(why) => failures.push(format!("{candidate} {why}")),
        }
    }
    if failures.is_empty() {
        return Ok(Vec::new());
    }
    Err(format!(
        "could not resolve {name:?}: all servers responded with errors to at least one search domain ({})",
        failures.join("; ")
    ))
}

/// The first answer that says whether a name exists, of whichever server.
async fn ask_any_server(conf: &ResolvConf, name: &str, records: RecordType) -> Result<Message, String> {
    let name = name::read(name)?;
    let mut transport = Transport::Udp;
    let mut failures = Vec::new();
    for server in &conf.servers {
        let why = match ask(server, &name, records, &mut transport).await {
            Ok(answer) => {
                let code = answer.metadata.response_code;
                if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                    return Ok(answer);
                }
                code.to_str().to_owned()
            }
            Err(why) => why,
        };
        failures.push(format!("{}: {why}", server.host));
    }
    Err(if failures.is_empty() { "there is no server to ask".to_owned() } else { failures.join(", ") })
}

const fn type_of(records: DnsRecords) -> RecordType {
    match records {
        DnsRecords::Srv => RecordType::SRV,
        DnsRecords::A => RecordType::A,
        DnsRecords::Aaaa => RecordType::AAAA,
        DnsRecords::Mx => RecordType::MX,
        DnsRecords::Ns => RecordType::NS,
    }
}
