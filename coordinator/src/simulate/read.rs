//! Files that a simulation reads: YAML, of which JSON is a part. What is wrong is told by file and field.

use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is no YAML, names a field twice, or one that nobody knows.
pub fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let value = value(&text).with_context(|| format!("read {}", file.display()))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let place = if field == "." { String::new() } else { format!("{field}: ") };
        anyhow::anyhow!("{}: {place}{}", file.display(), error.into_inner())
    })
}

/// A value in JSON's model, since YAML's has tags for enums, which nobody wants to write and `/debug/world` does not.
fn value(text: &str) -> anyhow::Result<serde_json::Value> {
    // What `/debug/world` wrote is large; as JSON it is read many times faster.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let yaml: serde_yaml::Value = serde_yaml::from_str(text)?;
    Ok(serde_json::to_value(yaml)?)
}

#[cfg(test)]
mod tests {
    use narthex_simulator::Scenario;

    use super::*;

    fn error(scenario: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("scenario.yaml");
        std::fs::write(&file, scenario).unwrap();
        let error = read::<Scenario>(&file).unwrap_err();
        format!("{error:#}").replace(&file.display().to_string(), "FILE")
    }

    #[test]
    fn a_field_that_nobody_knows_is_told_by_file_and_field() {
        let targets = "rounds: 1\nshards: {}\ntargets: [{job: a, count: 1, load: {constant: 1}, cuont: 2}]";
        assert!(error(targets).starts_with("FILE: targets[0].cuont: unknown field `cuont`"), "{}", error(targets));
        let expect = "rounds: 1\nshards: {}\nexpect: {moves: {most: 3}}";
        assert!(error(expect).starts_with("FILE: expect.moves.most: unknown field `most`"), "{}", error(expect));
        let event = "rounds: 1\nshards: {}\nevents: [{round: 1, what: {shard_dies: {shard: 1, til: 2m}}}]";
        assert!(error(event).starts_with("FILE: events[0].what.shard_dies.til: unknown field"), "{}", error(event));
        let policy = "rounds: 1\nshards: {}\npolicy: {max_serie: 3}";
        assert!(error(policy).starts_with("FILE: policy.max_serie: unknown field"), "{}", error(policy));
    }

    #[test]
    fn a_field_that_is_there_twice_is_an_error() {
        assert!(error("rounds: 1\nshards: {}\nrounds: 2").contains("rounds"), "{}", error("rounds: 1\nrounds: 2"));
    }
}
