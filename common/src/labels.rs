//! Label sets: sorted by name, without empty values, as Prometheus has them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap as _};

/// The address a target is scraped at.
pub const ADDRESS: &str = "__address__";
/// The scheme a target is scraped with: `http` or `https`.
pub const SCHEME: &str = "__scheme__";
/// The path a target is scraped at.
pub const METRICS_PATH: &str = "__metrics_path__";
/// How often a target is scraped.
pub const SCRAPE_INTERVAL: &str = "__scrape_interval__";
/// How long one scrape may take.
pub const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
/// What a label name that carries an URL parameter starts with.
pub const PARAM_PREFIX: &str = "__param_";
/// What the name of a label that discovery found starts with; none survives relabeling.
pub const META_PREFIX: &str = "__meta_";
/// What names of labels start with that never reach a series.
pub const RESERVED_PREFIX: &str = "__";
/// The job a target belongs to.
pub const JOB: &str = "job";
/// The instance a target is.
pub const INSTANCE: &str = "instance";
/// The name of a metric, as a label.
pub const METRIC_NAME: &str = "__name__";

/// An unchanging set of labels, sorted by name. A label with an empty value does not exist. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(CompactString, CompactString)]>);

impl Labels {
    /// The value of a label, when it exists.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok().map(|i| self.0[i].1.as_str())
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels that series carry: all but the reserved ones.
    pub fn visible(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(n, _)| !n.starts_with(RESERVED_PREFIX))
    }

    /// The reserved labels, which stay with the target and never reach a series.
    pub fn internal(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(n, _)| n.starts_with(RESERVED_PREFIX))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl<N: Into<CompactString>, V: Into<CompactString>> FromIterator<(N, V)> for Labels {
    /// Of two labels with one name, the last wins.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in labels {
            builder.set(name, value);
        }
        builder.build()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// As Prometheus writes a label set: `{job="node", instance="a:9100"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<CompactString, CompactString>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Labels while they change: what relabeling works on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelsBuilder(Vec<(CompactString, CompactString)>);

impl LabelsBuilder {
    /// The value of a label, when it exists.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|i| self.0[i].1.as_str())
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<CompactString>, value: impl Into<CompactString>) {
        let (name, value) = (name.into(), value.into());
        // Labels mostly come sorted.
        if self.0.last().is_none_or(|(last, _)| *last < name) {
            if !value.is_empty() {
                self.0.push((name, value));
            }
            return;
        }
        match (self.position(&name), value.is_empty()) {
            (Ok(i), true) => drop(self.0.remove(i)),
            (Ok(i), false) => self.0[i].1 = value,
            (Err(_), true) => {}
            (Err(i), false) => self.0.insert(i, (name, value)),
        }
    }

    /// Sets a label unless it exists.
    pub fn set_default(&mut self, name: impl Into<CompactString>, value: impl Into<CompactString>) {
        let name = name.into();
        if self.get(&name).is_none() {
            self.set(name, value);
        }
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        if let Ok(i) = self.position(name) {
            self.0.remove(i);
        }
    }

    /// Removes all labels and keeps their room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps only the labels for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|(n, v)| keep(n, v));
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The finished set.
    #[must_use]
    pub fn build(self) -> Labels {
        Labels(self.0.into())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        Self(labels.0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_label_does_not_exist() {
        let labels: Labels = [("b", "2"), ("a", ""), ("c", "3"), ("c", "")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("b", "2")]);
        assert_eq!(labels.get("a"), None);
    }

    #[test]
    fn labels_are_sorted_and_survive_json() {
        let labels: Labels = [("b", "2"), ("a", "1"), ("__x", "3")].into_iter().collect();
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(json, r#"{"__x":"3","a":"1","b":"2"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
        assert_eq!(labels.visible().count(), 2);
        assert_eq!(labels.to_string(), r#"{__x="3", a="1", b="2"}"#);
    }
}
