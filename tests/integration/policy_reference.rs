//! The pages on policies are true: their documents are loaded, their requests sent, their tables compared with the program.
//!
//! A page is read from top to bottom. The default document is in force until the page shows rules or a document, and
//! those until the next ones; `yaml settings` holds for all pages. Each gateway starts when a request is shown, so its
//! counters begin at 0 there. A block or table of a kind that is not known here fails the test, so each example on
//! these pages is checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use referral_gateway::policy::judging::Unjudged;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    commands::{ended, program, run, write},
    docs::rule_codes,
    support::{
        Answer, Gateway, Upstream,
        page::{between, check_part, check_same, only, section, text, ticked},
        token::{Issuer, in_an_hour, with_claims},
        tools::tool,
        upstream::Seen,
        wire::Call,
    },
};

const ITEM: &str = "/v1.0/engagements/referrals/";
const TAG: &str = "\"v1\"";
const GOOD: &str = r#"{"status":"Active","substatus":"Accepted"}"#;

/// A piece of the page.
#[derive(Debug)]
enum Part {
    Block {
        kind: String,
        text: String,
    },
    Table {
        head: String,
        rows: Vec<Vec<String>>,
    },
}

/// The pages of the reference.
const PAGES: [&str; 8] = [
    "docs/policy.md",
    "docs/policy/checks.md",
    "docs/policy/modes.md",
    "docs/policy/repairs.md",
    "docs/policy/expressions.md",
    "docs/policy/states.md",
    "docs/policy/faults.md",
    "docs/policy/rollout.md",
];

/// The sections on other pages that are read like these.
const SECTIONS: [(&str, &str); 2] = [
    ("docs/errors.md", "Answers"),
    ("docs/observability.md", "Decision records"),
];

/// All of the reference, one page after the other.
fn reference() -> String {
    let pages = PAGES.iter().map(text);
    let sections = SECTIONS.iter();
    let sections = sections.map(|(page, heading)| section(page, heading));
    pages.chain(sections).collect::<Vec<_>>().join("\n")
}

/// The fenced blocks and the tables of a text, in their order.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            parts.push(Part::Block {
                kind: kind.to_owned(),
                text: inside.join("\n"),
            });
        } else if line.starts_with('|') {
            let mut rows = vec![cells(line)];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(cells(row));
            }
            let head = rows.remove(0).join(" | ");
            assert!(rows.remove(0).iter().all(|cell| cell == "---"), "{head}");
            assert!(!rows.is_empty(), "{head}");
            parts.push(Part::Table { head, rows });
        }
    }
    parts
}

/// The cells of a row. A bar in backticks parts no cells here, since none is used so.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// The rows of the tables with that head.
fn table(head: &str) -> Vec<Vec<String>> {
    let tables = parts(&reference())
        .into_iter()
        .filter_map(|part| match part {
            Part::Table { head: other, rows } if other == head => Some(rows),
            _ => None,
        });
    let rows: Vec<_> = tables.flatten().collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

/// What the first cells of a table name.
fn named(head: &str) -> Vec<String> {
    let rows = table(head);
    rows.iter().map(|row| only(&row[0]).to_owned()).collect()
}

/// The table of states of the default document.
fn states() -> String {
    let shipped = text("policies/referrals.yaml");
    let (_, states) = shipped.split_once("\nstates:\n").unwrap();
    format!("states:\n{states}")
}

/// A document with these rules, as they stand on the page.
fn document(rules: &str) -> String {
    let rules: Vec<_> = rules.lines().map(|line| format!("  {line}")).collect();
    format!("name: example\nrules:\n{}\n{}", rules.join("\n"), states())
}

/// A rule for an expression.
fn with_expression(expression: &str) -> String {
    document(&format!(
        "- id: a\n  check: expression\n  on: [PUT, PATCH]\n  mode: enforce\n  message: It must be so.\n  expression: |-\n    {expression}"
    ))
}

/// What `check` says of a document, and whether it is fine.
fn checked(document: &str, settings: &str) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    write(&folder, "policy.yaml", document);
    write(&folder, "settings.yaml", settings);
    let mut check = program(&[
        "check",
        "--config",
        "settings.yaml",
        "--policy",
        "policy.yaml",
    ]);
    let said = ended(check.current_dir(folder.path()));
    match said.code {
        Some(0) => Ok(()),
        code => {
            assert_eq!(code, Some(1), "{}", said.err);
            Err(said.out.trim_end().to_owned())
        }
    }
}

