//! What is to be previewed.

use narthex_planner::{Policy, World, policy::Settings};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::shards;

/// Rounds at most: each of a large fleet takes about a second.
const MAX_ROUNDS: u32 = 100;
/// Shards of a replica at most.
const MAX_SHARDS: u32 = 10_000;

/// A request to plan without consequences.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::status) struct PreviewRequest {
    /// What differs in the policy.
    #[serde(default)]
    policy: Map<String, Value>,
    /// How many shards there are.
    #[serde(default)]
    shards: Value,
    /// The text of another prometheus.yml.
    #[serde(default)]
    pub(in crate::status) config: Option<String>,
    /// How many rounds are planned, at most.
    #[serde(default = "one")]
    pub(super) rounds: u32,
}

const fn one() -> u32 {
    1
}

impl PreviewRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// When it is no such request.
    pub(in crate::status) fn parse(body: &[u8]) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| format!("read what is to be previewed: {error}");
        // A derived reader would take a list for an object.
        let fields: Map<String, Value> = serde_json::from_slice(body).map_err(unreadable)?;
        let request: Self = serde_json::from_value(Value::Object(fields)).map_err(unreadable)?;
        if request.rounds == 0 || request.rounds > MAX_ROUNDS {
            return Err(format!("rounds is {}; it may be a number from 1 to {MAX_ROUNDS}", request.rounds));
        }
        Ok(request)
    }

    /// The running policy with what is asked to differ.
    pub(super) fn policy(&self, running: &Policy) -> Result<Policy, String> {
        let refused = |error: &dyn std::fmt::Display| format!("policy: {error}");
        let mut settings = match serde_json::to_value(running) {
            Ok(Value::Object(settings)) => settings,
            Ok(_) => Map::new(),
            Err(error) => return Err(refused(&error)),
        };
        settings.extend(self.policy.clone());
        let settings: Settings = serde_json::from_value(Value::Object(settings)).map_err(|error| refused(&error))?;
        Policy::new(settings).map_err(|error| refused(&error))
    }

    /// Adds and removes shards as asked.
    pub(super) fn set_shards(&self, world: &mut World) -> Result<(), String> {
        let World { now, targets, replicas, .. } = world;
        let now = *now;
        let count = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| *number <= MAX_SHARDS).ok_or_else(|| {
                format!(
                    "shards is {value}; it may be a number up to {MAX_SHARDS}, or an object that has one for each \
                     replica, such as {{\"replica-0\": 3}}"
                )
            })
        };
        match &self.shards {
            Value::Null => {}
            Value::Object(wanted) => {
                for (id, value) in wanted {
                    let number = count(value)?;
                    let replica = replicas.iter_mut().find(|replica| replica.id.0 == *id);
                    let replica = replica.ok_or_else(|| format!("shards: there is no replica {id:?}"))?;
                    shards::set_shards(replica, number, targets, now);
                }
            }
            number @ (Value::Number(_) | Value::Bool(_) | Value::String(_) | Value::Array(_)) => {
                let number = count(number)?;
                replicas.iter_mut().for_each(|replica| shards::set_shards(replica, number, targets, now));
            }
        }
        Ok(())
    }
}
