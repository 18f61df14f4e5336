//! Sidecars that only those may use who have a certificate and a token: the coordinator works with them, is refused
//! without one or the other and says so, and goes on while every certificate is replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql,
    shard_list::{self, Shard, until_up},
    show,
    targets::Targets,
};
use narthex_runtime::files::write_atomic;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity, StatusCode};

const TARGETS: usize = 8;
const TOKEN: &str = "4f2c6a-the-token-of-this-test";

const WEB_CONFIG: &str = "\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [coordinator]
";

const WITHOUT_CERTIFICATE: &str = "\
authorization:
  credentials_file: client-token
tls_config:
  ca_file: ca.pem
";

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_works_with_protected_sidecars_and_says_when_it_may_not() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let (coordinator, mut shards) = start(dir.path(), &load).await?;
    coordinator.settled(TARGETS, 1).await?;
    let before = until_up(&shards.iter().collect::<Vec<_>>(), TARGETS, 1).await?;
    show(format!("{TARGETS} targets on two sidecars that ask for a certificate and a token"));

    strangers_are_refused(dir.path(), &shards).await?;

    dir.write("client-token", "another token")?;
    let why = until_error(&coordinator, 2, "401 Unauthorized").await?;
    show(format!("a wrong token: {why}"));
    dir.write("client-token", TOKEN)?;
    until_all_ready(&coordinator).await?;

    dir.write("client.yml", WITHOUT_CERTIFICATE)?;
    let why = until_error(&coordinator, 2, "tls: certificate required").await?;
    show(format!("no certificate: {why}"));
    dir.write("client.yml", &with_certificate())?;
    until_all_ready(&coordinator).await?;

    replace_every_certificate(dir.path(), &shards, &coordinator).await?;

    assert_eq!(until_up(&shards.iter().collect::<Vec<_>>(), TARGETS, 1).await?, before, "nothing was lost or moved");
    let servers: Vec<String> = shards.iter().map(|shard| shard.prometheus_url.clone()).collect();
    for target in load.addresses() {
        // It also fails when the target was down once.
        assert!(promql::scrapes(&servers, &target).await?.len() > 5, "{target}");
    }
    // A connection that was kept says nothing of the certificates: only a new one proves that they are in use.
    shards[0].die().await?;
    until_error(&coordinator, 1, "connection refused").await?;
    shards[0].start_again()?;
    until_all_ready(&coordinator).await?;

    let logs = [coordinator.process.output(), read(dir.path(), "shard-0.log")?, read(dir.path(), "shard-1.log")?];
    assert!(logs.iter().all(|log| !log.contains(TOKEN) && !log.contains("another token")), "a token is in a log");
    Ok(())
}

/// A coordinator with two sidecars, and all the files that protect them.
async fn start(dir: &Path, load: &Targets) -> anyhow::Result<(Coordinator, Vec<Shard>)> {
    let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = dir.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let authority = authority()?;
    write("ca.pem", &authority.pem())?;
    issue(&authority, dir, "server", "127.0.0.1")?;
    issue(&authority, dir, "client", "coordinator")?;
    issue(&authority, dir, "stranger", "stranger")?;
    let (web, token) = (write("web.yml", WEB_CONFIG)?, write("token", TOKEN)?);
    write("client-token", TOKEN)?;
    let client = write("client.yml", &with_certificate())?;
    let targets = load.addresses();
    let config = write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {targets:?}\n"
        ),
    )?;
    let flags = [format!("--web.config.file={}", web.display()), format!("--web.token-file={}", token.display())];
    let mut shards = Vec::new();
    for ordinal in 0..2 {
        let mut shard = Shard::start_with(dir, &format!("shard-{ordinal}"), &config, Release::V3_5, &flags)?;
        shard.url = shard.url.replace("http://", "https://");
        shards.push(shard);
    }
    let list = write("shards.yaml", &shard_list::list(&[&shards]))?;
    let client = format!("--shard.http-client-config={}", client.display());
    let flags = ["--shard.min-shard=2", &client];
    let settings = Settings::new(dir, &config, Release::V3_5, &flags)?.with_shard_list(list);
    Ok((Coordinator::start(settings).await?, shards))
}