/// The same without the place, which must be there.
fn refused(document: &str) -> String {
    let said = checked(document, &settings()).expect_err(document);
    let rest = said.strip_prefix("policy.yaml:").expect(&said);
    let mut parts = rest.splitn(3, ':');
    for _ in 0..2 {
        let number: usize = parts.next().unwrap().parse().expect(&said);
        assert!(number > 0, "{said}");
    }
    parts.next().expect(&said).trim_start().to_owned()
}

/// The settings that the page shows.
fn settings() -> String {
    let shown = parts(&reference()).into_iter().find_map(|part| match part {
        Part::Block { kind, text } if kind == "yaml settings" => Some(text),
        _ => None,
    });
    shown.expect("settings on the page")
}

/// A request as the page shows it.
#[derive(Debug, Default)]
struct Shown {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<String>,
}

impl Shown {
    fn parse(text: &str) -> Self {
        let (head, body) = match text.split_once("\n\n") {
            Some((head, body)) => (head, Some(body.to_owned())),
            None => (text, None),
        };
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').expect(text);
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: lines.map(field).collect(),
            body,
        }
    }

    /// What matters of a request, as a table shows it: `PUT closed {..}`, `If-Match: *`.
    fn example(cell: &str, asks_for_tag: bool) -> Self {
        let mut shown = Self {
            method: "PUT".to_owned(),
            target: format!("{ITEM}active"),
            body: Some(GOOD.to_owned()),
            ..Self::default()
        };
        for part in ticked(cell) {
            let word = part.split([' ', ':']).next().unwrap();
            if !matches!(word, "PUT" | "PATCH") {
                shown.fields.push(field(part));
                continue;
            }
            word.clone_into(&mut shown.method);
            let rest = part[word.len()..].trim_start();
            let at = rest.find(['{', '[']).unwrap_or(rest.len());
            let (referral, body) = rest.split_at(at);
            if !referral.is_empty() {
                shown.target = format!("{ITEM}{}", referral.trim_end());
            }
            shown.body = (!body.is_empty()).then(|| body.to_owned());
        }
        if !asks_for_tag && shown.method == "PUT" {
            shown.fields.push(("If-Match".to_owned(), TAG.to_owned()));
        }
        shown
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    fn call(&self, gateway: &Gateway, id: &str) -> Call {
        let mut call = gateway.call(&self.method, &self.target);
        if self.field("content-type").is_none() {
            call = call.header("Content-Type", "application/json");
        }
        if self.field("client-request-id").is_none() {
            call = call.header("client-request-id", id);
        }
        for (name, value) in &self.fields {
            call = match value.strip_prefix("Bearer ") {
                Some(claims) if name == "Authorization" => {
                    let mut claims: Value = serde_json::from_str(claims).expect(claims);
                    claims["exp"] = in_an_hour().into();
                    call.bearer(&with_claims(&claims, "genuine"))
                }
                _ => call.header(name, value),
            };
        }
        match &self.body {
            Some(body) => call.body(body),
            None => call,
        }
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').expect(line);
    (name.to_owned(), value.trim().to_owned())
}

/// Whether a text is the one shown, in which `...` at the end or before a closing quote stands for the rest.
fn is_as_shown(shown: &str, seen: &str) -> bool {
    match shown.trim_end_matches('"').strip_suffix("...") {
        Some(begin) => seen.starts_with(begin),
        None => shown == seen,
    }
}

/// The gateway that runs the policy shown last, and the service behind it.
struct Stage {
    upstream: Upstream,
    gateway: Gateway,
    policy: String,
    requests: usize,
}

impl Stage {
    async fn start(policy: &str) -> Self {
        let upstream = Upstream::start().await;
        let gateway = Gateway::with(&settings())
            .policy(policy)
            .start(&upstream)
            .await;
        Self {
            upstream,
            gateway,
            policy: policy.to_owned(),
            requests: 0,
        }
    }

    /// Sends a request to the service as the page describes it, and gives what came of it.
    async fn send(&mut self, shown: &Shown) -> (Answer, Option<Seen>) {
        for (id, status, substatus) in [
            ("new", "New", "Pending"),
            ("active", "Active", "Accepted"),
            ("closed", "Closed", "Won"),
        ] {
            self.upstream.hold(id, status, substatus, TAG);
        }
        self.requests += 1;
        let before = self.upstream.count(&shown.method);
        let call = shown.call(&self.gateway, &self.id(shown));
        let answer = call.send().await;
        let seen = self.upstream.seen().into_iter();
        let mut seen: Vec<_> = seen.filter(|seen| seen.method == *shown.method).collect();
        assert!(seen.len() <= before + 1);
        let sent = (seen.len() > before).then(|| seen.remove(before));
        assert_eq!(sent.is_none(), answer.is_ours(), "{}", answer.text());
        (answer, sent)
    }

    /// The id of the request that was sent last.
    fn id(&self, shown: &Shown) -> String {
        let own = shown.field("client-request-id").map(str::to_owned);
        own.unwrap_or_else(|| format!("example-{}", self.requests))
    }

    /// A request is refused with this code by a rule of the policy, and nothing of it is sent.
    async fn refuses(&mut self, shown: &Shown, code: &str) -> Answer {
        let (answer, sent) = self.send(shown).await;
        assert!(sent.is_none(), "{shown:?} was sent");
        assert_eq!(answer.problem().code, code, "{shown:?}");
        answer
    }

    /// The answer to an `http` block is the one it shows; without another block, what was sent is what came.
    async fn plays(&mut self, block: &str, sent_block: Option<&str>) -> Shown {
        let (request, answer_shown) = block.split_once("\n\nHTTP/1.1 ").expect(block);
        let shown = Shown::parse(request);
        let (head, body) = answer_shown
            .split_once("\n\n")
            .unwrap_or((answer_shown, ""));
        let mut lines = head.lines();
        let status: u16 = lines.next().unwrap().parse().expect(block);

        let (answer, sent) = self.send(&shown).await;

        assert_eq!(answer.status, status, "{block}\n{}", answer.text());
        for (name, value) in lines.map(field) {
            let seen = answer.header(&name).unwrap_or_default();
            assert!(is_as_shown(&value, seen), "{name}: {seen} in\n{block}");
        }
        for name in ["warning", "referral-gateway-repaired"] {
            let told = head.to_ascii_lowercase().contains(name);
            assert_eq!(answer.header(name).is_some(), told, "{name} in\n{block}");
        }
        if !body.is_empty() {
            check_part(&serde_json::from_str(body).expect(block), &answer.json());
        }
        match &sent {
            Some(sent) => {
                let wanted = sent_block.map(Shown::parse);
                let wanted = wanted.as_ref().unwrap_or(&shown);
                let body = wanted.body.as_deref().unwrap_or_default();
                assert_eq!(String::from_utf8_lossy(&sent.body), body, "{block}");
                assert_eq!(sent.target(), wanted.target, "{block}");
                let tag = sent.header("if-match");
                assert_eq!(tag.as_deref(), wanted.field("if-match"), "{block}");
                let length = body.len().to_string();
                assert_eq!(sent.header("content-length"), Some(length), "{block}");
            }
            None => {
                assert!(sent_block.is_none(), "nothing was sent of\n{block}");
                answer.problem();
            }
        }
        shown
    }

    /// Each code of a table is the answer to its example. Gives the statuses of the answers.
    async fn refuses_examples(
        &mut self,
        rows: &[Vec<String>],
        example: usize,
        code: usize,
    ) -> Vec<String> {
        let asks_for_tag = self.policy.contains("check: if_match");
        let mut statuses = Vec::new();
        for row in rows {
            let code = only(&row[code]);
            let answer = if row[example].is_empty() {
                self.refuses_unshown(code).await
            } else {
                let shown = Shown::example(&row[example], asks_for_tag);
                self.refuses(&shown, code).await
            };
            statuses.push(answer.status.to_string());
        }
        statuses
    }

    /// What cannot be shown on a page.
    async fn refuses_unshown(&mut self, code: &str) -> Answer {
        let mut shown = Shown::example("", false);
        let call = |shown: &Shown, gateway: &Gateway| shown.call(gateway, "unshown");
        let call = match code {
            "invalid_utf8" => call(&shown, &self.gateway).body(b"{\"a\":\"\xff\"}"),
            "nested_too_deep" => {
                let nested = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
                call(&shown, &self.gateway).body(nested)
            }
            "body_too_large" => {
                let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
                call(&shown, &self.gateway).body(large)
            }
            "too_many_operations" => {
                shown.method = "PATCH".to_owned();
                let operation = r#"{"op":"remove","path":"/a"}"#;
                let operations = vec![operation; 1001].join(",");
                call(&shown, &self.gateway).body(format!("[{operations}]"))
            }
            other => panic!("{other} has no example"),
        };
        let answer = call.send().await;
        assert_eq!(answer.problem().code, code);
        assert_eq!(self.upstream.count(&shown.method), 0);
        answer
    }

    async fn has_counted(&self, lines: &str) {
        let metrics = self.gateway.metrics().await;
        for line in lines.lines() {
            assert!(metrics.lines().any(|other| other == line), "{line}");
        }
    }

    /// Every series that a query asks for is there.
    async fn has_series(&self, query: &str) {
        let metrics = self.gateway.metrics().await;
        let selectors = query.split("referral_gateway_").skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
            let matchers = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}').unwrap().0,
                None => "",
            };
            (
                name,
                matchers.split(", ").filter(|matcher| !matcher.is_empty()),
            )
        });
        let mut names = 0;
        for (name, matchers) in selectors {
            names += 1;
            let matchers: Vec<&str> = matchers.collect();
            let series: Vec<&str> = metrics
                .lines()
                .filter_map(|line| line.strip_prefix("referral_gateway_")?.strip_prefix(name))
                .filter(|rest| rest.starts_with(['{', ' ']))
                .filter(|rest| matchers.iter().all(|matcher| rest.contains(matcher)))
                .collect();
            assert!(!series.is_empty(), "no {name} {matchers:?}");
            for by in query.split("by (").skip(1) {
                let labels = by.split_once(')').unwrap().0.split(", ");
                for label in labels {
                    let label = format!("{label}=\"");
                    assert!(series.iter().any(|rest| rest.contains(&label)), "{label}");
                }
            }
        }
        assert!(names > 0, "{query}");
    }

    async fn has_recorded(&self, shown: &Shown, wanted: &str) {
        let record = self.record(&self.id(shown)).await;
        check_part(&serde_json::from_str(wanted).expect(wanted), &record);
    }

    async fn record(&self, id: &str) -> Value {
        let is_mine = |record: &Value| {
            record["target"] == "referral_gateway::decision" && record["request_id"] == id
        };
        self.gateway.record("a decision record", is_mine).await
    }
}

