//! The targets of a real Prometheus 3.5.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::oracle::{Targets, named};

/// How long it may take to find what is expected. It takes up what discovery found every five seconds.
const LONGEST: Duration = Duration::from_secs(20);

/// A running Prometheus.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

#[derive(Deserialize)]
struct Answer {
    data: Targets,
}

impl Server {
    /// Starts `$PROMETHEUS_3_5`, where it is named.
    pub(crate) fn start(config: &Path) -> Option<Self> {
        let Some(program) = named("PROMETHEUS_3_5") else {
            println!("note: PROMETHEUS_3_5 is not set; what it finds is not asked for again");
            return None;
        };
        let data = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, address, _data: data })
    }

    /// Its targets, once they are as expected, or when they do not become so.
    pub(crate) async fn targets(&self, is_expected: impl Fn(&Targets) -> bool) -> Targets {
        let began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let seen = self.ask().await;
            if let Some(targets) = seen.as_ref().filter(|targets| is_expected(targets) || began.elapsed() > LONGEST) {
                return targets.clone();
            }
            assert!(began.elapsed() < 2 * LONGEST, "Prometheus does not answer");
        }
    }

    async fn ask(&self) -> Option<Targets> {
        let mut connection = TcpStream::connect(self.address).await.ok()?;
        connection.write_all(b"GET /api/v1/targets HTTP/1.0\r\nHost: prometheus\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let answer: Answer = serde_json::from_str(body).ok()?;
        Some(answer.data.normalized())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
