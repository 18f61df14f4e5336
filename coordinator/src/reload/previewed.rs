//! A config that is only a text: read as if it were the running one's file, with nothing written.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::bail;
use narthex_common::{
    config::{Config, ConfigError, ConfigSources, Files},
    semantics::PrometheusVersion,
};
use narthex_runtime::files::Disk;

use crate::{discover, sharding_rules::ShardingRules};

/// What errors call a text that is no file.
const NAME: &str = "config";

/// Reads and checks a text as if it stood in the file of the running config.
pub(super) fn read(
    running: &Config,
    text: &str,
    version: PrometheusVersion,
    sharding: ShardingRules,
) -> anyhow::Result<Config> {
    let path = &running.path;
    let previewed = Previewed { path, text, running: &running.sources };
    let config = Config::load(path, &previewed, version).map_err(|error| in_the_text(path, error))?;
    let config = sharding.treat(config);
    if let Err(discover::Refusals(refusals)) = discover::check(&config, version) {
        let refusals = refusals.into_iter().map(|refusal| in_the_text(path, refusal).to_string());
        bail!("{}", refusals.collect::<Vec<_>>().join("\n"));
    }
    Ok(config)
}

fn in_the_text(path: &Path, error: ConfigError) -> ConfigError {
    let ConfigError { message, .. } = &error;
    // Where a value has the wrong type, Prometheus quotes it; it may be a password in the wrong place.
    let message = message.split('`').enumerate().map(|(n, part)| if n % 2 == 1 { "…" } else { part });
    let message = message.collect::<Vec<_>>().join("`");
    let path = if error.path == path { NAME.into() } else { error.path };
    ConfigError { path, message, ..error }
}

/// The main file of a text, and whichever other files the running config names. Anyone who may ask for a preview may
/// say what it names; that must not let them read the coordinator's disk.
struct Previewed<'a> {
    path: &'a Path,
    text: &'a str,
    /// What the running config names.
    running: &'a ConfigSources,
}

impl Files for Previewed<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == self.path { Ok(self.text.to_owned()) } else { Disk.read(path) }
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        if self.running.has_pattern(pattern) {
            return Disk.glob(pattern);
        }
        Err(io::Error::other("a preview reads only files that the running config names, too"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: PrometheusVersion = PrometheusVersion::V3_5;

    fn running(dir: &Path, text: &str) -> Config {
        let path = dir.join("prometheus.yml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &Disk, V).unwrap()
    }

    #[test]
    fn a_text_is_read_as_if_it_stood_in_the_file_and_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let running = running(dir.path(), "scrape_configs: [{job_name: a}]");
        let config = read(
            &running,
            "scrape_configs: [{job_name: b, file_sd_configs: [{files: [x.yml]}]}]",
            V,
            ShardingRules::Applied,
        )
        .unwrap();
        assert_eq!((config.jobs.len(), config.jobs[0].job_name.as_str()), (1, "b"));
        assert_eq!(std::fs::read_to_string(&running.path).unwrap(), "scrape_configs: [{job_name: a}]");
    }

    #[test]
    fn errors_say_line_and_job_of_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let running = running(dir.path(), "{}");
        let error = |text| read(&running, text, V, ShardingRules::Applied).unwrap_err().to_string();
        let unknown = error("scrape_configs:\n- job_name: a\n  scrape_intervall: 5s");
        assert!(unknown.starts_with("config:3: job \"a\": "), "{unknown}");
        let unsupported = error("scrape_configs:\n- job_name: a\n  eureka_sd_configs: [{server: x}]");
        assert!(
            unsupported.starts_with("config:3: job \"a\": eureka_sd_configs is not supported yet"),
            "{unsupported}"
        );
    }

    #[test]
    fn a_text_cannot_have_other_files_read_than_the_running_config() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("more.yml"), "scrape_configs: [{job_name: more}]").unwrap();
        std::fs::write(dir.path().join("other.yml"), "hunter2").unwrap();
        let running = running(dir.path(), "scrape_config_files: [more.yml]");
        let config = read(
            &running,
            "scrape_config_files: [more.yml]\nscrape_configs: [{job_name: a}]",
            V,
            ShardingRules::Applied,
        )
        .unwrap();
        assert_eq!(config.jobs.len(), 2);
        let error =
            read(&running, "scrape_config_files: [other.yml]", V, ShardingRules::Applied).unwrap_err().to_string();
        assert!(error.ends_with("a preview reads only files that the running config names, too"), "{error}");
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn no_secret_of_a_text_comes_out_in_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let running = running(dir.path(), "{}");
        for field in [
            "basic_auth: hunter2",
            "basic_auth: {username: u, password: [hunter2]}",
            "basic_auth: {username: u, password: {x: hunter2}}",
            "basic_auth: {username: u, password: hunter2, password_file: x}",
            "authorization: hunter2",
            "authorization: {credentials: [hunter2]}",
            "bearer_token: [hunter2]",
            "bearer_token: {hunter2: x}",
            "proxy_url: 'http://u:hunter2@[x'",
            "proxy_url: 'http://u:hunter2@h:port'",
            "http_sd_configs: [{url: 'http://u:hunter2@[x'}]",
            "http_sd_configs: [{url: 'http://u:hunter2@x:port'}]",
            "http_sd_configs: [{url: 'ftp://u:hunter2@x'}]",
            "oauth2: {client_id: a, client_secret: [hunter2], token_url: x}",
            "oauth2: hunter2",
            "oauth2: {client_id: a, token_url: x, endpoint_params: {password: [hunter2]}}",
            "http_headers: {X: {secrets: hunter2}}",
            "http_headers: {X: {secrets: [[hunter2]]}}",
            "proxy_url: p\n  proxy_connect_header: {X: hunter2}",
            "static_configs: [{targets: ['http://u:hunter2@h/x']}]",
        ] {
            let text = format!("scrape_configs:\n- job_name: a\n  {field}\n");
            let error = read(&running, &text, V, ShardingRules::Applied)
                .map(drop)
                .map_or_else(|error| format!("{error:#} {error:?}"), |()| String::new());
            assert!(!error.contains("hunter2"), "{field}: {error}");
        }
    }
}
