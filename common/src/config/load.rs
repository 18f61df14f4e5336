//! The whole config loaded: main file, then the files it names with `scrape_config_files`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, ConfigError, Files, ScrapeConfig,
    fields::{Fault, Fields, string_in},
    global::Global,
    other_sections,
    paths::{BaseDir, has_star_in_last_element_only},
    sources::Recording,
    yaml::{self, Node},
};
use crate::semantics::PrometheusVersion;

/// Loads a config; see [`Config::load`].
pub(super) fn load(path: &Path, files: &dyn Files, version: PrometheusVersion) -> Result<Config, ConfigError> {
    let files = Recording::of(path, files);
    let root = read_file(path, &files)?;
    let main = MainFile::read(&root, version).map_err(|fault| fault.in_file(path))?;
    let mut jobs = Jobs { version, global: &main.global, jobs: Vec::new(), first_seen: BTreeMap::new() };
    jobs.add_all(main.scrape_configs, path, None)?;
    for pattern in main.scrape_config_files {
        let fault = |message: String| Fault::at(pattern, message).in_file(path);
        let pattern_text = pattern.text().unwrap_or_default();
        let found = (files.glob(&BaseDir::of_file(path).join(pattern_text)))
            .map_err(|error| fault(format!("error retrieving scrape config files for {pattern_text:?}: {error}")))?;
        for file in found {
            jobs.add_file(&file, &files)?;
        }
    }
    let jobs = jobs.jobs;
    let Global { scrape_interval, external_labels, .. } = main.global;
    Ok(Config {
        path: path.to_owned(),
        sources: Arc::new(files.finish()),
        root,
        jobs,
        external_labels,
        scrape_interval,
    })
}

fn read_file(path: &Path, files: &dyn Files) -> Result<Node, ConfigError> {
    let fault = |line, message| ConfigError { path: path.to_owned(), line, job: None, message };
    let text = files.read(path).map_err(|error| fault(None, format!("read config file: {error}")))?;
    yaml::read(&text).map_err(|error| fault(Some(error.line), error.message))
}

/// What the main file says, as far as it is interpreted here.
struct MainFile<'a> {
    global: Global,
    scrape_configs: &'a [Node],
    scrape_config_files: &'a [Node],
}

impl<'a> MainFile<'a> {
    fn read(root: &'a Node, version: PrometheusVersion) -> Result<Self, Fault> {
        let fields = Fields::of(root, "config.plain")?;
        let global = match fields.get("global") {
            Some(node) => Global::read(node, version)?,
            None => Global::read(&Node::plain(""), version)?,
        };
        let scrape_configs = fields.list("scrape_configs", "[]*config.ScrapeConfig")?;
        let scrape_config_files = file_patterns(&fields, "scrape_config_files", "scrape config file")?;
        file_patterns(&fields, "rule_files", "rule file")?;
        other_sections::check(&fields)?;
        fields.finish()?;
        Ok(Self { global, scrape_configs, scrape_config_files })
    }
}

fn file_patterns<'a>(fields: &Fields<'a>, name: &'static str, what: &str) -> Result<&'a [Node], Fault> {
    let patterns = fields.list(name, "[]string")?;
    for pattern in patterns {
        let text = string_in(pattern, name)?;
        if !has_star_in_last_element_only(&text) {
            return Err(Fault::at(pattern, format!("invalid {what} path {text:?}")));
        }
    }
    Ok(patterns)
}

/// The jobs of all files so far.
struct Jobs<'a> {
    version: PrometheusVersion,
    global: &'a Global,
    jobs: Vec<ScrapeConfig>,
    /// In which file each name was first seen; none is the main one.
    first_seen: BTreeMap<String, Option<PathBuf>>,
}

impl Jobs<'_> {
    fn add_file(&mut self, path: &Path, files: &dyn Files) -> Result<(), ConfigError> {
        let root = read_file(path, files)?;
        let fields = Fields::of(&root, "config.ScrapeConfigs").map_err(|fault| fault.in_file(path))?;
        let nodes = fields.list("scrape_configs", "[]*config.ScrapeConfig").map_err(|fault| fault.in_file(path))?;
        fields.finish().map_err(|fault| fault.in_file(path))?;
        self.add_all(nodes, path, Some(path))
    }

    /// Adds the jobs of a file; `origin` is that file unless it is the main one.
    fn add_all(&mut self, nodes: &[Node], path: &Path, origin: Option<&Path>) -> Result<(), ConfigError> {
        for node in nodes {
            let job = ScrapeConfig::read(node, path, self.global, self.version).map_err(|fault| fault.in_file(path))?;
            let name = job.job_name.as_str();
            if let Some(first) = self.first_seen.get(name) {
                let first = match (origin, first) {
                    (None, _) => String::new(),
                    (Some(_), None) => ", first found in main config file".into(),
                    (Some(_), Some(file)) => format!(", first found in {file:?}"),
                };
                let message = format!("found multiple scrape configs with job name {name:?}{first}");
                return Err(Fault::at(node, message).in_job(name).in_file(path));
            }
            self.first_seen.insert(name.to_owned(), origin.map(Path::to_owned));
            self.jobs.push(job);
        }
        Ok(())
    }
}
