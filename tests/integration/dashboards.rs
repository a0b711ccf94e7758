//! The dashboard, the rules and the runbook: what they ask for exists, and a real Prometheus has answers to it.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use self::{
    load::{SECURE, SETTINGS, faulty_upstream, load},
    promql::Names,
};
use super::support::{
    Gateway, NOWHERE, Upstream, eventually,
    page::{blocks, check_same, text},
    prometheus::Prometheus,
    tls::Authority,
};

mod alerts;
mod load;
mod promql;

const DASHBOARD: &str = "deploy/grafana/dashboard.json";
const RULES: &str = "deploy/prometheus/rules.yaml";
const RUNBOOK: &str = "docs/runbook.md";

/// Labels that a scrape adds.
const OF_TARGETS: [&str; 4] = ["job", "instance", "namespace", "pod"];

/// Metrics that Prometheus makes itself.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

/// One query, and where it stands.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) place: String,
    /// Without variables.
    pub(super) text: String,
    is_instant: bool,
    /// `{{label}}` stands for the value of a label.
    legend: String,
}

pub(super) fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    let list = value[member].as_array();
    list.unwrap_or_else(|| panic!("no list {member} in {value:#}"))
}

fn string<'v>(value: &'v Value, member: &str) -> &'v str {
    let string = value[member].as_str();
    string.unwrap_or_else(|| panic!("no text {member} in {value:#}"))
}

/// The panels of the dashboard that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = list(dashboard, "panels").iter();
    all.filter(|panel| panel["type"] != "row")
}

/// A query with the values that Grafana gives to its variables: all gateways, and one scrape each second.
fn substituted(query: &str) -> String {
    let mut query = query.to_owned();
    for (variable, value) in [
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$__rate_interval", "10s"),
        ("$__range", "2m"),
    ] {
        query = query.replace(variable, value);
    }
    assert!(!query.contains('$'), "a variable without a value: {query}");
    query
}

pub(super) fn queries_of_the_dashboard() -> Vec<Query> {
    let dashboard = dashboard();
    let queries = panels(&dashboard).flat_map(|panel| {
        list(panel, "targets").iter().map(|target| Query {
            place: format!("{} {}", string(panel, "title"), string(target, "refId")),
            text: substituted(string(target, "expr")),
            is_instant: target["instant"] == true,
            legend: string(target, "legendFormat").to_owned(),
        })
    });
    queries.collect()
}

/// The rules, alerts and records alike.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&text(RULES)).unwrap();
    let groups = list(&file, "groups").iter();
    groups
        .flat_map(|group| list(group, "rules").iter().cloned())
        .collect()
}

#[test]
fn the_dashboard_can_be_provisioned_as_it_is() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "referral-gateway");
    assert_eq!(dashboard["schemaVersion"], 39);
    assert_eq!(dashboard["editable"], false);
    assert!(dashboard.get("__inputs").is_none() && dashboard.get("id").is_none());

    let variables = list(&dashboard["templating"], "list");
    let names: Vec<_> = variables.iter().map(|one| string(one, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    for variable in &variables[1..] {
        let source = &variable["datasource"]["uid"];
        assert_eq!(source, "${datasource}", "{variable:#}");
        assert_eq!(variable["multi"], true, "{variable:#}");
        assert_eq!(variable["includeAll"], true, "{variable:#}");
        assert_eq!(variable["allValue"], ".+", "{variable:#}");
        // When the time range changes.
        assert_eq!(variable["refresh"], 2, "{variable:#}");
    }

    let mut places = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{panel:#}");
        let at = |member: &str| panel["gridPos"][member].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel:#}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(places.insert((x, y)), "two panels at {x} {y}: {panel:#}");
            }
        }
    }
}

