//! Objects as kube's watcher hands them over.

use std::borrow::Cow;

use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer};

use super::Kind;

/// An object on its way from kube's watcher to where it is kept.
///
/// kube asks for an [`ObjectMeta`], which takes hundreds of bytes and would keep everything twice. This one has the
/// name, the namespace and the resource version, which is what the watcher and its errors use, and goes once
/// [`object`](Self::object) is taken out.
#[derive(Clone, Debug)]
pub struct Watched<O> {
    /// The object, without what only the watcher needs.
    pub object: O,
    identity: ObjectMeta,
}

impl<'de, O: Kind> Deserialize<'de> for Watched<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = O::deserialize(deserializer)?;
        object.slim();
        let meta = object.meta_mut();
        let identity = ObjectMeta {
            name: Some(meta.name.to_string()),
            namespace: (!meta.namespace.is_empty()).then(|| meta.namespace.to_string()),
            resource_version: meta.resource_version.take().map(String::from),
            ..ObjectMeta::default()
        };
        Ok(Self { object, identity })
    }
}

impl<O: Kind> Resource for Watched<O> {
    type DynamicType = ();
    type Scope = O::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        O::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        O::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        O::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        O::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.identity
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.identity
    }
}
