//! The metadata that all objects have.

use serde::{Deserialize, Deserializer};

use super::{List, Pairs, Text, parts::null_is_default};

/// What is kept of an object's `metadata`. `managedFields`, often the larger half of an object, are never even read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// The object's name.
    pub name: Text,
    /// Its namespace; empty for what has none.
    pub namespace: Text,
    /// Its unique identity; kept for pods only.
    pub uid: Text,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
    /// The owner that manages it; kept for pods, ReplicaSets and Jobs only.
    #[serde(rename = "ownerReferences", deserialize_with = "controller")]
    pub controller: Option<Box<Controller>>,
    /// Where in the API server's history the object stands: the watcher needs it, and no object that is kept has it.
    pub(super) resource_version: Option<Box<str>>,
}

/// The owner that manages an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its kind: `ReplicaSet`.
    pub kind: Text,
    /// Its name.
    pub name: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnerReference {
    kind: Text,
    name: Text,
    #[serde(deserialize_with = "null_is_default")]
    controller: bool,
}

/// The first of the owners that says it is the controller.
fn controller<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Controller>>, D::Error> {
    let owners = List::<OwnerReference>::deserialize(deserializer)?;
    let controller = owners.iter().find(|owner| owner.controller);
    Ok(controller.map(|owner| Box::new(Controller { kind: owner.kind.clone(), name: owner.name.clone() })))
}