#[tokio::test]
async fn every_example_works_as_printed() {
    let mut kinds = BTreeMap::<String, usize>::new();
    let pages = PAGES.iter().map(text);
    let sections = SECTIONS
        .iter()
        .map(|(page, heading)| section(page, heading));
    for page in pages.chain(sections) {
        play(&page, &mut kinds).await;
    }
    // Blocks that are looked at beside others must stand there.
    assert_eq!(kinds["yaml wrong"], kinds["text check"]);
    assert_eq!(kinds["yaml settings"], 1);
    assert!(kinds["http sent"] > 5 && kinds["http"] > 30, "{kinds:?}");
}

/// Plays the examples of a page, and counts its blocks by their kind.
async fn play(page: &str, kinds: &mut BTreeMap<String, usize>) {
    let parts = parts(page);
    let (mut policy, mut stage, mut last) = (text("policies/referrals.yaml"), None::<Stage>, None);
    for (number, part) in parts.iter().enumerate() {
        // A gateway runs from the first time that it is needed to the next policy.
        let is_run = match part {
            Part::Block { kind, .. } => {
                !kind.starts_with("yaml") && kind != "text check" && kind != "sh"
            }
            Part::Table { head, .. } => head.ends_with("| example") || head.starts_with("left"),
        };
        if is_run && stage.is_none() {
            stage = Some(Stage::start(&policy).await);
        }
        match part {
            Part::Block { kind, text } => {
                *kinds.entry(kind.clone()).or_default() += 1;
                match kind.as_str() {
                    "yaml policy" | "yaml rule" => {
                        let shown = match kind.as_str() {
                            "yaml policy" => format!("{text}\n"),
                            _ => document(text),
                        };
                        assert_eq!(checked(&shown, &settings()), Ok(()), "{text}");
                        (policy, stage, last) = (shown, None, None);
                    }
                    // Both belong to the block before or after them, and are looked at there.
                    "yaml settings" | "http sent" | "yaml wrong" => {}
                    // Commands, which `docs.rs` runs.
                    "sh" => {}
                    "text check" => {
                        let wrong = match &parts[number - 1] {
                            Part::Block { kind, text } if kind == "yaml wrong" => text,
                            other => panic!("{other:?} before\n{text}"),
                        };
                        let said = checked(&format!("{wrong}\n"), &settings());
                        assert_eq!(said, Err(text.clone()));
                    }
                    "http" => {
                        let sent = match parts.get(number + 1) {
                            Some(Part::Block { kind, text }) if kind == "http sent" => Some(text),
                            _ => None,
                        };
                        let stage = stage.as_mut().expect(text);
                        last = Some(stage.plays(text, sent.map(String::as_str)).await);
                    }
                    "text metrics" => stage.as_ref().expect(text).has_counted(text).await,
                    "promql" => stage.as_ref().expect(text).has_series(text).await,
                    "json record" => {
                        let (stage, last) = (stage.as_ref(), last.as_ref());
                        let stage = stage.expect(text);
                        stage.has_recorded(last.expect(text), text).await;
                    }
                    other => panic!("a block of a kind that nothing holds: {other}"),
                }
            }
            Part::Table { head, rows } => match head.as_str() {
                CODES => {
                    let stage = stage.as_mut().expect(head);
                    let statuses = stage.refuses_examples(rows, 3, 0).await;
                    let told: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
                    assert_eq!(statuses, told, "{rows:?}");
                }
                "left alone | because | code" => {
                    let stage = stage.as_mut().expect(head);
                    stage.refuses_examples(rows, 0, 2).await;
                }
                KEYS | CHECKS | MODES | REPAIRS | VARIABLES | FIELDS | VALUES | PATCHES
                | UNUSABLE | WRONG => {}
                // Links, and what other tests show case by case.
                "to | read"
                | "status | may become | goes with the substatus"
                | "a PATCH that | is judged" => {}
                // The service's own codes, which `docs.rs` compares.
                "status | `error.code`" => {}
                // The values of a decision record, which `docs.rs` compares.
                "`verdict` | means" | "`unjudged` | the write was | because" => {}
                other => panic!("a table that nothing holds: {other}"),
            },
        }
    }
}

