//! Worlds from files: each folder of `scenarios` is named by what it shows, and holds a `world.yaml` (as
//! `/debug/world` writes it: JSON is YAML), the `policy.yaml` it is planned with, and the `plan.yaml` that must come out.
//! With `UPDATE_SCENARIOS` set, `plan.yaml` is written instead; look at the difference before you keep it.

use std::{fs, path::Path};

use narthex_planner::{Plan, Policy, World};
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let file = fs::File::open(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    // By way of JSON's data model: YAML's has tags for enums, which `/debug/world` does not write.
    let value: serde_json::Value = serde_yaml::from_reader(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_scenario_ends_as_its_plan_says() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut seen = 0;
    for scenario in fs::read_dir(scenarios).unwrap() {
        let scenario = scenario.unwrap().path();
        let world: World = read(&scenario.join("world.yaml"));
        let policy: Policy = read(&scenario.join("policy.yaml"));
        let plan = narthex_planner::plan(&world, &policy);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            let written = fs::File::create(scenario.join("plan.yaml")).unwrap();
            serde_yaml::to_writer(written, &serde_json::to_value(&plan).unwrap()).unwrap();
        }
        assert_eq!(plan, read::<Plan>(&scenario.join("plan.yaml")), "{}", scenario.display());
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} scenarios were found");
}