#[test]
fn each_panel_says_what_it_shows_of_the_chosen_gateways() {
    let dashboard = dashboard();
    let mut titles = BTreeSet::new();
    let metric = Regex::new(r"\b(?:(?:referral_gateway|process)_\w+|up)\b").unwrap();
    let range = Regex::new(r"\[([^]]+)]").unwrap();
    let mut section = "";
    for panel in list(&dashboard, "panels") {
        let title = string(panel, "title");
        assert!(!title.is_empty());
        if panel["type"] == "row" {
            section = title;
            continue;
        }
        assert!(titles.insert((section, title)), "{title} twice");
        assert!(string(panel, "description").ends_with('.'), "{title}");
        let shown = &panel["fieldConfig"]["defaults"];
        let unit = string(shown, "unit");
        assert!(
            ["reqps", "s", "percentunit", "bytes", "short"].contains(&unit),
            "{unit} of {title}"
        );
        // Nothing is not 0.
        let nothing = string(shown, "noValue");
        assert!(!nothing.is_empty() && nothing != "0", "{title}");
        for target in list(panel, "targets") {
            for source in [&panel["datasource"], &target["datasource"]] {
                assert_eq!(source["uid"], "${datasource}", "{title}");
            }
            assert_eq!(string(target, "interval"), "30s", "the step of {title}");
            let query = string(target, "expr");
            let chosen = query.matches(r#"{job=~"$job", instance=~"$instance""#);
            assert_eq!(chosen.count(), metric.find_iter(query).count(), "{title}");
            for range in range.captures_iter(query) {
                assert!(
                    ["$__rate_interval", "$__range"].contains(&&range[1]),
                    "{} in {title}",
                    &range[1]
                );
            }
            // A share of nothing is no share.
            if unit == "percentunit" && query.contains(" / ") && panel["type"] == "stat" {
                assert!(shown["mappings"].to_string().contains("nan"), "{title}");
            }
        }
    }
    let rows = list(&dashboard, "panels").iter();
    let rows = rows.filter(|panel| panel["type"] == "row").count();
    assert_eq!(rows, 7);
}

/// A series of a program: its metric, and its labels.
type Series = (String, BTreeMap<String, String>);

/// The series in the text that a program shows.
fn series(metrics: &str) -> Vec<Series> {
    let label = Regex::new(r#"(\w+)="((?:[^"\\]|\\.)*)""#).unwrap();
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let name = line.split(['{', ' ']).next().unwrap().to_owned();
        let labels = label.captures_iter(line);
        let labels = labels.map(|found| (found[1].to_owned(), found[2].to_owned()));
        (name, labels.collect())
    });
    series.collect()
}

/// All queries that stand somewhere, with their places.
fn all_queries() -> Vec<(String, String)> {
    let of_dashboard = queries_of_the_dashboard().into_iter();
    let of_dashboard = of_dashboard.map(|query| (query.place, query.text));
    let of_rules = rules().into_iter().map(|rule| {
        let name = if rule["alert"].is_null() {
            "record"
        } else {
            "alert"
        };
        let query = string(&rule, "expr").to_owned();
        (string(&rule, name).to_owned(), query)
    });
    let runbook = text(RUNBOOK);
    // Some of its queries stand in a list.
    let runbook = runbook.replace("\n   ", "\n").replace("\n  ", "\n");
    let of_runbook = blocks(&runbook, "promql").into_iter();
    let of_runbook = of_runbook.map(|query| (RUNBOOK.to_owned(), query.to_owned()));
    let all = of_dashboard
        .chain(of_rules)
        .chain(of_runbook)
        .collect::<Vec<_>>();
    assert!(all.len() > 110, "{}", all.len());
    all
}

