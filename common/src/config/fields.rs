//! A mapping read field by field, as strictly as Prometheus: what nobody asked for is an error.

use std::{cell::RefCell, collections::BTreeSet, fmt, path::Path};

use super::{
    ConfigError, PromDuration,
    http_client::Secret,
    yaml::{Mismatch, Node, Scalar},
};

/// What is wrong with a file, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) job: Option<String>,
    pub(super) message: String,
    /// Whether it is only that a field is not known.
    pub(super) is_of_unknown_field: bool,
}

impl Fault {
    pub(super) fn new(line: usize, message: impl fmt::Display) -> Self {
        Self { line, job: None, message: message.to_string(), is_of_unknown_field: false }
    }

    pub(super) fn at(node: &Node, message: impl fmt::Display) -> Self {
        Self::new(node.line, message)
    }

    /// The same fault, said to be in a job.
    pub(super) fn in_job(self, job: &str) -> Self {
        Self { job: (!job.is_empty()).then(|| job.to_owned()), ..self }
    }

    pub(super) fn in_file(self, path: &Path) -> ConfigError {
        ConfigError { path: path.to_owned(), line: Some(self.line), job: self.job, message: self.message }
    }
}

/// The fields of one mapping. A field that is written but empty has its type's zero value, not its default.
pub(super) struct Fields<'a> {
    entries: &'a [(Scalar, Node)],
    line: usize,
    kind: &'static str,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The fields of a node that stands for a value of Prometheus' type `kind`.
    pub(super) fn of(node: &'a Node, kind: &'static str) -> Result<Self, Fault> {
        let entries = node.as_map().ok_or_else(|| Fault::at(node, node.mismatch(kind)))?;
        Ok(Self { entries, line: node.line, kind, asked: RefCell::default() })
    }

    /// The same where a text in its place may be a secret: an error does not show it.
    pub(super) fn of_secrets(node: &'a Node, kind: &'static str) -> Result<Self, Fault> {
        let entries = node.as_map().ok_or_else(|| Fault::at(node, node.secret_mismatch(kind)))?;
        Ok(Self { entries, line: node.line, kind, asked: RefCell::default() })
    }

    /// The line the mapping starts at.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The field's node, when it is written.
    pub(super) fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(name);
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// The field's node, when it is written and not empty: what a pointer is in Go.
    pub(super) fn get_filled(&self, name: &'static str) -> Option<&'a Node> {
        self.get(name).filter(|node| !node.is_null())
    }

    /// The line of a field, or of the whole when it is not written.
    pub(super) fn line_of(&self, name: &'static str) -> usize {
        self.get(name).map_or(self.line, |node| node.line)
    }

    pub(super) fn string(&self, name: &'static str, default: &str) -> Result<String, Fault> {
        Ok(self.convert(name, Node::as_str)?.unwrap_or(default).to_owned())
    }

    pub(super) fn bool(&self, name: &'static str, default: bool) -> Result<bool, Fault> {
        Ok(self.convert(name, Node::as_bool)?.unwrap_or(default))
    }

    /// A boolean that may be left to `global`.
    pub(super) fn inherited_bool(&self, name: &'static str) -> Result<Option<bool>, Fault> {
        if self.get_filled(name).is_none() { Ok(None) } else { self.convert(name, Node::as_bool) }
    }

    pub(super) fn u64(&self, name: &'static str) -> Result<u64, Fault> {
        Ok(self.convert(name, Node::as_u64)?.unwrap_or(0))
    }

    pub(super) fn f64(&self, name: &'static str) -> Result<f64, Fault> {
        Ok(self.convert(name, Node::as_f64)?.unwrap_or(0.0))
    }

    /// A duration; none is written as no duration at all.
    pub(super) fn duration(&self, name: &'static str) -> Result<PromDuration, Fault> {
        let Some(node) = self.get_filled(name) else { return Ok(PromDuration::default()) };
        let text = self.convert(name, Node::as_str)?.unwrap_or_default();
        text.parse().map_err(|bad| Fault::at(node, format!("field {name}: {bad}")))
    }

    /// The items of a list field.
    pub(super) fn list(&self, name: &'static str, kind: &'static str) -> Result<&'a [Node], Fault> {
        let Some(node) = self.get(name) else { return Ok(&[]) };
        node.as_list().ok_or_else(|| in_field(node, name, &node.mismatch(kind)))
    }

    /// The entries of a field with free keys.
    pub(super) fn map(&self, name: &'static str, kind: &'static str) -> Result<&'a [(Scalar, Node)], Fault> {
        let Some(node) = self.get(name) else { return Ok(&[]) };
        node.as_map().ok_or_else(|| in_field(node, name, &node.mismatch(kind)))
    }

    /// A list of strings.
    pub(super) fn strings(&self, name: &'static str) -> Result<Vec<String>, Fault> {
        let items = self.list(name, "[]string")?;
        items.iter().map(|item| string_in(item, name)).collect()
    }

    /// A list of secrets, which errors do not show.
    pub(super) fn secrets(&self, name: &'static str) -> Result<Vec<Secret>, Fault> {
        let Some(node) = self.get(name) else { return Ok(Vec::new()) };
        secrets_in(node, name)
    }

    /// The end: every field that is written must have been asked for.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let asked = self.asked.borrow();
        match self.entries.iter().find(|(key, _)| !asked.contains(key.text.as_str())) {
            Some((key, node)) => {
                let message = format!("field {} not found in type {}", key.text, self.kind);
                Err(Fault { is_of_unknown_field: true, ..Fault::at(node, message) })
            }
            None => Ok(()),
        }
    }

    fn convert<T>(
        &self,
        name: &'static str,
        convert: impl Fn(&'a Node) -> Result<T, Mismatch>,
    ) -> Result<Option<T>, Fault> {
        self.get(name).map(|node| convert(node).map_err(|mismatch| in_field(node, name, &mismatch))).transpose()
    }
}

/// A list of secrets within a field.
pub(super) fn secrets_in(node: &Node, field: &str) -> Result<Vec<Secret>, Fault> {
    let mismatch = |node: &Node, wanted| in_field(node, field, &node.secret_mismatch(wanted));
    let items = node.as_list().ok_or_else(|| mismatch(node, "[]config.Secret"))?;
    let text = |item: &Node| item.as_str().map(Secret::new).map_err(|_| mismatch(item, "config.Secret"));
    items.iter().map(text).collect()
}

/// A string within a field.
pub(super) fn string_in(node: &Node, field: &str) -> Result<String, Fault> {
    Ok(node.as_str().map_err(|mismatch| in_field(node, field, &mismatch))?.to_owned())
}

fn in_field(node: &Node, field: &str, mismatch: &Mismatch) -> Fault {
    Fault::at(node, format!("field {field}: {mismatch}"))
}
