//! Lists of target groups in JSON, read as Go's `encoding/json` with `DisallowUnknownFields` reads them.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use super::ListedGroup;

/// Reads a list; none is an item that was written `null`.
pub(super) fn read(text: &str) -> Result<Vec<Option<ListedGroup>>, String> {
    let list: Option<Vec<Option<ListedGroup>>> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(list.unwrap_or_default())
}

impl<'de> Deserialize<'de> for ListedGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(GroupVisitor)
    }
}

struct GroupVisitor;

impl<'de> Visitor<'de> for GroupVisitor {
    type Value = ListedGroup;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target group")
    }

    /// Field names are compared without case and `null` leaves a value empty, both as in Go.
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ListedGroup, A::Error> {
        let mut group = ListedGroup::default();
        while let Some(field) = fields.next_key::<String>()? {
            if field.eq_ignore_ascii_case("targets") {
                let targets: Option<Vec<Option<String>>> = fields.next_value()?;
                group.targets = targets.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
            } else if field.eq_ignore_ascii_case("labels") {
                let labels: Option<BTreeMap<String, Option<String>>> = fields.next_value()?;
                let labels = labels.unwrap_or_default().into_iter();
                group.labels = labels.map(|(name, value)| (name, value.unwrap_or_default())).collect();
            } else {
                return Err(A::Error::custom(format!("json: unknown field {field:?}")));
            }
        }
        Ok(group)
    }
}
