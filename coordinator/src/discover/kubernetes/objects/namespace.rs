//! Namespaces: their labels and annotations.

use serde::Deserialize;

use super::{Meta, kind, parts::null_is_default};

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
}

kind!(Namespace, "", "v1", "namespaces", ClusterResourceScope);