#[tokio::test]
async fn every_metric_label_and_value_that_is_asked_for_is_one_of_the_program() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let program = series(&gateway.metrics().await);
    let prometheus = Prometheus::scraping(&[]).await;
    let records: BTreeSet<String> = rules()
        .iter()
        .filter_map(|rule| rule["record"].as_str().map(str::to_owned))
        .collect();

    let mut asked_for = BTreeSet::new();
    for (place, query) in all_queries() {
        let names = Names::of(&prometheus.canonical(&query).await);
        assert!(!names.selectors.is_empty(), "{place}: {query}");
        let mut labels: BTreeSet<&str> = OF_TARGETS.into();
        for selector in &names.selectors {
            let metric = selector.metric.as_str();
            let mut matchers = selector.matchers.iter();
            let has_job = matchers.any(|matcher| matcher.label == "job");
            // Whoever follows the runbook sees which jobs there are.
            assert!(
                has_job || place == RUNBOOK || records.contains(metric),
                "{place}: {metric} of whatever job"
            );
            if records.contains(metric) || OF_PROMETHEUS.contains(&metric) {
                continue;
            }
            let of_metric: Vec<&Series> =
                program.iter().filter(|(name, _)| name == metric).collect();
            assert!(!of_metric.is_empty(), "{place}: no {metric} in the program");
            asked_for.insert(metric.to_owned());
            labels.extend(of_metric[0].1.keys().map(String::as_str));
            let matchers = selector.matchers.iter();
            let own: Vec<_> = matchers
                .filter(|matcher| !OF_TARGETS.contains(&matcher.label.as_str()))
                .collect();
            for matcher in &own {
                let has_label = of_metric[0].1.contains_key(&matcher.label);
                assert!(has_label, "{place}: {metric} has no label {matcher:?}");
            }
            let is_taken = |(_, labels): &&&Series| {
                own.iter()
                    .all(|matcher| matcher.takes(&labels[&matcher.label]))
            };
            // A rule has the modes that its policy gives it.
            let found = of_metric.iter().find(is_taken);
            assert!(found.is_some(), "{place}: no series of {selector:?}");
        }
        for label in &names.grouped_by {
            assert!(
                labels.contains(label.as_str()),
                "{place}: nothing has a label {label}"
            );
        }
    }

    // What the program counts and nobody looks at.
    let ends = ["_bucket", "_sum", "_count"];
    let base = |name: &str| {
        let end = ends.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    let asked_for: BTreeSet<String> = asked_for.iter().map(|name| base(name)).collect();
    let unseen: BTreeSet<String> = program
        .iter()
        .map(|(name, _)| base(name))
        .filter(|name| name.starts_with("referral_gateway_") && !asked_for.contains(name))
        .collect();
    assert_eq!(unseen, BTreeSet::new());
}

/// Waits until Prometheus has scraped what the gateways show now.
async fn is_scraped(prometheus: &Prometheus, gateways: &[&Gateway]) {
    for gateway in gateways {
        let shown = gateway.metric("http_requests_total", &[]).await;
        let query = format!(
            "sum(referral_gateway_http_requests_total{{instance=\"{}\"}}) >= {shown}",
            gateway.telemetry
        );
        eventually("a scrape", async || {
            !prometheus.now(&query).await.is_empty()
        })
        .await;
    }
}

/// The numbers in the result of a query: at one time, or at several.
pub(super) fn numbers(result: &Value) -> Vec<f64> {
    let points = match result["values"].as_array() {
        Some(points) => points.clone(),
        None => vec![result["value"].clone()],
    };
    let numbers = points.iter().map(|point| string_at(point, 1).parse());
    let numbers = numbers.map(Result::unwrap);
    numbers.filter(|number: &f64| number.is_finite()).collect()
}

fn string_at(point: &Value, at: usize) -> &str {
    point[at].as_str().unwrap()
}

