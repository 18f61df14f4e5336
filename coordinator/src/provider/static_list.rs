//! A fixed list of shards in a file, `--shard.type=static`.
//!
//! The file has the format of Kvass' static shards:
//!
//! ```yaml
//! replicas:
//! - shards:
//!   - id: shard-0
//!     url: http://10.0.0.10:8080
//!   - id: shard-1
//!     url: http://10.0.0.11:8080
//! ```
//!
//! Every entry of `replicas` scrapes all targets once. A replica may have an `id`; without one it is `replica-0`,
//! `replica-1` and so on, by its place. A shard's place in its replica is its ordinal; `id` names it in logs, metrics
//! and the API, and is its own within its replica; `url` is its sidecar's API (`--web.api-addr`), each listed once.
//!
//! Beyond Kvass', a shard may have a `max_series` and a `max_samples_per_second` of its own, both above 0: what it may
//! carry instead of what `--shard.max-series`, `--shard.max-process-series` and `--shard.max-samples-per-second` say for
//! all. Unknown fields are errors.
//!
//! The file is looked at in every round. One that became unreadable or wrong changes nothing: the list that was read
//! last goes on, and a warning says why. The number of shards is the file's; nothing is started or stopped.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::{self, BoxFuture, FutureExt as _};
use narthex_common::shard::{Ordinal, ReplicaId, ShardId};
use narthex_planner::world::OwnBudget;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml::Value;
use tracing::{info, warn};
use url::Url;

use super::{Provider, Replica, ShardAddress};

/// The shards that a file lists.
#[derive(Debug)]
pub struct StaticProvider {
    path: PathBuf,
    list: Mutex<List>,
}

/// The list as it was read last.
#[derive(Debug)]
struct List {
    replicas: Vec<Replica>,
    /// What was read, or why it could not be: the same again is no news.
    read: Result<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    replicas: Vec<ReplicaEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaEntry {
    id: Option<String>,
    shards: Vec<ShardEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardEntry {
    id: String,
    url: String,
    max_series: Option<Value>,
    max_samples_per_second: Option<Value>,
}

impl ShardEntry {
    /// What the shard may carry, where the list says so.
    fn budget(&self) -> anyhow::Result<OwnBudget> {
        Ok(OwnBudget {
            max_series: limit("max_series", self.max_series.as_ref())?,
            max_samples_per_second: limit("max_samples_per_second", self.max_samples_per_second.as_ref())?,
        })
    }
}

/// A limit, which is read here so that whatever is wrong with it names the shard.
fn limit<T: DeserializeOwned + Default + PartialEq>(field: &str, value: Option<&Value>) -> anyhow::Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    let limit = T::deserialize(value).with_context(|| format!("field {field}"))?;
    ensure!(
        limit != T::default(),
        "field {field}: a shard must be allowed something; leave it out for what the flags say"
    );
    Ok(Some(limit))
}

impl StaticProvider {
    /// Reads the list.
    ///
    /// # Errors
    /// When the file cannot be read or is no list of shards.
    pub fn open(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let path = path.into();
        let text = read(&path)?;
        let replicas = parse(&text).with_context(|| format!("read the list of shards {}", path.display()))?;
        Ok(Self { path, list: Mutex::new(List { replicas, read: Ok(text) }) })
    }

    /// The list, read again if the file changed.
    fn current(&self) -> Vec<Replica> {
        let read = read(&self.path).map_err(|error| format!("{error:#}"));
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if read == list.read {
            return list.replicas.clone();
        }
        let path = self.path.display();
        match read.as_deref().map_err(Clone::clone).and_then(|text| parse(text).map_err(|error| format!("{error:#}"))) {
            Ok(replicas) if replicas == list.replicas => {}
            Ok(replicas) => {
                let shards: usize = replicas.iter().map(|replica| replica.shards.len()).sum();
                info!(%path, replicas = replicas.len(), shards, "the list of shards changed");
                list.replicas = replicas;
            }
            Err(error) => warn!(%path, error, "the list of shards is unusable; going on with the one read before"),
        }
        list.read = read;
        list.replicas.clone()
    }
}

impl Provider for StaticProvider {
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>> {
        future::ready(Ok(self.current())).boxed()
    }

