//! Through an HTTP proxy's tunnel (RFC 9110, 9.3.6): what is encrypted goes by CONNECT.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ConnectError, Endpoint, Stream};
use crate::http_client::{
    failure,
    proxy::{ConnectHeaders, ProxyServer},
};

/// Go's limit: a proxy may have to go a long way.
const TUNNEL_TAKES_AT_MOST: Duration = Duration::from_secs(60);
/// More than any proxy has to say before the tunnel begins.
const MAX_HEAD: usize = 64 << 10;

/// Has the proxy open a tunnel to the target; what follows on the stream is the target's.
pub(super) async fn open(
    stream: &mut impl Stream,
    proxy: &ProxyServer,
    target: &Endpoint,
    headers: &ConnectHeaders,
) -> Result<(), ConnectError> {
    let opening = async {
        stream.write_all(&request(proxy, target, headers)).await.map_err(broken)?;
        check(&read_head(stream).await?)
    };
    match tokio::time::timeout(TUNNEL_TAKES_AT_MOST, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::new("context deadline exceeded")),
    }
}

fn request(proxy: &ProxyServer, target: &Endpoint, headers: &ConnectHeaders) -> Vec<u8> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    let own = proxy.authorization();
    for (name, value) in headers.iter() {
        if own.is_none() || !name.eq_ignore_ascii_case("proxy-authorization") {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
    }
    if let Some(own) = own {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(own.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The answer up to the empty line. Nothing can follow that is ours: a TLS server waits until it is spoken to.
async fn read_head(stream: &mut impl Stream) -> Result<Vec<u8>, ConnectError> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            return Err(ConnectError::new("net/http: server response headers exceeded 65536 bytes; aborted"));
        }
        if stream.read_buf(&mut head).await.map_err(broken)? == 0 {
            return Err(ConnectError::new(if head.is_empty() { "EOF" } else { "unexpected EOF" }));
        }
    }
    Ok(head)
}

/// Whether the tunnel is open. If not, what the proxy's status line says is the reason: Go shows nothing else.
fn check(head: &[u8]) -> Result<(), ConnectError> {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let malformed = || ConnectError(format!("malformed HTTP response {line:?}"));
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?.1.trim();
    let (code, text) = status.split_once(' ').unwrap_or((status, ""));
    match code.parse::<u16>() {
        Ok(200) => Ok(()),
        Ok(code) if text.is_empty() => Err(ConnectError(format!("the proxy answers with status {code}"))),
        Ok(_) => Err(ConnectError::new(text.trim())),
        Err(_) => Err(malformed()),
    }
}

fn broken(e: std::io::Error) -> ConnectError {
    ConnectError(failure::of_a_connection(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_status_line_says_why_there_is_no_tunnel() {
        let said = |head: &str| check(head.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(said("HTTP/1.1 200 Connection established\r\n\r\n"), Ok(()));
        assert_eq!(said("HTTP/1.0 200\r\n\r\n"), Ok(()));
        assert_eq!(said("HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n"), Err("Forbidden".to_owned()));
        assert_eq!(said("HTTP/1.1 599 \r\n\r\n"), Err("the proxy answers with status 599".to_owned()));
        assert_eq!(said("SSH-2.0\r\n\r\n"), Err("malformed HTTP response \"SSH-2.0\"".to_owned()));
    }
}