/// Who has the token but no certificate, a certificate of another name, or a certificate but no token.
async fn strangers_are_refused(dir: &Path, shards: &[Shard]) -> anyhow::Result<()> {
    for shard in shards {
        let (report, query) =
            (format!("{}/api/v1/shard/report", shard.url), format!("{}/api/v1/query?query=up", shard.url));
        let known = client(dir, Some("client"))?;
        for url in [&report, &query] {
            let refused = known.get(url).send().await?;
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{url}");
            assert_eq!(known.get(url).bearer_auth(TOKEN).send().await?.status(), StatusCode::OK, "{url}");
        }
        for stranger in [client(dir, None)?, client(dir, Some("stranger"))?] {
            assert!(stranger.get(&report).bearer_auth(TOKEN).send().await.is_err());
        }
    }
    Ok(())
}

/// A new authority and new certificates on both sides, one file after the other, with nobody restarted.
async fn replace_every_certificate(dir: &Path, shards: &[Shard], coordinator: &Coordinator) -> anyhow::Result<()> {
    let old_client = client(dir, Some("client"))?;
    let next = authority()?;
    // As one does: first everybody trusts both, then certificates change, then the old authority goes.
    put(dir, "ca.pem", &format!("{}{}", read(dir, "ca.pem")?, next.pem()))?;
    let trusts_both = || async {
        issue(&next, dir, "probe", "coordinator")?;
        let probe = client(dir, Some("probe"))?;
        for shard in shards {
            probe.get(format!("{}/-/healthy", shard.url)).send().await?;
        }
        Ok(Some(()))
    };
    eventually("the sidecars trust the next authority, too", Duration::from_secs(20), trusts_both).await?;
    issue(&next, dir, "server", "127.0.0.1")?;
    issue(&next, dir, "client", "coordinator")?;
    put(dir, "ca.pem", &next.pem())?;
    eventually("the old certificate is good no more", Duration::from_secs(20), || async {
        for shard in shards {
            let trusting_next = client(dir, Some("client"))?;
            trusting_next.get(format!("{}/-/healthy", shard.url)).send().await?;
            if old_client.get(format!("{}/-/healthy", shard.url)).send().await.is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let log = coordinator.process.output().len();
    until_all_ready(coordinator).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    until_all_ready(coordinator).await?;
    show(format!(
        "every certificate replaced, nobody restarted; the coordinator's log grew by {} bytes",
        coordinator.process.output().len() - log
    ));
    Ok(())
}

/// The error of so many shards, once it says what is expected.
async fn until_error(coordinator: &Coordinator, number: usize, expected: &str) -> anyhow::Result<String> {
    eventually(&format!("{number} shards have the error {expected:?}"), Duration::from_secs(30), || async {
        let shards = coordinator.shards().await?;
        let errors: Vec<&str> = shards.iter().filter_map(|shard| shard["error"].as_str()).collect();
        let all = errors.len() == number && errors.iter().all(|error| error.contains(expected));
        all.then(|| errors.first().map(|error| (*error).to_owned()).context("an error")).transpose()
    })
    .await
    .with_context(|| coordinator.process.output())
}

async fn until_all_ready(coordinator: &Coordinator) -> anyhow::Result<()> {
    eventually("both shards are ready", Duration::from_secs(30), || async {
        let shards = coordinator.shards().await?;
        Ok((shards.len() == 2 && shards.iter().all(|shard| shard["state"] == "ready")).then_some(()))
    })
    .await
    .with_context(|| coordinator.process.output())
}

fn with_certificate() -> String {
    format!("{WITHOUT_CERTIFICATE}  cert_file: client.pem\n  key_file: client.key\n")
}

/// A client of the test's own, with the certificates as they are now.
fn client(dir: &Path, identity: Option<&str>) -> anyhow::Result<Client> {
    narthex_runtime::http_client::install_tls_provider();
    let authorities = Certificate::from_pem_bundle(read(dir, "ca.pem")?.as_bytes())?;
    let mut client = Client::builder().no_proxy().tls_certs_only(authorities).timeout(Duration::from_secs(10));
    if let Some(name) = identity {
        let pem = read(dir, &format!("{name}.pem"))? + &read(dir, &format!("{name}.key"))?;
        client = client.identity(Identity::from_pem(pem.as_bytes())?);
    }
    Ok(client.pool_max_idle_per_host(0).build()?)
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, dir: &Path, name: &str, san: &str) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let cert = CertificateParams::new(vec![san.to_owned()])?.signed_by(&key, authority)?;
    put(dir, &format!("{name}.pem"), &cert.pem())?;
    put(dir, &format!("{name}.key"), &key.serialize_pem())
}

fn put(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    Ok(write_atomic(&dir.join(name), text.as_bytes(), None)?)
}

fn read(dir: &Path, name: &str) -> anyhow::Result<String> {
    fs::read_to_string(dir.join(name)).with_context(|| format!("read {name}"))
}
