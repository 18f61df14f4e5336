//! Awkward configs of our own against what the real programs said of them, and say.
//!
//! `testdata/promtool` has a folder for each: `prometheus.yml`, the files that it names, what promtool 2.42 says of every
//! job (`promtool-2.42.json`), and which targets a Prometheus 3.5 has (`prometheus-3.5.json`). Both were read off the real
//! ones, never written by hand; where these are at hand (`$PROMETHEUS_2_42`, or promtool 2.42 on PATH; `$PROMETHEUS_3_5`)
//! they are asked again. With `UPDATE` set what they say is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use narthex_common::{
    config::{Config, ConfigError},
    labels::Labels,
    semantics::PrometheusVersion,
};
use narthex_coordinator::check::targets::TargetsReport;
use narthex_runtime::files::Disk;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

use crate::{
    allocator_cases,
    golden::{Golden, goldens_of_job},
    promtool::Promtool,
    report,
    server::Server,
};

/// A case, where it can be read: with the files of `testdata`, and a server that has them, too.
struct Case {
    testdata: PathBuf,
    folder: tempfile::TempDir,
    server: MockServer,
}

/// What promtool says of a job: all labels of its targets, how many label sets are dropped, and whether one makes no
/// target. The labels before relabeling are not compared: promtool 2.42 shows the values that rules have put there since.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) labels: BTreeSet<Labels>,
    pub(crate) dropped: usize,
    pub(crate) has_errors: bool,
}

impl Job {
    pub(crate) fn new(label_sets: Vec<Golden>, has_errors: bool) -> Self {
        let (dropped, active): (Vec<_>, Vec<_>) = label_sets.into_iter().partition(|one| one.labels.is_empty());
        Self { labels: active.into_iter().map(|one| one.labels).collect(), dropped: dropped.len(), has_errors }
    }
}

/// The targets of a Prometheus.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Targets {
    pub(crate) active_targets: Vec<Active>,
    pub(crate) dropped_targets: Vec<Dropped>,
}

/// A target that is scraped.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Active {
    scrape_pool: String,
    labels: Labels,
    scrape_url: String,
    discovered_labels: Labels,
}

/// A label set that was dropped.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dropped {
    scrape_pool: String,
    discovered_labels: Labels,
}

impl Targets {
    fn of(report: &TargetsReport) -> Self {
        let active = report.active_targets.iter().map(|target| Active {
            scrape_pool: target.scrape_pool.to_string(),
            labels: target.labels.clone(),
            scrape_url: target.scrape_url.clone(),
            discovered_labels: target.discovered_labels.clone(),
        });
        let dropped = report.dropped_targets.iter().map(|target| Dropped {
            scrape_pool: target.scrape_pool.to_string(),
            discovered_labels: target.discovered_labels.clone(),
        });
        Self { active_targets: active.collect(), dropped_targets: dropped.collect() }.normalized()
    }

    /// Sorted. Which of several label sets that became one target is shown depends on who came first: that is left out.
    pub(crate) fn normalized(mut self) -> Self {
        for target in &mut self.active_targets {
            if target.scrape_pool == "one target of several" {
                target.discovered_labels = Labels::default();
            }
        }
        self.active_targets.sort_unstable();
        self.dropped_targets.sort_unstable();
        self
    }
}

impl Case {
    async fn start(testdata: &Path) -> Self {
        let (folder, server) = (tempfile::tempdir().unwrap(), MockServer::start().await);
        let case = Self { testdata: testdata.to_owned(), folder, server };
        copy(&case.testdata, case.folder.path(), &case.server.address().to_string());
        let files = case.folder.path().to_owned();
        let answer = move |request: &Request| match fs::read(files.join(request.url.path().trim_start_matches('/'))) {
            Ok(list) => ResponseTemplate::new(200).set_body_raw(list, "application/json"),
            Err(_) => ResponseTemplate::new(404),
        };
        Mock::given(method("GET")).respond_with(answer).mount(&case.server).await;
        case
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("prometheus.yml")
    }

    fn name(&self) -> String {
        self.testdata.display().to_string()
    }

    /// A value without what differs from run to run.
    fn lasting<T: Serialize + DeserializeOwned>(&self, value: &T) -> T {
        let text = serde_json::to_string(value).unwrap();
        let text = text.replace(&self.folder.path().display().to_string(), "FOLDER");
        serde_json::from_str(&text.replace(&self.server.address().to_string(), "SERVER")).unwrap()
    }

