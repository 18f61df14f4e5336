//! The name of a job: one `scrape_configs` entry.

use std::{fmt, sync::Arc};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// A job, by its `job_name`. Cheap to clone: every target of a job shares one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(Arc<str>);

impl JobName {
    /// The name as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// More patterns of jobs than anybody asks for at once.
const MOST_PATTERNS: usize = 100;
/// What a pattern may take once it is compiled: no request is to fill the memory with them.
const PATTERN_SIZE: usize = 1 << 20;

/// Reads the regular expression of a request's parameter `job`, after so many others.
///
/// # Errors
/// When it is none, or one too many.
pub fn job_pattern(text: &str, others: usize) -> Result<Regex, String> {
    if others >= MOST_PATTERNS {
        return Err(format!("job may be given {MOST_PATTERNS} times at most"));
    }
    RegexBuilder::new(text).size_limit(PATTERN_SIZE).build().map_err(|error| format!("job {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_jobs_are_bounded_in_number_and_size() {
        assert!(job_pattern("node-.*", 99).unwrap().is_match("node-a"));
        assert!(job_pattern("a", 100).unwrap_err().contains("at most"));
        assert!(job_pattern(r"\w{4000}", 0).unwrap_err().contains("size limit"));
        assert!(job_pattern("(", 0).is_err());
    }
}
