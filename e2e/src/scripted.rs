//! Targets that say exactly the bytes they are told to, when they are told to: what no HTTP server would do.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// The longest head of a request that is read.
const HEAD_BYTES: usize = 64 << 10;

/// What a target does once it has read a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes this.
    Say(Bytes),
    /// Writes this again and again, with a pause after each time.
    Repeat {
        /// What.
        piece: Bytes,
        /// How often.
        times: usize,
        /// The pause.
        pause: Duration,
    },
    /// Does nothing, for as long as the other side waits.
    Hang,
    /// Closes the connection with a reset, which takes away what the other side has not read yet: so that there is
    /// nothing of that, it waits for a moment first.
    Reset,
    /// Reads the next request.
    Read,
}

/// Says this.
pub fn say(bytes: impl Into<Bytes>) -> Step {
    Step::Say(bytes.into())
}

/// A target that follows a script on each connection: it reads a request, takes the steps that its path asks for, and
/// closes the connection. Dropped, it closes its port.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Scripted {
    /// A target that takes the same steps on every connection.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(steps: Vec<Step>) -> anyhow::Result<Self> {
        Self::by_path(move |_| steps.clone()).await
    }

    /// A target whose steps depend on the path it is asked for.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn by_path(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a scripted target")?;
        let address = listener.local_addr().context("ask for the address of a scripted target")?;
        let script = Arc::new(script);
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    // Most of what is tried here ends with the other side hanging up.
                    drop(follow(stream, script.as_ref()).await);
                });
            }
        });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn follow(mut stream: TcpStream, script: &(impl Fn(&str) -> Vec<Step> + Sync)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(path) = request(&mut stream).await? else { return Ok(()) };
    for step in script(&path) {
        match step {
            Step::Say(bytes) => stream.write_all(&bytes).await?,
            Step::Repeat { piece, times, pause } => {
                for _ in 0..times {
                    stream.write_all(&piece).await?;
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
            }
            Step::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
            Step::Reset => {
                sleep(Duration::from_millis(100)).await;
                stream.set_zero_linger()?;
                return Ok(());
            }
            Step::Read => {
                if request(&mut stream).await?.is_none() {
                    return Ok(());
                }
            }
        }
    }
    stream.shutdown().await
}

/// The path of the next request; none when there is no more.
async fn request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(Some(head.split(' ').nth(1).unwrap_or_default().to_owned()))
}

/// A port that never lets a connection come about: its queue of those that wait to be accepted is full, and what comes
/// then the kernel ignores, as a firewall does. Dropped, it closes.
#[derive(Debug)]
pub struct Unreachable {
    address: SocketAddr,
    /// What listens, and what fills its queue.
    _held: (TcpListener, TcpStream),
}

impl Unreachable {
    /// Closes a port in that way.
    ///
    /// # Errors
    /// When there can be none.
    pub async fn start() -> anyhow::Result<Self> {
        let listen = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            socket.listen(0)
        };
        let listener = listen().context("listen with no room for waiting connections")?;
        let address = listener.local_addr().context("ask for an address")?;
        let waiting = TcpStream::connect(address).await.context("fill the queue of waiting connections")?;
        Ok(Self { address, _held: (listener, waiting) })
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_script_is_followed_to_the_byte() {
        let target = Scripted::by_path(|path| vec![say(path.to_owned()), Step::Read, say("bye")]).await.unwrap();
        let mut stream = TcpStream::connect(target.address()).await.unwrap();
        stream.write_all(b"GET /one HTTP/1.1\r\n\r\n").await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"/one");
        stream.write_all(b"GET /two HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye");
    }

    #[tokio::test]
    async fn a_reset_is_one() {
        let target = Scripted::start(vec![say("half"), Step::Reset]).await.unwrap();
        let mut stream = TcpStream::connect(target.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let failure = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_full_queue_lets_nobody_in() {
        let target = Unreachable::start().await.unwrap();
        let connecting = timeout(Duration::from_millis(300), TcpStream::connect(target.address()));
        assert!(connecting.await.is_err(), "a connection came about");
    }
}
