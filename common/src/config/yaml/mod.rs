//! YAML as a tree of its own text: every scalar keeps the text and the quoting it was written with, so that what is
//! not ours is written back unchanged. Aliases and merges (`<<`) are resolved while reading.
//!
//! The dialect is the one of Go's yaml.v2, which Prometheus reads: YAML 1.1 scalars, later keys win over merged ones.

mod read;
mod scalar;
mod write;

pub(super) use read::has_free_keys;
pub use read::{YamlError, read};
pub use scalar::Mismatch;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line it starts at, counted from 1; that of its key when it has one; 0 for a node that was made, not read.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file.
    Mapping(Vec<(Scalar, Node)>),
}

/// A scalar as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text, unquoted and unescaped.
    pub text: String,
    /// Whether it was quoted or a block, and thus is a string whatever it looks like.
    pub quoted: bool,
}

impl Node {
    /// A string that is read back as this very string.
    #[must_use]
    pub fn string(text: impl Into<String>) -> Self {
        Self { line: 0, kind: Kind::Scalar(Scalar { text: text.into(), quoted: true }) }
    }

    /// A plain scalar: a number, a boolean, a duration.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { line: 0, kind: Kind::Scalar(Scalar { text: text.into(), quoted: false }) }
    }

    /// A list.
    #[must_use]
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self { line: 0, kind: Kind::Sequence(items.into_iter().collect()) }
    }

    /// A mapping.
    #[must_use]
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries = entries.into_iter().map(|(k, v)| (Scalar { text: k.into(), quoted: false }, v)).collect();
        Self { line: 0, kind: Kind::Mapping(entries) }
    }

    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            Kind::Scalar(_) | Kind::Sequence(_) => None,
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::Mapping(entries) => entries.iter_mut().find(|(k, _)| k.text == key).map(|(_, v)| v),
            Kind::Scalar(_) | Kind::Sequence(_) => None,
        }
    }

    /// Sets a key: in its place when it is there, at the end otherwise. Does nothing unless this is a mapping.
    pub fn set(&mut self, key: &str, value: Self) {
        if let Some(old) = self.get_mut(key) {
            *old = value;
        } else if let Kind::Mapping(entries) = &mut self.kind {
            entries.push((Scalar { text: key.into(), quoted: false }, value));
        }
    }

    /// Removes the keys for which `keep` does not hold. Does nothing unless this is a mapping.
    pub fn retain_keys(&mut self, mut keep: impl FnMut(&str) -> bool) {
        if let Kind::Mapping(entries) = &mut self.kind {
            entries.retain(|(k, _)| keep(&k.text));
        }
    }

    /// The items, when this is a list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar(_) | Kind::Mapping(_) => &[],
        }
    }

    /// The items, to be changed, when this is a list.
    pub fn items_mut(&mut self) -> &mut [Self] {
        match &mut self.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar(_) | Kind::Mapping(_) => &mut [],
        }
    }

    /// The text, when this is a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// The items, when this is a list; none when it is nothing. `None` for anything else.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            Kind::Scalar(_) if self.is_null() => Some(&[]),
            Kind::Scalar(_) | Kind::Mapping(_) => None,
        }
    }

    /// The keys with their values, when this is a mapping; none when it is nothing. `None` for anything else.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Scalar, Self)]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Scalar(_) if self.is_null() => Some(&[]),
            Kind::Scalar(_) | Kind::Sequence(_) => None,
        }
    }

    /// The tree as YAML in block style. Reading it gives the same tree.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        write::document(self)
    }
}