const KEYS: &str = "key |  | what it holds";
const CHECKS: &str = "check | on | needs | in the default document";
const MODES: &str = "mode | a write with a finding | `verdict` of `policy_decisions_total`";
const REPAIRS: &str = "repair | in a rule with | changes";
const VARIABLES: &str = "variable | type | what it is";
const VALUES: &str = "expression | body of a PUT | it is";
const PATCHES: &str = "expression | body of a PATCH | it is";
const UNUSABLE: &str = "expression | what `check` says";
const FIELDS: &str = "field | type | what it is";
const WRONG: &str = "rules | what `check` says";
const CODES: &str = "code | status | finds | example";

fn schema() -> Value {
    run(&["schema", "policy"]).json()
}

/// The values of an enum of the schema, in their order.
fn values_of(kind: &str) -> Vec<String> {
    let values = &schema()["$defs"][kind]["oneOf"];
    let values = values.as_array().expect(kind).iter();
    let names = values.map(|value| value["const"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn the_first_table_of_states_is_that_of_the_default_document() {
    let shown = parts(&reference()).into_iter().find_map(|part| match part {
        Part::Block { kind, text } if kind == "yaml policy" => Some(text),
        _ => None,
    });
    let rows = |text: &str| -> Vec<String> {
        let (_, states) = text.split_once("states:\n").unwrap();
        let rows = states.lines().filter(|line| !line.trim().starts_with('#'));
        rows.map(str::to_owned).collect()
    };
    assert_eq!(rows(&shown.unwrap()), rows(&states()));
}

#[test]
fn every_key_of_a_document_stands_on_the_page() {
    let schema = schema();
    let mut program = BTreeSet::new();
    for (prefix, object) in [
        ("", &schema),
        ("rules.", &schema["$defs"]["RuleText"]),
        ("states.", &schema["$defs"]["StateText"]),
    ] {
        let needed = object["required"].as_array().unwrap();
        for key in object["properties"].as_object().unwrap().keys() {
            let is_needed = needed.iter().any(|name| name == key);
            program.insert((format!("{prefix}{key}"), is_needed));
        }
    }
    let page = table(KEYS);
    let page = page.iter();
    let page = page.map(|row| (only(&row[0]).to_owned(), row[1] == "needed"));
    check_same(&page.collect(), &program);
}

#[test]
fn checks_modes_and_repairs_are_those_of_the_program() {
    assert_eq!(named(CHECKS), values_of("Check"));
    assert_eq!(named(MODES), values_of("Mode"));
    assert_eq!(named(REPAIRS), values_of("Repair"));
    // Each has its own part of the page.
    let page = reference();
    let parts: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'))
        .collect();
    assert_eq!(parts, [values_of("Check"), values_of("Repair")].concat());
}

#[test]
fn a_check_looks_at_the_methods_that_the_page_says() {
    let shipped = text("policies/referrals.yaml");
    for row in table(CHECKS) {
        let check = only(&row[0]);
        let needed = match check {
            "expression" => ", expression: \"has(body.x)\", message: It must be so.",
            _ => "",
        };
        for method in values_of("Method") {
            let rule =
                format!("- {{ id: a, check: {check}, on: [{method}], mode: enforce{needed} }}");
            let is_possible = checked(&document(&rule), "").is_ok();
            let is_told = ticked(&row[1]).contains(&&*method);
            assert_eq!(is_possible, is_told, "{check} on {method}");
        }
        let rule = shipped
            .lines()
            .find(|line| line.contains(&format!("check: {check},")));
        let told: Vec<&str> = ticked(&row[3]);
        let Some(rule) = rule else {
            assert!(told.is_empty(), "{check}");
            continue;
        };
        let on = between(rule, "on: [", "]").split(", ");
        let mode = between(rule, "mode: ", " }");
        assert_eq!(told, on.chain([mode]).collect::<Vec<_>>(), "{check}");
    }
}

#[tokio::test]
async fn verdicts_are_those_of_the_metric() {
    let stage = Stage::start(&text("policies/referrals.yaml")).await;
    let metrics = stage.gateway.metrics().await;
    let program = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("referral_gateway_policy_decisions_total{"))
        .map(|labels| between(labels, "verdict=\"", "\"").to_owned())
        .collect();
    let rows = table(MODES);
    let told = rows.iter().flat_map(|row| ticked(&row[2]));
    // These two say that there was no finding.
    let page = told
        .chain(["pass", "unjudged"])
        .map(str::to_owned)
        .collect();
    check_same(&page, &program);
}

#[test]
fn a_repair_serves_the_check_that_the_page_says() {
    for row in table(REPAIRS) {
        for check in values_of("Check") {
            let (repair, check) = (only(&row[0]), check.as_str());
            let needed = match check {
                "expression" => ", expression: \"has(body.x)\", message: It must be so.",
                _ => "",
            };
            let on = if check == "patch_operations" {
                "PATCH"
            } else {
                "PUT"
            };
            let rule = format!(
                "- {{ id: a, check: {check}, on: [{on}], mode: repair, repairs: [{repair}]{needed} }}"
            );
            let is_possible = checked(&document(&rule), "").is_ok();
            assert_eq!(is_possible, check == only(&row[1]), "{repair} {check}");
        }
    }
}

#[test]
fn every_code_of_a_rule_stands_on_the_page() {
    let page = named(CODES).into_iter().collect();
    check_same(&page, &rule_codes());
}

#[test]
fn every_variable_stands_on_the_page_with_its_type() {
    let mut program = BTreeSet::from(["body".to_owned()]);
    for record in ["request", "referral", "tenant"] {
        let said = refused(&with_expression(&format!("{record} == body")));
        let (_, members) = said.split_once("; write ").expect(&said);
        program.extend(members.split(", ").map(str::to_owned));
    }
    check_same(&named(VARIABLES).into_iter().collect(), &program);
    for row in table(VARIABLES) {
        let variable = only(&row[0]);
        let found = match checked(&with_expression(variable), "") {
            Ok(()) => "boolean".to_owned(),
            Err(said) => {
                let kind = between(&said, "the result is ", ", not a boolean");
                kind.split_once(' ').unwrap().1.to_owned()
            }
        };
        assert_eq!(found, row[1], "{variable}");
    }
}

#[test]
fn every_function_stands_on_the_page() {
    let said = refused(&with_expression("quuxify(body)"));
    let (_, known) = said.split_once("known functions: ").expect(&said);
    let program = known.split(", ").collect();
    let page = reference();
    let told = between(&page, "\nFunctions: ", "\n\n");
    check_same(&ticked(told).into_iter().collect(), &program);
}

#[tokio::test]
async fn expressions_have_the_values_that_the_page_says() {
    let rows_of = |head, method| table(head).into_iter().map(move |row| (method, row));
    for (method, row) in rows_of(VALUES, "PUT").chain(rows_of(PATCHES, "PATCH")) {
        let (expression, body) = (only(&row[0]), only(&row[1]));
        let mut stage = Stage::start(&with_expression(expression)).await;
        let shown = Shown::example(&format!("`{method} {body}`"), false);
        match row[2].as_str() {
            "true" => {
                let (answer, _) = stage.send(&shown).await;
                assert!(answer.status < 300, "{expression}: {}", answer.text());
            }
            "false" => drop(stage.refuses(&shown, "expression_not_met").await),
            why => {
                let answer = stage.refuses(&shown, "expression_failed").await;
                let said = answer.problem().finding("expression_failed")["message"].clone();
                let wanted = format!("It must be so. The rule could not be evaluated: {why}.");
                assert_eq!(said, wanted, "{expression}");
            }
        }
    }
}

/// The number that stands on the page between two texts.
fn number(before: &str, after: &str) -> usize {
    let page = reference().replace('\n', " ");
    let digits = between(&page, before, after).replace(' ', "");
    digits.parse().expect(before)
}

#[test]
fn the_bounds_of_a_document_are_those_on_the_page() {
    let name = number("name in logs and metrics: 1 to ", " of `a-z`");
    let text = number("one line of at most ", " bytes, for the answer");
    let bytes = number("An expression has at most ", " bytes and");
    let levels = number("bytes and ", " levels. The body");
    let rule = |id: usize, message: usize| {
        let (id, message) = ("a".repeat(id), "x".repeat(message));
        document(&format!(
            "- {{ id: {id}, check: expression, on: [PUT], mode: enforce, expression: has(body.x), message: {message} }}"
        ))
    };
    let long = |bytes: usize| {
        let begin = "body.x == '";
        with_expression(&format!("{begin}{}'", "y".repeat(bytes - begin.len() - 1)))
    };
    let deep = |levels: usize| {
        let (open, close) = ("(".repeat(levels), ")".repeat(levels));
        with_expression(&format!("{open}has(body.x){close}"))
    };
    for more in [0, 1] {
        for document in [
            rule(name + more, text),
            rule(name, text + more),
            long(bytes + more),
            // The call has brackets as well.
            deep(levels - 1 + more),
        ] {
            let is_fine = checked(&document, "").is_ok();
            assert_eq!(is_fine, more == 0, "{more} {document}");
        }
    }
}

#[tokio::test]
async fn the_bounds_of_what_an_expression_is_given_are_those_on_the_page() {
    let values = number("given has at most ", " values and");
    let levels = number("values and ", " levels, ");
    let searched = 1024 * number("`matches` searches at most ", " KiB");
    let mut stage = Stage::start(&with_expression(
        "!has(body.x) || body.x.matches('^x') || true",
    ))
    .await;
    // The object and the list are values too.
    let list = |items: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; items - 2].join(","));
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let text = |bytes: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes));
    for more in [0, 1] {
        for (body, code) in [
            (list(values + more), "expression_failed"),
            (nested(levels + more), "nested_too_deep"),
        ] {
            let shown = Shown::example(&format!("`PUT {body}`"), false);
            if more > 0 {
                stage.refuses(&shown, code).await;
            } else {
                assert_eq!(stage.send(&shown).await.0.status, 200, "{code}");
            }
        }
    }
    let mut stage = Stage::start(&with_expression("body.x.matches('^x')")).await;
    let shown = Shown::example(&format!("`PUT {}`", text(searched)), false);
    assert_eq!(stage.send(&shown).await.0.status, 200);
    let shown = Shown::example(&format!("`PUT {}`", text(searched + 1)), false);
    stage.refuses(&shown, "expression_failed").await;
}

