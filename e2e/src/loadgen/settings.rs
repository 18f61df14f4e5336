//! What a target is like, and how that changes.

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{Context as _, ensure};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a load generator serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the first target; the others take the ports after it, or any when it is 0.
    pub listen: String,
    /// `host:port` of the control API, if there is to be one.
    pub control: Option<String>,
    /// The targets.
    pub targets: Vec<TargetSettings>,
}

impl Config {
    /// Targets on free ports of this machine, without a control API: what a test needs.
    #[must_use]
    pub fn on_free_ports(targets: Vec<TargetSettings>) -> Self {
        Self { listen: "127.0.0.1:0".to_owned(), control: None, targets }
    }
}

/// What one target is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TargetSettings {
    /// Series it exposes, exactly.
    pub series: u64,
    /// Metric names they are spread over.
    pub metrics: u64,
    /// Labels of each, besides the one that tells it from the others of its name.
    pub labels: u32,
    /// Series it gains in a minute, from when this or `series` was set.
    pub growth_per_minute: u64,
    /// Milliseconds before an answer.
    pub delay_ms: u64,
    /// What goes wrong.
    pub failure: Failure,
    /// Whether it compresses when asked to.
    pub gzip: bool,
    /// Whether values stay what they are at first, so that a body is made once and costs nothing from then on.
    pub fixed_values: bool,
    /// Whether paths other than `/metrics` have a gauge more, which shows path and parameters.
    pub reflect: bool,
    /// A body to serve as it is, instead of series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The `Content-Type` of that body; text format 0.0.4 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The user who may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// The token of who may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// TLS, if it is to be spoken. Cannot change while the target runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for TargetSettings {
    fn default() -> Self {
        Self {
            series: 10_045,
            metrics: 100,
            labels: 4,
            growth_per_minute: 0,
            delay_ms: 0,
            failure: Failure::None,
            gzip: true,
            fixed_values: false,
            reflect: false,
            body: None,
            content_type: None,
            basic_auth: None,
            bearer: None,
            tls: None,
        }
    }
}

impl TargetSettings {
    /// These settings with the fields of a JSON object changed, and those that are null set back to their default
    /// (a merge patch, RFC 7396).
    ///
    /// # Errors
    /// When the object has a field that does not exist, or a value that cannot be.
    pub fn changed(&self, change: &Value) -> anyhow::Result<Self> {
        let change = change.as_object().context("not a JSON object")?;
        let mut settings: serde_json::Map<String, Value> = serde_json::from_value(serde_json::to_value(self)?)?;
        for (field, value) in change {
            if value.is_null() {
                settings.remove(field);
            } else {
                settings.insert(field.clone(), value.clone());
            }
        }
        let changed: Self = serde_json::from_value(Value::Object(settings))?;
        ensure!(changed.metrics > 0, "metrics must be at least 1");
        Ok(changed)
    }
}

/// A user and their password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How TLS is spoken: paths of PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The certificate and what leads to its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that clients must have a certificate of, if they must have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// What goes wrong with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Failure {
    /// Nothing.
    #[default]
    None,
    /// It answers with this status.
    Status(StatusCode),
    /// Its port is closed, also to those who are connected.
    Refuse,
    /// It closes the connection in the middle of the body.
    BreakOff,
    /// Its body does not end.
    Endless,
    /// Its body is no exposition.
    Garbage,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Status(code) => write!(f, "status:{}", code.as_u16()),
            Self::Refuse => f.write_str("refuse"),
            Self::BreakOff => f.write_str("breakOff"),
            Self::Endless => f.write_str("endless"),
            Self::Garbage => f.write_str("garbage"),
        }
    }
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "none" => Self::None,
            "refuse" => Self::Refuse,
            "breakOff" => Self::BreakOff,
            "endless" => Self::Endless,
            "garbage" => Self::Garbage,
            _status => text
                .strip_prefix("status:")
                .and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok())
                .map(Self::Status)
                .ok_or_else(|| format!("{text:?} is none of none, status:CODE, refuse, breakOff, endless, garbage"))?,
        })
    }
}

impl TryFrom<String> for Failure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_null_sets_back() {
        let settings = TargetSettings { delay_ms: 7, bearer: Some("t".to_owned()), ..TargetSettings::default() };
        let changed = settings.changed(&json!({"series": 5, "failure": "status:503", "bearer": null})).unwrap();
        let expected = TargetSettings {
            series: 5,
            delay_ms: 7,
            failure: Failure::Status(StatusCode::SERVICE_UNAVAILABLE),
            ..TargetSettings::default()
        };
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_change_that_cannot_be_is_refused() {
        let refused = |change: Value| TargetSettings::default().changed(&change).unwrap_err().to_string();
        assert!(refused(json!({"seriess": 5})).contains("unknown field `seriess`"));
        assert!(refused(json!({"failure": "sometimes"})).contains("none of none, status:CODE"));
        assert!(refused(json!({"metrics": 0})).contains("at least 1"));
        assert!(refused(json!([])).contains("not a JSON object"));
    }
}
