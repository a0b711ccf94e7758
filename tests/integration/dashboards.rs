//! The rules and the runbook.

use serde_json::Value;

use super::support::page::text;

mod alerts;

const RULES: &str = "deploy/prometheus/rules.yaml";
const RUNBOOK: &str = "docs/runbook.md";

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    let list = value[member].as_array();
    list.unwrap_or_else(|| panic!("no list {member} in {value:#}"))
}

fn string<'v>(value: &'v Value, member: &str) -> &'v str {
    let string = value[member].as_str();
    string.unwrap_or_else(|| panic!("no text {member} in {value:#}"))
}

/// The rules, alerts and records alike.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&text(RULES)).unwrap();
    let groups = list(&file, "groups").iter();
    groups
        .flat_map(|group| list(group, "rules").iter().cloned())
        .collect()
}