#[tokio::test]
async fn a_body_is_left_alone_for_each_header_that_the_page_names() {
    let page = reference();
    let told = between(&page, "a header signs or hashes:", ". No repair");
    let names: BTreeSet<String> = ticked(told)
        .iter()
        .map(|name| name.to_lowercase())
        .collect();
    let source = text("src/policy/mend.rs");
    let source = between(&source, "const DIGESTS", "];");
    let program = source.split('"').skip(1).step_by(2).map(str::to_owned);
    check_same(&names, &program.collect());

    let rules =
        "- { id: a, check: well_formed, on: [PUT], mode: repair, repairs: [trailing-comma] }";
    let mut stage = Stage::start(&document(rules)).await;
    for name in names {
        let shown = Shown::example(&format!("`PUT {{\"a\":1,}}`, `{name}: x`"), false);
        stage.refuses(&shown, "malformed_json").await;
    }
    let shown = Shown::example("`PUT {\"a\":1,}`", false);
    assert_eq!(stage.send(&shown).await.0.status, 200);
}

#[tokio::test]
async fn a_finding_has_the_members_that_the_page_names() {
    let page = reference();
    let told = between(&page, "by rules in `audit` and `warn` too: ", "\n\n");
    let mut stage = Stage::start(&text("policies/referrals.yaml")).await;
    let shown = Shown::example("`PUT {}`", true);
    let answer = stage.refuses(&shown, "if_match_missing").await.json();
    let finding = &answer["error"]["innerError"]["findings"][0];
    let program = finding.as_object().unwrap().keys().map(String::as_str);
    check_same(&ticked(told).into_iter().collect(), &program.collect());
}