/// What stays 0 under this load.
const STAYS_AT_ZERO: [&str; 3] = [
    // The test reads the log in time.
    "Log records dropped A",
    // The upstream neither ends a connection nor refuses to process a request.
    "Sent again, given up A",
    "Sent again, given up B",
];

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer_under_load() {
    let upstream = faulty_upstream().await;
    let policy = text("policies/referrals.yaml")
        .replace(
            "check: links_removed, on: [PUT, PATCH], mode: enforce",
            "check: links_removed, on: [PUT, PATCH], mode: audit",
        )
        .replace(
            "on: [PUT, PATCH, POST], mode: enforce",
            "on: [PUT, PATCH, POST], mode: repair, repairs: [trailing-comma]",
        );
    let gateway = Gateway::policy(&policy)
        .settings(SETTINGS)
        // No collector is there.
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{NOWHERE}"))
        .environment("OTEL_BSP_SCHEDULE_DELAY", "10")
        .start(&upstream)
        .await;
    let shown = Authority::new("A root").issue(&["localhost"]);
    let secure = Gateway::with(SECURE)
        .file("tls.crt", &shown.certificate)
        .file("tls.key", &shown.key)
        .start(&upstream)
        .await;
    let both = [&gateway, &secure];
    let prometheus = Prometheus::scraping(&both.map(|gateway| gateway.telemetry)).await;
    eventually("both gateways to be scraped", async || {
        let up = prometheus.now("sum(up) == 2").await;
        !up.is_empty()
    })
    .await;
    is_scraped(&prometheus, &both).await;

    for round in 0..2 {
        load(&gateway, &secure, &upstream, round).await;
        is_scraped(&prometheus, &both).await;
    }
    eventually("an alert", async || {
        let alerts = prometheus.now("ALERTS{alertstate=\"firing\"}").await;
        alerts.len() >= 2
    })
    .await;

    let now = prometheus.now("vector(time())").await;
    let now: f64 = string_at(&now[0]["value"], 1).parse().unwrap();
    let (start, end) = ((now - 60.0).to_string(), now.to_string());
    let (mut empty, mut zero) = (Vec::new(), BTreeSet::new());
    for query in queries_of_the_dashboard() {
        let mut parameters = vec![("query", query.text.as_str())];
        let path = if query.is_instant {
            parameters.push(("time", &end));
            "query"
        } else {
            parameters.extend([("start", &*start), ("end", &*end), ("step", "1")]);
            "query_range"
        };
        let data = prometheus.ask(path, &parameters).await;
        let data = data.unwrap_or_else(|error| panic!("{}: {error}", query.place));
        let results = list(&data, "result");
        let all: Vec<f64> = results.iter().flat_map(numbers).collect();
        if all.is_empty() {
            empty.push(format!("{}: {}", query.place, query.text));
        } else if all.iter().all(|number| *number == 0.0) {
            zero.insert(query.place.clone());
        }
        for part in query.legend.split("{{").skip(1) {
            let label = part.split("}}").next().unwrap();
            for result in results {
                let labels = &result["metric"];
                assert!(labels.get(label).is_some(), "{}: {labels}", query.place);
            }
        }
    }
    assert!(empty.is_empty(), "queries without an answer: {empty:#?}");
    let expected = STAYS_AT_ZERO.map(str::to_owned).into();
    check_same(&zero, &expected);

    for variable in &list(&dashboard()["templating"], "list")[1..] {
        let query = substituted(string(variable, "definition"));
        let inner = query.strip_prefix("label_values(").unwrap();
        let (selector, label) = inner.trim_end_matches(')').rsplit_once(", ").unwrap();
        let path = format!("label/{label}/values");
        let values = prometheus
            .ask(&path, &[("match[]", selector)])
            .await
            .unwrap();
        let gateways = if label == "instance" { 2 } else { 1 };
        assert_eq!(
            values.as_array().unwrap().len(),
            gateways,
            "{query}: {values}"
        );
    }
    for rule in rules() {
        let Some(record) = rule["record"].as_str() else {
            continue;
        };
        assert!(!prometheus.now(record).await.is_empty(), "{record}");
    }
    let groups = prometheus.ask("rules", &[]).await.unwrap();
    for group in list(&groups, "groups") {
        for rule in list(group, "rules") {
            assert_eq!(rule["health"], "ok", "{rule:#}");
        }
    }
}