    fn scale<'a>(&'a self, replica: &'a ReplicaId, shards: u32) -> BoxFuture<'a, anyhow::Result<()>> {
        let path = self.path.display();
        let refusal = anyhow::anyhow!("{replica} cannot get {shards} shards: they are those that {path} lists");
        future::ready(Err(refusal)).boxed()
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("read the list of shards {} (flag --shard.static-file)", path.display()))
}

/// The replicas that a file's text lists.
fn parse(text: &str) -> anyhow::Result<Vec<Replica>> {
    let File { replicas } = serde_yaml::from_str(text)?;
    ensure!(!replicas.is_empty(), "it lists no replica");
    let (mut ids, mut urls) = (BTreeSet::new(), BTreeSet::new());
    let mut listed = Vec::with_capacity(replicas.len());
    for (place, entry) in replicas.into_iter().enumerate() {
        let id = entry.id.unwrap_or_else(|| format!("replica-{place}"));
        ensure!(!id.is_empty(), "the replica at place {place} has an empty id");
        ensure!(ids.insert(id.clone()), "two replicas are called {id:?}");
        let replica = replica(ReplicaId(id.clone()), entry.shards).with_context(|| format!("replica {id:?}"))?;
        for shard in &replica.shards {
            ensure!(urls.insert(shard.url.clone()), "replica {id:?}: {} is listed twice", shard.url);
        }
        listed.push(replica);
    }
    Ok(listed)
}

fn replica(id: ReplicaId, entries: Vec<ShardEntry>) -> anyhow::Result<Replica> {
    ensure!(!entries.is_empty(), "it has no shards");
    let wanted_shards = u32::try_from(entries.len()).context("it has too many shards")?;
    let mut ids = BTreeSet::new();
    let mut shards = Vec::with_capacity(entries.len());
    for (ordinal, entry) in (0..wanted_shards).map(Ordinal).zip(entries) {
        ensure!(!entry.id.is_empty(), "the shard at place {ordinal} has an empty id");
        let budget = entry.budget().with_context(|| format!("shard {:?}", entry.id))?;
        let ShardEntry { id, url, .. } = entry;
        ensure!(ids.insert(id.clone()), "two shards are called {id:?}");
        let url = sidecar_url(&url).with_context(|| format!("shard {id:?}"))?;
        shards.push(ShardAddress { ordinal, id: ShardId(id), url, problem: None, budget });
    }
    Ok(Replica { id, scalable: false, wanted_shards, shards })
}

fn sidecar_url(text: &str) -> anyhow::Result<Url> {
    // The text itself is not repeated before it is known to hold no password.
    let url: Url = text.parse().context("its url is none")?;
    ensure!(url.username().is_empty() && url.password().is_none(), "its url may not have a user or a password");
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        bail!("{text:?} is not of the form http://HOST:PORT");
    }
    ensure!(url.query().is_none() && url.fragment().is_none(), "{text:?} may not have a query or a fragment");
    Ok(url)
}

#[cfg(test)]
mod tests {
    use narthex_common::load::{SampleRate, Series};
    use rstest::rstest;

    use super::*;

    const TWO: &str = "replicas:\n- shards:\n  - id: shard-0\n    url: http://127.0.0.1:8080\n  - id: shard-1\n    \
                       url: http://127.0.0.1:8081\n";

    #[test]
    fn replicas_and_shards_are_known_by_their_place() {
        let text = format!("{TWO}- id: second\n  shards:\n  - {{id: shard-0, url: 'http://127.0.0.1:8082/'}}\n");
        let replicas = parse(&text).unwrap();
        let ids: Vec<_> = replicas.iter().map(|r| (r.id.0.as_str(), r.wanted_shards, r.scalable)).collect();
        assert_eq!(ids, [("replica-0", 2, false), ("second", 1, false)]);
        let second = &replicas[0].shards[1];
        assert_eq!((second.ordinal, second.id.0.as_str()), (Ordinal(1), "shard-1"));
        assert_eq!(second.url.as_str(), "http://127.0.0.1:8081/");
    }

