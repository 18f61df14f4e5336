//! Which objects' groups are made from which other objects: what has to be made anew when one of these changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use crate::discover::kubernetes::objects::{ObjectKey, TargetRef};

/// An object that a group depends on without being made of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The node of a pod or an endpoint, when nodes are attached.
    Node(ObjectKey),
    /// The pod of an endpoint.
    Pod(ObjectKey),
    /// The service of endpoints.
    Service(ObjectKey),
    /// The ReplicaSet of a pod, when Deployments are attached.
    ReplicaSet(ObjectKey),
    /// The Job of a pod, when CronJobs are attached.
    Job(ObjectKey),
}

impl Reference {
    /// The pod that an endpoint belongs to, if it belongs to one.
    pub(super) fn to_pod(target_ref: Option<&TargetRef>) -> Option<Self> {
        let pod = target_ref.filter(|target_ref| &*target_ref.kind == "Pod")?;
        Some(Self::Pod(ObjectKey::new(&pod.namespace, &pod.name)))
    }
}

/// Which objects of one kind refer to which others.
///
/// Looking up who refers to something costs as much as the answer is long. An object that changes without referring to
/// anything else, as a pod's status does all the time, costs a comparison of its few references.
#[derive(Clone, Debug, Default)]
pub struct Dependents {
    references: BTreeMap<ObjectKey, Box<[Reference]>>,
    dependents: HashMap<Reference, Keys>,
}

impl Dependents {
    /// Takes over what an object refers to, instead of what it referred to before.
    pub fn set(&mut self, key: &ObjectKey, mut references: Vec<Reference>) {
        references.sort_unstable();
        references.dedup();
        let before = self.references.get(key).map_or(&[][..], |before| before);
        if *before == *references && self.references.contains_key(key) {
            return;
        }
        let (lost, new): (Vec<Reference>, Vec<Reference>) =
            (only_first(before, &references), only_first(&references, before));
        for reference in &lost {
            self.unlink(reference, key);
        }
        for reference in new {
            self.dependents.entry(reference).or_default().insert(key);
        }
        self.references.insert(key.clone(), references.into());
    }

    /// Forgets an object that has gone.
    pub fn remove(&mut self, key: &ObjectKey) {
        for reference in self.references.remove(key).unwrap_or_default() {
            self.unlink(&reference, key);
        }
    }

    /// The objects that refer to this one, sorted.
    pub fn on(&self, reference: &Reference) -> impl Iterator<Item = &ObjectKey> {
        self.dependents.get(reference).into_iter().flat_map(Keys::iter)
    }

    /// All objects in a namespace, sorted.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &ObjectKey> {
        let prefix = format!("{namespace}/");
        let from = self.references.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let keys: Vec<&ObjectKey> =
            from.map(|(key, _)| key).take_while(|key| key.as_str().starts_with(&prefix)).collect();
        keys.into_iter()
    }

    /// Whether no object is known, and nothing is referred to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.references.is_empty() && self.dependents.is_empty()
    }

    fn unlink(&mut self, reference: &Reference, key: &ObjectKey) {
        let Some(keys) = self.dependents.get_mut(reference) else { return };
        if keys.remove(key) {
            self.dependents.remove(reference);
        }
    }
}

/// What the first of two sorted lists has and the second has not.
fn only_first(first: &[Reference], second: &[Reference]) -> Vec<Reference> {
    first.iter().filter(|reference| second.binary_search(reference).is_err()).cloned().collect()
}

/// The keys of the objects that refer to something: mostly one, sometimes a hundred thousand.
#[derive(Clone, Debug, Default)]
enum Keys {
    #[default]
    None,
    One(ObjectKey),
    Many(BTreeSet<ObjectKey>),
}

impl Keys {
    fn insert(&mut self, key: &ObjectKey) {
        match self {
            Self::None => *self = Self::One(key.clone()),
            Self::One(one) => *self = Self::Many([one.clone(), key.clone()].into()),
            Self::Many(keys) => {
                keys.insert(key.clone());
            }
        }
    }

    /// Removes a key, and says whether none is left.
    fn remove(&mut self, key: &ObjectKey) -> bool {
        match self {
            Self::None => true,
            Self::One(one) => one == key,
            Self::Many(keys) => {
                keys.remove(key);
                keys.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