#[test]
fn why_the_state_was_not_judged_is_what_the_page_says() {
    let program = Unjudged::ALL
        .into_iter()
        // Only `explain` cannot ask the service.
        .filter(|why| *why != Unjudged::NotGiven)
        .map(|why| why.as_str().to_owned());
    let rows = table(FIELDS);
    let row = rows.iter().find(|row| row[0] == "`unjudged`").unwrap();
    let told = ticked(&row[2]).into_iter().map(str::to_owned);
    check_same(&told.collect(), &program.collect());
}

#[test]
fn what_check_says_is_what_the_page_says() {
    for row in table(UNUSABLE) {
        let said = refused(&with_expression(only(&row[0])));
        assert_eq!(said, row[1]);
    }
    for row in table(WRONG) {
        let rules = ticked(&row[0]);
        assert!(!rules.is_empty());
        let rules: Vec<_> = rules.iter().map(|rule| format!("- {rule}")).collect();
        assert_eq!(refused(&document(&rules.join("\n"))), row[1]);
    }
}

#[tokio::test]
async fn the_fields_of_a_decision_record_are_those_on_the_page() {
    let rule = "- { id: links, check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links] }\n\
                - { id: transition, check: transition, on: [PUT, PATCH], mode: enforce }";
    let mut stage = Stage::start(&document(rule)).await;
    let claims = r#"{"tid": "11111111-2222-4333-8444-555555555555", "name": "Pat Example", "upn": "pat@example.com"}"#;
    let text = format!(
        "PUT {ITEM}active\nAuthorization: Bearer {claims}\nIf-Match: {TAG}\n\n{{\"status\":\"Closed\",\"substatus\":\"Won\",\"name\":\"Example Bakery\",\"links\":{{}}}}"
    );
    let shown = Shown::parse(&text);
    let (answer, _) = stage.send(&shown).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let record = stage.record(&stage.id(&shown)).await;
    let program = record.as_object().unwrap().iter();
    let program = program
        .filter(|(name, _)| !["timestamp", "level", "message", "target"].contains(&name.as_str()))
        .map(|(name, value)| {
            let kind = match value {
                Value::String(_) => "string",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                other => panic!("{name} is {other}"),
            };
            (name.clone(), kind.to_owned())
        });
    let page = table(FIELDS);
    let page = page
        .iter()
        .map(|row| (only(&row[0]).to_owned(), row[1].clone()));
    check_same(&page.collect(), &program.collect());

    assert_eq!(record["tenant"], "contoso");
    let said = record.to_string();
    for personal in ["Pat", "pat@", "Bakery", "11111111-2222", "Won"] {
        assert!(!said.contains(personal), "{personal} in {said}");
    }
}

