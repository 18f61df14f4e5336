//! What goes through the Unix socket in the store: short lines, one of which comes with descriptors.

use std::{
    fs,
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    cmsg_space,
    fs::{Mode, OFlags},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use tokio::{
    io::{AsyncReadExt as _, Interest},
    net::{UnixListener, UnixStream},
};

use super::holdings::{Given, Holdings};

/// Longer than any line.
const LINE: usize = 64;

/// The socket's path, short whatever the store's is: the path of a Unix socket has room for 107 bytes.
struct Address {
    _directory: OwnedFd,
    path: PathBuf,
}

impl Address {
    fn within(store: &Path) -> io::Result<Self> {
        let directory = rustix::fs::open(store, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/replace.sock", directory.as_raw_fd()));
        Ok(Self { _directory: directory, path })
    }
}

pub(super) async fn connect(store: &Path) -> io::Result<UnixStream> {
    let address = Address::within(store)?;
    UnixStream::connect(&address.path).await
}

/// Listens in a store that is this process' own, in the place of whoever listened there before.
pub(super) fn listen(store: &Path) -> io::Result<UnixListener> {
    let address = Address::within(store)?;
    match fs::remove_file(&address.path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(&address.path)
}

/// The next line, with its end; what there is of it when the other end is closed.
pub(super) async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while line.len() < LINE && !line.ends_with(b"\n") {
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Sends a line, and with it lock and sockets.
pub(super) async fn give(stream: &UnixStream, line: &str, holdings: &Holdings) -> io::Result<()> {
    let descriptors = [holdings.store.lock(), holdings.proxy.as_fd(), holdings.api.as_fd()];
    let send = || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?)
    };
    let sent = stream.async_io(Interest::WRITABLE, send).await?;
    if sent < line.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
}

/// Receives a line and what comes with it; nothing when it is another line, or comes without.
pub(super) async fn take(stream: &UnixStream, expected: &str) -> io::Result<Option<Given>> {
    let receive = || {
        let mut line = [0; LINE];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        // Closed on exec: Prometheus is to have none of them.
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut line)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok((line.starts_with(expected.as_bytes()) && received.bytes == expected.len(), descriptors))
    };
    let (is_expected, descriptors) = stream.async_io(Interest::READABLE, receive).await?;
    let Ok([lock, proxy, api]) = <[OwnedFd; 3]>::try_from(descriptors) else { return Ok(None) };
    let listener = |descriptor: OwnedFd| -> io::Result<TcpListener> {
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let given = Given { lock, proxy: listener(proxy)?, api: listener(api)? };
    Ok(is_expected.then_some(given))
}