    /// What was read off the real program.
    fn written<T: DeserializeOwned>(&self, file: &str) -> T {
        let path = self.testdata.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// Writes down what the real program says, when that is wanted.
    fn update(&self, file: &str, said: &impl Serialize) {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(self.testdata.join(file), serde_json::to_string_pretty(said).unwrap() + "\n").unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path, server: &str) {
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry, &to, server);
        } else {
            fs::write(to, fs::read_to_string(entry).unwrap().replace("SERVER", server)).unwrap();
        }
    }
}

fn own_cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/promtool");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// A report, job by job, as promtool has it.
fn jobs_of(config: &Path, report: &TargetsReport) -> BTreeMap<String, Job> {
    let of_job = |name: &str| {
        let has_errors = report.errors.iter().any(|problem| problem.scrape_pool.as_str() == name);
        Job::new(goldens_of_job(report, |pool| pool == name), has_errors)
    };
    job_names(config).unwrap().into_iter().map(|name| (name.clone(), of_job(&name))).collect()
}

pub(crate) fn job_names(config: &Path) -> Result<Vec<String>, ConfigError> {
    let config = Config::load(config, &Disk, PrometheusVersion::V2_42)?;
    Ok(config.jobs.iter().map(|job| job.job_name.to_string()).collect())
}

#[tokio::test]
async fn awkward_configs_come_out_as_promtool_2_42_says() {
    const FILE: &str = "promtool-2.42.json";
    let promtool = Promtool::at_hand();
    for case in own_cases() {
        let case = Case::start(&case).await;
        if let Some(promtool) = &promtool {
            let says = case.lasting(&promtool.says(&case.config()).await.unwrap());
            case.update(FILE, &says);
            assert_eq!(case.written::<BTreeMap<String, Job>>(FILE), says, "{} is not what promtool says", case.name());
        }
        let report = report(&case.config(), PrometheusVersion::V2_42).await;
        let found = case.lasting(&jobs_of(&case.config(), &report));
        for (job, expected) in case.written::<BTreeMap<String, Job>>(FILE) {
            assert_eq!(found[&job], expected, "{}, job {job:?}", case.name());
        }
    }
}

#[tokio::test]
async fn awkward_configs_come_out_as_a_prometheus_3_5_has_them() {
    const FILE: &str = "prometheus-3.5.json";
    for case in own_cases() {
        let case = Case::start(&case).await;
        let report = report(&case.config(), PrometheusVersion::V3_5).await;
        let found = case.lasting(&Targets::of(&report));
        if let Some(server) = Server::start(&case.config()) {
            let has = server.targets(|targets| case.lasting(targets) == found).await;
            let has = case.lasting(&has);
            case.update(FILE, &has);
            assert_eq!(case.written::<Targets>(FILE), has, "{} is not what Prometheus has", case.name());
        }
        let expected = case.written::<Targets>(FILE);
        for (found, expected) in found.active_targets.iter().zip(&expected.active_targets) {
            assert_eq!(found, expected, "{}", case.name());
        }
        assert_eq!(found, expected, "{}", case.name());
    }
}

#[tokio::test]
async fn the_target_allocators_cases_come_out_as_promtool_2_42_says_today() {
    let Some(promtool) = Promtool::at_hand() else { return };
    let promtool = Arc::new(promtool);
    // It waits for each job.
    let asked = allocator_cases().into_iter().map(|case| {
        let (promtool, config) = (Arc::clone(&promtool), case.join("prometheus.yaml"));
        (config.clone(), tokio::spawn(async move { promtool.says(&config).await }))
    });
    for (config, says) in asked.collect::<Vec<_>>() {
        match says.await.unwrap() {
            Ok(says) => {
                let report = report(&config, PrometheusVersion::V2_42).await;
                assert_eq!(jobs_of(&config, &report), says, "{}", config.display());
            }
            // Some are for newer ones.
            Err(refusal) => println!("{} is not compared: {refusal}", config.display()),
        }
    }
}

#[tokio::test]
async fn the_target_allocators_cases_come_out_as_a_prometheus_3_5_has_them_today() {
    for case in allocator_cases() {
        let config = case.join("prometheus.yaml");
        let report = report(&config, PrometheusVersion::V3_5).await;
        let found = without_discovered_of_equal(Targets::of(&report));
        let Some(server) = Server::start(&config) else { return };
        let has = server.targets(|targets| without_discovered_of_equal(targets.clone()) == found).await;
        assert_eq!(found, without_discovered_of_equal(has), "{}", case.display());
    }
}

/// Some of these cases have label sets that become one target: which of them is shown depends on who came first.
fn without_discovered_of_equal(mut targets: Targets) -> Targets {
    targets.active_targets.iter_mut().for_each(|target| target.discovered_labels = Labels::default());
    targets.normalized()
}

/// Where the real servers' binaries are named.
pub(crate) fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}
