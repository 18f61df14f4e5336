//! What of a plan is asked for.

use regex::Regex;

/// Entries of a list unless asked otherwise.
const DEFAULT_LIMIT: usize = 1000;
/// Entries of a list at most: some tens of megabytes of JSON.
const MAX_LIMIT: usize = 100_000;

/// The kinds of changes there are.
const KINDS: [&str; 7] = ["place", "move", "settle", "give_back", "suspect", "forget", "scale"];

/// What is asked for.
#[derive(Debug)]
pub(in crate::status) struct PlanQuery {
    /// How many entries each list may have.
    pub(super) limit: usize,
    /// Only targets of jobs that match one of these.
    pub(super) jobs: Vec<Regex>,
    /// Only what is about one of these shards, by name.
    pub(super) shards: Vec<String>,
    /// Only changes of these kinds.
    pub(super) kinds: Vec<String>,
}

impl Default for PlanQuery {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, jobs: Vec::new(), shards: Vec::new(), kinds: Vec::new() }
    }
}

impl PlanQuery {
    /// Reads a URL's query: `limit`, and `job` (a regular expression), `shard` and `change`, each of which may be
    /// repeated.
    ///
    /// # Errors
    /// When there is no such parameter, or not with that value. A filter that is overlooked would show everything.
    pub(in crate::status) fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "limit" => {
                    asked.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| *limit <= MAX_LIMIT)
                        .ok_or_else(|| format!("limit is {value:?}; it may be a number up to {MAX_LIMIT}"))?;
                }
                "job" => asked.jobs.push(Regex::new(&value).map_err(|error| format!("job {value:?}: {error}"))?),
                "shard" => asked.shards.push(value.into_owned()),
                "change" if KINDS.contains(&&*value) => asked.kinds.push(value.into_owned()),
                "change" => return Err(format!("change is {value:?}; it may be one of {}", KINDS.join(", "))),
                other => {
                    return Err(format!("there is no parameter {other:?}; there are limit, job, shard and change"));
                }
            }
        }
        Ok(asked)
    }
}
