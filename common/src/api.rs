//! The HTTP APIs between the programs: paths and the envelope that Prometheus' API has.

use serde::{Deserialize, Serialize};

/// A sidecar's report; `?since=CURSOR` for what changed.
pub const SHARD_REPORT: &str = "/api/v1/shard/report";
/// A sidecar's assignment: GET it, or PUT an [`AssignmentUpdate`](crate::assignment::AssignmentUpdate).
pub const SHARD_ASSIGNMENT: &str = "/api/v1/shard/assignment";
/// Which metrics a sidecar's targets have; a [`SamplesQuery`](crate::samples::SamplesQuery) says of which jobs, and how
/// many.
pub const SHARD_SAMPLES: &str = "/api/v1/shard/samples";
/// Takes a config from the coordinator: PUT [`ConfigSources`](crate::config::ConfigSources). Only for a sidecar that was
/// given no file of its own.
pub const SHARD_CONFIG: &str = "/api/v1/shard/config";
/// Reads the config file again.
pub const RELOAD: &str = "/-/reload";

/// An answer, as Prometheus' API wraps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Answer<T> {
    /// What was asked for.
    Success {
        /// The data.
        data: T,
    },
    /// Why there is none.
    #[serde(rename_all = "camelCase")]
    Error {
        /// The kind of error.
        error_type: ErrorType,
        /// What was tried and what failed.
        error: String,
    },
}

/// Kinds of errors, Prometheus' own and one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request makes no sense.
    BadData,
    /// The request made sense and failed.
    Execution,
    /// Something broke on this side.
    Internal,
    /// There is no such thing.
    NotFound,
    /// Not now.
    Unavailable,
    /// It was changed by someone else meanwhile.
    Conflict,
}

impl<T> Answer<T> {
    /// The data, or the error's text.
    ///
    /// # Errors
    /// When the answer is an error.
    pub fn into_result(self) -> Result<T, String> {
        match self {
            Self::Success { data } => Ok(data),
            Self::Error { error, .. } => Err(error),
        }
    }
}
