//! The sidecar's memory: idle, and for each scrape that is under way.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use narthex_e2e::{
    loadgen,
    process::{Workdir, free_ports},
    show,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    Args,
    rig::{Sidecar, config},
    usage::{peak_kib, resident_kib},
};

/// Two connections each: fewer than the 1,024 open files that many systems allow.
const SCRAPES: usize = 300;
/// As much of a body has been sent while memory is looked at.
const SENT: usize = 2 << 20;
const SETTLES_WITHIN: Duration = Duration::from_secs(4);

const IDLE_GOAL_KIB: u64 = 30 << 10;
const SCRAPE_GOAL_KIB: u64 = 64;

/// What all the scrapes wait for.
#[derive(Clone, Copy)]
enum Waiting {
    /// The target sends the first part of its body and then nothing.
    ForTheTarget,
    /// Prometheus reads nothing.
    ForPrometheus,
}

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    show("\nmemory");
    for (waiting, name) in
        [(Waiting::ForTheTarget, "targets stall in the body"), (Waiting::ForPrometheus, "Prometheus does not read")]
    {
        for gzip in [false, true] {
            let (idle, under_way, peak) = hold_scrapes(args, waiting, gzip).await?;
            let each = under_way.saturating_sub(idle) / SCRAPES as u64;
            let encoding = if gzip { "gzip" } else { "text" };
            show(format_args!(
                "  idle {idle} KiB (goal: {IDLE_GOAL_KIB}); {SCRAPES} scrapes, {encoding}, {name}: {each} KiB each \
                 (goal: {SCRAPE_GOAL_KIB}), at most {peak} KiB in all"
            ));
        }
    }
    Ok(())
}

/// The sidecar's memory in KiB when it is idle, while many scrapes are under way, and at most.
async fn hold_scrapes(args: &Args, waiting: Waiting, gzip: bool) -> anyhow::Result<(u64, u64, u64)> {
    let dir = Workdir::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let part: Arc<[u8]> = if gzip { compressed_part() } else { text(SENT) }.into();
    let target = tokio::spawn(send_parts(listener, part, gzip));

    let addresses = [address.clone()];
    let nobody = format!("127.0.0.1:{}", free_ports(1)?);
    let sidecar = Sidecar::start(dir.path(), &config(&addresses, "60s"), &nobody, &args.sidecar_arg).await?;
    sidecar.assign(&addresses, "60s").await?;
    tokio::time::sleep(SETTLES_WITHIN).await;
    let id = sidecar.process.id();
    let idle = resident_kib(id)?;

    let credentials = BASE64_STANDARD.encode(sidecar.credentials()?);
    let request =
        format!("GET http://{address}/metrics HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {credentials}\r\n\r\n");
    let mut scrapes = JoinSet::new();
    for _ in 0..SCRAPES {
        let mut stream = TcpStream::connect(&sidecar.proxy).await.context("connect to the proxy")?;
        stream.write_all(request.as_bytes()).await?;
        scrapes.spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            match waiting {
                Waiting::ForTheTarget => while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {},
                Waiting::ForPrometheus => std::future::pending().await,
            }
        });
    }
    tokio::time::sleep(SETTLES_WITHIN).await;
    let under_way = resident_kib(id)?;
    target.abort();
    Ok((idle, under_way, peak_kib(id)?))
}

/// A target that sends a part of its body and then nothing.
async fn send_parts(listener: TcpListener, part: Arc<[u8]>, gzip: bool) {
    let encoding = if gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n{encoding}Content-Length: 100000000\r\n\r\n"
    );
    while let Ok((mut stream, _)) = listener.accept().await {
        let (part, head) = (Arc::clone(&part), head.clone());
        tokio::spawn(async move {
            let sent = async {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&part).await
            };
            drop(sent.await);
            std::future::pending::<()>().await;
        });
    }
}

fn text(bytes: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|i| format!("some_metric{{number=\"{i}\",kind=\"made up\"}} {i}\n").into_bytes());
    lines.take(bytes).collect()
}

/// The first part of something large that is compressed.
fn compressed_part() -> Vec<u8> {
    let mut whole = loadgen::compressed(&text(4 * SENT)).to_vec();
    whole.truncate(whole.len() / 2);
    whole
}
