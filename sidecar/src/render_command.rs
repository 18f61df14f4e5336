//! `narthex-sidecar render`: what a shard would run with, written into a directory.

use std::fs;

use anyhow::Context as _;
use narthex_common::config::{Config, http_client::Secret};
use narthex_runtime::files::{Disk, write_atomic};

use crate::{
    args::RenderArgs,
    assignment::Saved,
    job_ids::JobIds,
    render::{self, RenderSettings, layout::Layout},
    store::create_directory,
};

/// The token in a config that no proxy will ever be asked with.
const DRY_TOKEN: &str = "dry-run";

/// Writes `prometheus.yml` and the target files.
///
/// # Errors
/// When config or assignment cannot be read, or something cannot be written.
pub fn run(args: &RenderArgs) -> anyhow::Result<()> {
    let path = std::path::absolute(&args.config_file).context("find the config")?;
    let config = Config::load(&path, &Disk, args.prometheus_version)?;
    let shown = args.assignment.display();
    let text = fs::read(&args.assignment).with_context(|| format!("read the assignment {shown}"))?;
    let saved: Saved = serde_json::from_slice(&text).with_context(|| format!("read the assignment {shown}"))?;

    create_directory(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    let out = std::path::absolute(&args.out).context("find the output directory")?;
    let settings = RenderSettings {
        proxy_address: args.proxy_addr.clone(),
        token: Secret::new(DRY_TOKEN),
        target_directory: out.join("targets"),
        directories: args.target_directories,
        rules: args.rules,
        kind: args.prometheus_kind,
        version: Some(args.prometheus_version),
    };
    let ids = JobIds::of(&config);
    let layout = Layout::of(&ids, args.target_directories);
    for (relative, text) in render::target_files(&saved.assignment, &saved.leaving, &ids, layout, args.prometheus_kind)
    {
        let file = settings.target_directory.join(relative);
        if let Some(directory) = file.parent() {
            create_directory(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        write_atomic(&file, text.as_bytes(), None)?;
    }
    let generated = render::config(&config, &ids, &saved.leaving.pools(), &settings);
    write_atomic(&out.join("prometheus.yml"), generated.as_bytes(), None)?;
    Ok(())
}
