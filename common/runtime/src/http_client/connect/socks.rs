//! Through a SOCKS5 proxy (RFC 1928, RFC 1929), as Go's `net/http` does: the proxy looks names up.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ConnectError, Endpoint, Stream};
use crate::http_client::{failure, proxy::ProxyServer};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Has the proxy connect to the target; what follows on the stream is the target's.
pub(super) async fn connect(
    stream: &mut impl Stream,
    proxy: &ProxyServer,
    target: &Endpoint,
) -> Result<(), ConnectError> {
    let way = |why: String| ConnectError(format!("socks connect tcp {}->{target}: {why}", proxy.endpoint));
    agree(stream, proxy).await.map_err(way)?;
    ask_for(stream, target).await.map_err(way)
}

async fn agree(stream: &mut impl Stream, proxy: &ProxyServer) -> Result<(), String> {
    let offer: &[u8] = match proxy.user {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(offer).await.map_err(|e| failure::of_a_connection(&e))?;
    let [version, method] = read(stream).await?;
    check_version(version)?;
    match (method, &proxy.user) {
        (NONE_ACCEPTABLE, _) => Err("no acceptable authentication methods".to_owned()),
        (NO_AUTHENTICATION, _) => Ok(()),
        (USER_AND_PASSWORD, Some((user, password))) => log_in(stream, user, password).await,
        (other, _) => Err(format!("unsupported authentication method {other}")),
    }
}

async fn log_in(stream: &mut impl Stream, user: &str, password: &str) -> Result<(), String> {
    let bad_length = || "invalid username/password".to_owned();
    if user.is_empty() {
        return Err(bad_length());
    }
    let mut message = vec![PASSWORD_VERSION];
    for text in [user, password] {
        message.push(u8::try_from(text.len()).map_err(|_| bad_length())?);
        message.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&message).await.map_err(|e| failure::of_a_connection(&e))?;
    match read(stream).await? {
        [PASSWORD_VERSION, 0] => Ok(()),
        [PASSWORD_VERSION, _] => Err("username/password authentication failed".to_owned()),
        [_, _] => Err("invalid username/password version".to_owned()),
    }
}

async fn ask_for(stream: &mut impl Stream, target: &Endpoint) -> Result<(), String> {
    let mut message = vec![VERSION, CONNECT, 0];
    match target.host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend_from_slice(&address.octets());
        }
        Err(_) => {
            message.push(NAME);
            message.push(u8::try_from(target.host.len()).map_err(|_| "FQDN too long")?);
            message.extend_from_slice(target.host.as_bytes());
        }
    }
    message.extend_from_slice(&target.port.to_be_bytes());
    stream.write_all(&message).await.map_err(|e| failure::of_a_connection(&e))?;

    let [version, reply, reserved, kind] = read(stream).await?;
    check_version(version)?;
    if reply != 0 {
        return Err(format!("unknown error {}", reason(reply)));
    }
    if reserved != 0 {
        return Err("non-zero reserved field".to_owned());
    }
    // Where the proxy sends from, which nobody needs to know.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1>(stream).await?[0]),
        other => return Err(format!("unknown address type {other}")),
    };
    let mut address_and_port = vec![0; length + 2];
    stream.read_exact(&mut address_and_port).await.map_err(|e| failure::of_a_connection(&e))?;
    Ok(())
}

async fn read<const N: usize>(stream: &mut impl Stream) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|e| failure::of_a_connection(&e))?;
    Ok(bytes)
}

fn check_version(version: u8) -> Result<(), String> {
    if version == VERSION { Ok(()) } else { Err(format!("unexpected protocol version {version}")) }
}

fn reason(reply: u8) -> String {
    match reply {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        other => return format!("unknown code: {other}"),
    }
    .to_owned()
}
