//! Bad input gets a clear error and loses nothing: what ran before goes on.

use std::{
    net::TcpListener,
    process::{Command, Output},
    time::Duration,
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Process, Release, Workdir, free_ports, narthex},
    promql, show,
    targets::Targets,
};
use rustix::process::Signal;

const BROKEN: &str = "scrape_configs:\n  - job_name: load\n    scrape_interval: soon\n";

fn config(discovery: &str) -> String {
    format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    {discovery}\n")
}

/// Runs a coordinator that must not come up.
fn refused(settings: &Settings) -> anyhow::Result<String> {
    let mut process = Process::start("narthex-coordinator", settings.command()?, &settings.dir.join("refused.log"))?;
    let status = process.wait(Duration::from_secs(30))?;
    assert_eq!(status.code(), Some(1), "it ended with {status}: {}", process.output());
    let printed = process.output();
    show(printed.trim());
    Ok(printed)
}

async fn all_up(coordinator: &Coordinator, targets: usize) -> anyhow::Result<()> {
    eventually(&format!("{targets} targets are up"), Duration::from_secs(60), || async {
        let up = coordinator.active_targets().await?.iter().filter(|target| target["health"] == "up").count();
        Ok((up == targets).then_some(()))
    })
    .await
    .with_context(|| coordinator.process.output())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_config_at_start_is_refused_with_file_line_and_job() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let path = dir.write("prometheus.yml", BROKEN)?;
    let printed = refused(&Settings::new(dir.path(), &path, Release::V2_42, &[])?)?;
    for part in [path.display().to_string().as_str(), ":3", "load", "soon"] {
        assert!(printed.contains(part), "{part:?} is missing in {printed}");
    }
    let unknown =
        dir.write("unknown.yml", "scrape_configs:\n  - job_name: cloud\n    kubernetes_sd_configs: [{role: pod}]\n")?;
    let printed = refused(&Settings::new(dir.path(), &unknown, Release::V2_42, &[])?)?;
    assert!(printed.contains("cloud") && printed.contains("kubernetes_sd_configs"), "{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_config_at_reload_keeps_the_last_good_one_and_says_why() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(2, 50).await?;
    let (one, two) = (&load.addresses()[..1], &load.addresses()[..2]);
    let path = dir.write("prometheus.yml", &config(&format!("static_configs: [{{targets: {one:?}}}]")))?;
    let coordinator = Coordinator::start(Settings::new(dir.path(), &path, Release::V2_42, &[])?).await?;
    all_up(&coordinator, 1).await?;

    dir.write("prometheus.yml", BROKEN)?;
    let error = coordinator.reload().await?.expect_err("a broken config is refused");
    show(error.trim());
    assert!(error.contains("prometheus.yml") && error.contains("load") && error.contains("soon"), "{error}");
    coordinator.process.signal(Signal::HUP)?;
    eventually("the refused reload shows in the metrics", Duration::from_secs(10), || async {
        let text = promql::client()?.get(format!("{}/metrics", coordinator.url)).send().await?.text().await?;
        Ok(text.lines().any(|line| line == "narthex_coordinator_config_last_reload_successful 0").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    all_up(&coordinator, 1).await?;

    dir.write("prometheus.yml", &config(&format!("static_configs: [{{targets: {two:?}}}]")))?;
    assert_eq!(coordinator.reload().await?, Ok(()));
    all_up(&coordinator, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_http_sd_costs_nothing_but_its_own_targets() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(2, 50).await?;
    let addresses = load.addresses();
    let nobody = free_ports(1)?;
    let text = format!(
        "{}  - job_name: listed\n    http_sd_configs: [{{url: 'http://127.0.0.1:{nobody}/targets', refresh_interval: 1s}}]\n",
        config(&format!("static_configs: [{{targets: [{:?}]}}]", addresses[0]))
    );
    let path = dir.write("prometheus.yml", &text)?;
    let flags = ["--sd.init-timeout=2s"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &path, Release::V2_42, &flags)?).await?;
    all_up(&coordinator, 1).await?;
    let printed = coordinator.process.output();
    assert!(printed.contains("listed") && printed.contains("connection refused"), "{printed}");

    // It comes up, and goes again: what it said stays.
    let body = format!(r#"[{{"targets": [{:?}]}}]"#, addresses[1]);
    let app = axum::Router::new()
        .route("/targets", axum::routing::get(move || async move { ([("content-type", "application/json")], body) }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", nobody)).await?;
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    all_up(&coordinator, 2).await?;
    server.abort();
    tokio::time::sleep(Duration::from_secs(5)).await;
    all_up(&coordinator, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_keeps_the_targets_it_listed_before() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(2, 50).await?;
    let addresses = load.addresses();
    let whole = format!(r#"[{{"targets": [{:?}, {:?}]}}]"#, addresses[0], addresses[1]);
    dir.write("targets.json", &whole)?;
    let path = dir.write("prometheus.yml", &config("file_sd_configs: [{files: ['*.json'], refresh_interval: 1s}]"))?;
    let coordinator = Coordinator::start(Settings::new(dir.path(), &path, Release::V2_42, &[])?).await?;
    all_up(&coordinator, 2).await?;

    dir.write("targets.json", &whole[..whole.len() / 2])?;
    eventually("the half file is complained about", Duration::from_secs(20), || async {
        Ok(coordinator.process.output().contains("targets.json").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    all_up(&coordinator, 2).await?;

    dir.write("targets.json", &format!(r#"[{{"targets": [{:?}]}}]"#, addresses[1]))?;
    eventually("the next whole file counts", Duration::from_secs(20), || async {
        Ok((coordinator.active_targets().await?.len() == 1).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_data_directory_is_refused_at_start() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let path = dir.write("prometheus.yml", &config("static_configs: [{targets: ['127.0.0.1:1']}]"))?;
    // Tests may run as root, whom no mode keeps out; below a file nobody can make a directory.
    dir.write("shards", "a file")?;
    let printed = refused(&Settings::new(dir.path(), &path, Release::V2_42, &[])?)?;
    assert!(printed.contains("shards") && printed.contains("--shard.local.data-dir"), "{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named_with_its_flag() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let path = dir.write("prometheus.yml", &config("static_configs: [{targets: ['127.0.0.1:1']}]"))?;
    let settings = Settings::new(dir.path(), &path, Release::V2_42, &[])?;
    let busy = TcpListener::bind(("127.0.0.1", settings.port))?;
    let printed = refused(&settings)?;
    for part in [&settings.port.to_string(), "--web.address", "in use"] {
        assert!(printed.contains(part), "{part:?} is missing in {printed}");
    }
    drop(busy);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_finds_its_way_around_ports_that_others_use() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(1, 50).await?;
    let path =
        dir.write("prometheus.yml", &config(&format!("static_configs: [{{targets: {:?}}}]", load.addresses())))?;
    let settings = Settings::new(dir.path(), &path, Release::V2_42, &[])?;
    let _busy = TcpListener::bind(("127.0.0.1", settings.shard_ports + 1))?;
    let coordinator = Coordinator::start(settings).await?;
    all_up(&coordinator, 1).await
}

#[test]
fn dry_commands_say_what_is_wrong_and_exit_with_1() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let check = |name: &str, text: &str| -> anyhow::Result<Output> {
        let path = dir.write(name, text)?;
        Ok(Command::new(narthex("narthex-coordinator")?).args(["check", "config"]).arg(path).output()?)
    };
    let good = check("good.yml", &config("static_configs: [{targets: ['a:1']}]"))?;
    assert!(good.status.success(), "{good:?}");
    let bad = check("bad.yml", BROKEN)?;
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned() + &String::from_utf8_lossy(&bad.stdout);
    assert!(said.contains("bad.yml") && said.contains("soon"), "{said}");
    Ok(())
}