    #[test]
    fn a_shard_may_have_a_budget_of_its_own() {
        let text = format!("{TWO}    max_series: 20000\n    max_samples_per_second: 0.5\n");
        let shards = &parse(&text).unwrap()[0].shards;
        assert_eq!(shards[0].budget, OwnBudget::default());
        let expected = OwnBudget { max_series: Some(Series(20_000)), max_samples_per_second: Some(SampleRate(500)) };
        assert_eq!(shards[1].budget, expected);
    }

    #[rstest]
    #[case::no_series(
        "replicas: [{shards: [{id: a, url: 'http://a:1', max_series: 0}]}]",
        r#"replica "replica-0": shard "a": field max_series: a shard must be allowed something"#
    )]
    #[case::no_samples(
        "replicas: [{shards: [{id: a, url: 'http://a:1', max_samples_per_second: 0}]}]",
        r#"replica "replica-0": shard "a": field max_samples_per_second: a shard must be allowed something"#
    )]
    #[case::fewer_than_no_samples(
        "replicas: [{shards: [{id: a, url: 'http://a:1', max_samples_per_second: -5}]}]",
        r#"replica "replica-0": shard "a": field max_samples_per_second: -5 is not a number of samples a second"#
    )]
    #[case::empty("", "missing field `replicas`")]
    #[case::no_replica("replicas: []", "it lists no replica")]
    #[case::no_shards("replicas: [{shards: []}]", r#"replica "replica-0": it has no shards"#)]
    #[case::misspelt("replicas: [{shard: []}]", "unknown field `shard`")]
    #[case::one_id_twice(
        "replicas: [{shards: [{id: a, url: 'http://a:1'}, {id: a, url: 'http://b:1'}]}]",
        r#"replica "replica-0": two shards are called "a""#
    )]
    #[case::one_url_twice(
        "replicas: [{shards: [{id: a, url: 'http://a:1'}, {id: b, url: 'http://a:1/'}]}]",
        r#"replica "replica-0": http://a:1/ is listed twice"#
    )]
    #[case::no_scheme(
        "replicas: [{shards: [{id: a, url: 'localhost:8080'}]}]",
        r#"replica "replica-0": shard "a": "localhost:8080" is not of the form http://HOST:PORT"#
    )]
    #[case::password(
        "replicas: [{shards: [{id: a, url: 'http://u:hunter2@a:1'}]}]",
        r#"replica "replica-0": shard "a": its url may not have a user or a password"#
    )]
    fn what_is_no_list_of_shards_is_refused(#[case] text: &str, #[case] expected: &str) {
        let error = format!("{:#}", parse(text).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shards.yaml");
        let missing = format!("{:#}", StaticProvider::open(&path).unwrap_err());
        assert!(missing.contains("shards.yaml (flag --shard.static-file): No such file"), "{missing}");
        std::fs::write(&path, "replicas:\n- shards:\n  - id: a\n").unwrap();
        let error = format!("{:#}", StaticProvider::open(&path).unwrap_err());
        assert!(error.contains("shards.yaml: ") && error.contains("missing field `url` at line 3"), "{error}");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shards.yaml");
        std::fs::write(&path, TWO).unwrap();
        let provider = StaticProvider::open(&path).unwrap();
        let number = async || provider.replicas().await.unwrap()[0].shards.len();
        assert_eq!(number().await, 2);
        std::fs::write(&path, "replicas:\n- shar").unwrap();
        assert_eq!(number().await, 2);
        std::fs::write(&path, format!("{TWO}  - {{id: shard-2, url: 'http://127.0.0.1:8082'}}\n")).unwrap();
        assert_eq!(number().await, 3);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(number().await, 3);
        let error = provider.scale(&ReplicaId("replica-0".into()), 4).await.unwrap_err();
        assert!(error.to_string().starts_with("replica-0 cannot get 4 shards"), "{error}");
    }
}
