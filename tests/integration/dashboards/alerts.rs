//! The alerts: their cases, how bad they are, their sections in the runbook, and the job that they ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use super::{RULES, RUNBOOK, list, rules, string};
use crate::support::{
    page::{check_same, root, text},
    tools::tool,
};

const CASES: &str = "deploy/prometheus/tests";
const JOB: &str = "referral-gateway";

fn alerts() -> Vec<Value> {
    let rules = rules().into_iter();
    rules.filter(|rule| !rule["alert"].is_null()).collect()
}

/// The files with cases, as paths from the root.
fn case_files() -> Vec<String> {
    let files = fs::read_dir(root().join(CASES)).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    files.map(|name| format!("{CASES}/{name}")).collect()
}

fn promtool(arguments: &[&str], files: &[String]) {
    let mut promtool = tool("promtool");
    promtool.args(arguments).args(files).current_dir(root());
    let output = promtool.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn promtool_finds_no_fault_in_the_rules_and_their_cases_pass() {
    promtool(&["check", "rules"], &[RULES.to_owned()]);
    promtool(&["test", "rules"], &case_files());
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    let alerts: BTreeSet<(String, String)> = alerts()
        .iter()
        .map(|alert| {
            let severity = string(&alert["labels"], "severity");
            (string(alert, "alert").to_owned(), severity.to_owned())
        })
        .collect();
    for file in case_files() {
        let file: Value = serde_saphyr::from_str(&text(file)).unwrap();
        for case in list(&file, "tests") {
            let mut expected = BTreeMap::new();
            for test in list(case, "alert_rule_test") {
                let name = string(test, "alertname").to_owned();
                let firing = list(test, "exp_alerts").iter();
                let severities = firing.map(|alert| string(&alert["exp_labels"], "severity"));
                let severities = severities.map(str::to_owned);
                let of_alert: &mut BTreeSet<_> = expected.entry(name).or_default();
                of_alert.extend(severities);
            }
            for alert in &alerts {
                match expected.get(&alert.0) {
                    Some(severities) if severities.contains(&alert.1) => fires.insert(alert),
                    Some(_) => is_silent.insert(alert),
                    None => false,
                };
            }
        }
    }
    let alerts = alerts.iter().collect();
    check_same(&fires, &alerts);
    check_same(&is_silent, &alerts);
}

#[test]
fn each_alert_says_how_bad_it_is_and_has_a_section_in_the_runbook() {
    let mut told = BTreeSet::new();
    for alert in alerts() {
        let name = string(&alert, "alert").to_owned();
        assert!(name.starts_with("ReferralGateway"), "{name}");
        let severity = string(&alert["labels"], "severity");
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        let annotations = &alert["annotations"];
        for text in ["summary", "description"] {
            assert!(string(annotations, text).ends_with('.'), "{text} of {name}");
        }
        let url = string(annotations, "runbook_url");
        let anchor = format!("/{RUNBOOK}#{}", name.to_lowercase());
        assert!(
            url.starts_with("https://") && url.ends_with(&anchor),
            "{url}"
        );
        told.insert(name);
    }
    let runbook = text(RUNBOOK);
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| heading.starts_with("ReferralGateway"))
        .map(str::to_owned)
        .collect();
    check_same(&sections, &told);
    for section in runbook.split("\n## ReferralGateway").skip(1) {
        for part in ["* **Means:**", "* **Look"] {
            assert!(section.contains(part), "no {part} in {section}");
        }
    }
}

#[test]
fn scrapes_name_the_job_that_alerts_and_dashboard_ask_for() {
    for file in ["scrape.yaml", "kubernetes.yaml"] {
        let file = text(format!("deploy/prometheus/{file}"));
        let scrape: Value = serde_saphyr::from_str(&file).unwrap();
        assert_eq!(scrape["scrape_configs"][0]["job_name"], JOB);
        assert_eq!(scrape["rule_files"][0], "rules.yaml");
    }
    let monitor: Value =
        serde_saphyr::from_str(&text("deploy/kubernetes/monitoring/podmonitor.yaml")).unwrap();
    let relabeled = &monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0];
    assert_eq!(relabeled["targetLabel"], "job");
    assert_eq!(relabeled["replacement"], JOB);
}