#[tokio::test]
async fn a_token_counts_by_what_it_says_also_if_it_does_not_verify() {
    let issuer = Issuer::new();
    let id = "11111111-2222-4333-8444-555555555555";
    let upstream = Upstream::start().await;
    upstream.hold("active", "Active", "Accepted", TAG);
    let rules = "- { id: links, check: links_removed, on: [PUT], mode: audit, modes: { contoso: enforce } }\n\
                 - { id: names, check: expression, on: [PUT], mode: enforce, message: It must be so, \
                 expression: \"tenant.alias == 'contoso' && request.application == 'app'\" }";
    let gateway = Gateway::with(&format!(
        "tenants:\n  jwks_file: '@/keys.json'\n  known:\n    contoso: {{ id: {id} }}"
    ))
    .file("keys.json", &issuer.key_set())
    .policy(&document(rules))
    .start(&upstream)
    .await;
    let body = r#"{"status":"Active","substatus":"Accepted","links":{}}"#;
    let put = gateway.put(&format!("{ITEM}active"), body).if_match(TAG);

    let claims = json!({ "tid": id, "appid": "app", "exp": in_an_hour() });
    let forged = put.bearer(&with_claims(&claims, "forged")).send().await;
    let findings = &forged.problem().value["error"]["innerError"]["findings"];
    let codes: Vec<_> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["code"])
        .collect();
    assert_eq!(codes, ["links_present"]);
}

#[test]
fn promtool_can_read_every_query() {
    let folder = TempDir::new().unwrap();
    let queries = parts(&reference())
        .into_iter()
        .filter_map(|part| match part {
            Part::Block { kind, text } if kind == "promql" => Some(text),
            _ => None,
        });
    let rules = queries.enumerate().map(|(number, query)| {
        let query = query.replace('\n', "\n          ");
        format!("      - record: example:query{number}\n        expr: |\n          {query}\n")
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() > 4);
    let file = folder.path().join("rules.yaml");
    let text = format!("groups:\n  - name: example\n    rules:\n{}", rules.concat());
    fs::write(&file, &text).unwrap();
    let checked = tool("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{text}\n{said}");
}
