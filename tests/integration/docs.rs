//! The pages in docs/ say what the program does: settings, codes, metrics, log fields, commands and links are compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use http::StatusCode;
use referral_gateway::policy::judging::Unjudged;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    commands::{run, write},
    support::{
        Gateway, ITEM, TAG, Upstream, body,
        page::{between, blocks, check_same, only, root, rows, section, sources, text, ticked},
        tls::Authority,
        tools::shell,
    },
};

#[test]
fn every_setting_stands_on_the_page_with_its_default() {
    fn leaves(prefix: &str, value: &Value, into: &mut BTreeSet<(String, String)>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    leaves(&format!("{prefix}.{name}"), value, into);
                }
            }
            Value::String(text) => drop(into.insert((prefix[1..].to_owned(), text.clone()))),
            other => drop(into.insert((prefix[1..].to_owned(), other.to_string()))),
        }
    }
    let mut program = BTreeSet::new();
    let shown = run(&["config", "show", "--output", "json"]).json();
    leaves("", &shown["settings"], &mut program);

    let settings = section("docs/configuration.md", "Settings");
    let page = rows(&settings)
        .into_iter()
        .map(|row| (only(row[0]).to_owned(), only(row[1]).to_owned()))
        .collect();
    check_same(&page, &program);
}

#[test]
fn the_example_settings_are_accepted() {
    let folder = TempDir::new().unwrap();
    let page = text("docs/configuration.md");
    let examples = blocks(&page, "yaml");
    assert!(!examples.is_empty());
    let authority = Authority::new("A root");
    let pair = authority.issue(&["localhost"]);
    write(&folder, "tls.crt", &pair.certificate);
    write(&folder, "tls.key", &pair.key);
    write(&folder, "clients.pem", &authority.pem);
    for example in examples {
        let file = write(&folder, "settings.yaml", &format!("{example}\n"));
        let checked = run(&["check", "--config", &file]);
        assert_eq!(checked.code, Some(0), "{}", checked.out);
    }
}

#[test]
fn the_example_of_a_policy_test_passes() {
    let section = section("docs/policy/testing.md", "A test file");
    let ([example], [command]) = (&blocks(&section, "yaml")[..], &blocks(&section, "sh")[..])
    else {
        panic!("not one example and its command in {section}");
    };
    let folder = TempDir::new().unwrap();
    let (to, document) = with_first_rule();
    write(&folder, &to, &document);
    let [_, "test", name] = command.split(' ').collect::<Vec<_>>()[..] else {
        panic!("not one test in {command}");
    };
    let tested = run(&["test", &write(&folder, name, example)]);
    assert_eq!(tested.code, Some(0), "{}", tested.out);
    assert!(tested.out.contains("4 passed, 0 failed"), "{}", tested.out);
}

#[test]
fn every_command_stands_on_the_page() {
    let help = run(&["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let program = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let commands = section("docs/cli.md", "Commands");
    let page = rows(&commands)
        .into_iter()
        .map(|row| only(row[0]))
        .collect();
    check_same(&page, &program);
}

#[test]
fn every_flag_stands_on_the_page() {
    let pages = text("docs/cli.md") + &text("docs/configuration.md");
    let help = run(&["--help"]).out;
    let names = help.split("--").skip(1).map(|rest| {
        rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
            .next()
            .unwrap()
    });
    for flag in names.filter(|name| !matches!(*name, "help" | "version")) {
        assert!(pages.contains(&format!("--{flag}")), "--{flag}");
    }
}

#[tokio::test]
async fn every_metric_stands_on_the_page_with_its_labels() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let metrics = gateway.metrics().await;

    let mut program = BTreeMap::new();
    for line in metrics.lines() {
        if let Some(line) = line.strip_prefix("# TYPE referral_gateway_") {
            program.insert(line.split(' ').next().unwrap(), BTreeSet::new());
        }
    }
    for line in metrics.lines() {
        let Some(line) = line.strip_prefix("referral_gateway_") else {
            continue;
        };
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let name = of_histogram
            .filter(|name| program.contains_key(name))
            .unwrap_or(name);
        let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
        let names = labels
            .split("\",")
            .filter_map(|label| label.split_once('='));
        let names = names.map(|(name, _)| name).filter(|name| *name != "le");
        program.get_mut(name).unwrap().extend(names);
    }

    let table = section("docs/observability.md", "Metrics");
    let page = rows(&table)
        .into_iter()
        .map(|row| (only(row[0]), ticked(row[1]).into_iter().collect()))
        .collect();
    check_same(&page, &program.into_iter().collect());
}

#[tokio::test]
async fn the_values_of_labels_are_those_on_the_page() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let metrics = gateway.metrics().await;
    let table = section("docs/observability.md", "Values of labels");
    for row in rows(&table) {
        let start = format!("referral_gateway_{}{{", only(row[0]));
        let label = format!("{}=\"", only(row[1]));
        let series = metrics.lines().filter_map(|line| line.strip_prefix(&start));
        let labels = series.flat_map(|rest| rest.split(['{', ',', '}']));
        let program = labels
            .filter_map(|pair| pair.strip_prefix(&label)?.strip_suffix('"'))
            .collect();
        check_same(&ticked(row[2]).into_iter().collect(), &program);
    }
}

/// Words of two parts and more in quotes, such as `"if_match_missing"`.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().filter(|line| !line.trim().starts_with("#["));
    let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.filter(|word| {
        word.contains('_')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// The codes of the findings that rules can have, out of the sources of the checks.
pub(crate) fn rule_codes() -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    let mut checks = BTreeSet::from([root().join("src/policy.rs")]);
    sources(&root().join("src/policy"), &mut checks);
    // An expression has words of its own in its text, a document has keys, and the judging says what came of rules.
    let is_check = |path: &&PathBuf| {
        !path.ends_with("tests.rs")
            && !path.to_string_lossy().contains("policy/tests/")
            && !path.to_string_lossy().contains("policy/document")
            && !path.to_string_lossy().contains("policy/judging")
            && !path.to_string_lossy().contains("policy/expression")
    };
    for path in checks.iter().filter(is_check) {
        rules.extend(words(&text(path)).map(str::to_owned));
    }
    rules
}

/// An entry of the page on errors.
struct Entry {
    code: String,
    text: String,
}

/// The entries below a heading of the page on errors.
fn entries(heading: &str) -> Vec<Entry> {
    let section = section("docs/errors.md", heading);
    let entries = section.split("\n### `").skip(1).map(|entry| {
        let (code, text) = entry.split_once("`\n").expect(entry);
        Entry {
            code: code.to_owned(),
            text: text.to_owned(),
        }
    });
    entries.collect()
}

impl Entry {
    /// The statuses, which stand in front: `502 or 504. ...`.
    fn statuses(&self) -> Vec<&str> {
        let words = self.text.split([' ', ',', '.', '\n']);
        let words = words.filter(|word| !word.is_empty() && *word != "or");
        words
            .take_while(|word| word.parse::<u16>().is_ok())
            .collect()
    }
}

#[test]
fn every_code_of_an_answer_has_its_entry() {
    let problem = text("src/problem.rs");
    let (_, table) = problem.split_once("fn row(&self)").unwrap();
    let mut others: BTreeSet<String> = words(table).map(str::to_owned).collect();
    // An answer to what never became a request begins with its status and its code.
    let answer = text("src/problem/answer.rs");
    let (_, unread) = answer.split_once("pub fn unread(").unwrap();
    for answer in unread.split("StatusCode::").skip(1) {
        let code = answer.split_once(',').map(|(_, rest)| rest.trim_start());
        let code = code.and_then(|code| code.strip_prefix('"')?.split('"').next());
        others.extend(code.map(str::to_owned));
    }
    for (heading, index, column, program) in [
        (
            "Codes of the rules",
            "What the rules refuse",
            2,
            rule_codes(),
        ),
        (
            "Codes of the gateway",
            "All other answers of the gateway",
            1,
            others,
        ),
    ] {
        let entries = entries(heading);
        let page = entries.iter().map(|entry| entry.code.clone()).collect();
        check_same(&page, &program);
        let index = section("docs/errors.md", index);
        let index = rows(&index);
        let index = index.iter().flat_map(|row| ticked(row[column]));
        check_same(&index.map(str::to_owned).collect(), &program);
        for Entry { code, text } in &entries {
            assert!(
                text.contains("\n* Caller: "),
                "{code} does not say what the caller does"
            );
            assert!(
                text.contains("\n* Operator: "),
                "{code} does not say what the operator does"
            );
        }
    }
}

#[test]
fn the_statuses_on_the_page_on_errors_agree() {
    let checks = text("docs/policy/checks.md");
    let checks: BTreeMap<&str, &str> = rows(&checks)
        .into_iter()
        .filter(|row| row.len() == 4 && row[1].parse::<u16>().is_ok())
        .map(|row| (only(row[0]), row[1]))
        .collect();
    let page = entries("Codes of the rules");
    for entry in &page {
        assert_eq!(entry.statuses(), [checks[&*entry.code]], "{}", entry.code);
    }

    let index = section("docs/errors.md", "All other answers of the gateway");
    let mut statuses = BTreeMap::new();
    for row in rows(&index) {
        for code in ticked(row[1]) {
            statuses.insert(code.to_owned(), row[0].split(", ").collect::<Vec<_>>());
        }
    }
    let program = text("src/problem.rs");
    let mut compared = 0;
    for entry in entries("Codes of the gateway") {
        assert_eq!(entry.statuses(), statuses[&entry.code], "{}", entry.code);
        // The table of the program names statuses by their reason: `row("bad_host", StatusCode::BAD_REQUEST, ...`.
        let start = format!("row(\"{}\", StatusCode::", entry.code);
        for row in program.split(&start).skip(1) {
            compared += 1;
            let names = entry.statuses().into_iter().map(|status| {
                let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
                let reason = status.canonical_reason().unwrap();
                reason.to_uppercase().replace(' ', "_")
            });
            let name = row.split(',').next().unwrap();
            assert!(
                names.into_iter().any(|other| other == name),
                "{name} in {}",
                entry.code
            );
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn the_codes_of_the_service_are_those_on_the_page() {
    let source = text("src/problem/answer.rs");
    let (_, arms) = source.split_once("fn service_code(").unwrap();
    let arms = arms.split("\n}\n").next().unwrap().lines();
    let program = arms.filter_map(|line| line.trim().trim_end_matches(',').split_once(" => "));
    let program = program.map(|(statuses, code)| {
        let statuses = match statuses {
            "_" => "every other".to_owned(),
            statuses => statuses.replace(" | ", ", "),
        };
        (statuses, code.trim_matches('"').to_owned())
    });
    let answers = section("docs/errors.md", "Answers");
    let (_, table) = answers.split_once("| status | `error.code` |\n").unwrap();
    let page = table.lines().skip(1).take_while(|line| !line.is_empty());
    let page = page.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), only(cells[1]).to_owned())
    });
    check_same(&page.collect(), &program.collect());
}

#[test]
fn the_rules_stand_on_the_page_in_their_order() {
    let document = text("policies/referrals.yaml");
    let shipped: Vec<&str> = document
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- { id: ")?.split(',').next())
        .collect();
    assert!(!shipped.is_empty());
    let table = section("docs/errors.md", "What the rules refuse");
    let named = rows(&table).into_iter().flat_map(|row| ticked(row[0]));
    assert_eq!(named.collect::<Vec<_>>(), shipped);
    for entry in entries("Codes of the rules") {
        let table = rows(&table);
        let of_rule = table
            .iter()
            .find(|row| ticked(row[2]).contains(&&*entry.code))
            .and_then(|row| ticked(row[0]).first().copied());
        if let Some(rule) = of_rule {
            assert!(
                entry.text.contains(&format!(", rule `{rule}`.")),
                "{}",
                entry.code
            );
        }
    }
}

#[tokio::test]
async fn every_field_of_an_access_record_stands_on_the_page() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let put = gateway.put(ITEM, body("Active", "Accepted"));
    assert_eq!(put.if_match(TAG).send().await.status, 200);

    let target = "referral_gateway::access";
    let record = gateway
        .record(target, |record| record["target"] == target)
        .await;
    let common = ["timestamp", "level", "message", "target"];
    let program = record.as_object().unwrap().iter();
    let program = program
        .filter(|(name, _)| !common.contains(&name.as_str()))
        .map(|(name, value)| {
            let kind = match value {
                Value::String(_) => "string",
                Value::Number(_) => "number",
                other => panic!("{name} is {other}"),
            };
            (name.as_str(), kind)
        });
    let table = section("docs/observability.md", "Access records");
    let page = rows(&table).into_iter().map(|row| (only(row[0]), row[1]));
    check_same(&page.collect(), &program.collect());

    let targets = section("docs/observability.md", "Log records");
    for name in common {
        assert!(targets.contains(&format!("`{name}`")), "{name}");
        assert!(record.get(name).is_some(), "{name}");
    }
    assert!(targets.contains(&format!("| `{target}` |")));
}

#[test]
fn every_value_of_a_decision_stands_on_the_page() {
    let mut unjudged: BTreeSet<&str> = Unjudged::ALL.map(Unjudged::as_str).into();
    // Only `explain` cannot ask the service.
    unjudged.remove(Unjudged::NotGiven.as_str());

    let records = section("docs/observability.md", "Decision records");
    let values = |head: &str| -> BTreeSet<&str> {
        let (_, table) = records.split_once(head).expect(head);
        let table = table.split("\n\n").next().unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap()).collect()
    };
    check_same(&values("| `unjudged` | the write was |"), &unjudged);
    let source = text("src/proxy/decision.rs");
    let verdicts = between(&source, "match judged.end()", "};");
    let program = verdicts.split('"').skip(1).step_by(2).collect();
    check_same(&values("| `verdict` | means |"), &program);
}

#[tokio::test]
async fn a_refusal_is_found_in_the_log_by_its_id_as_told() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let told = section("docs/errors.md", "Why was it refused?");
    let filter = between(&told, "/log-level -d '", "'");
    let set = gateway.admin("PUT", "/log-level").body(filter).send().await;
    assert_eq!(set.status, 200, "{}", set.text());
    let with_links = body("Active", "Pending").replacen('{', "{\"links\":{},", 1);

    let answer = gateway.put(ITEM, with_links).send().await;

    let id = answer.problem().value["instance"].clone();
    assert_eq!(answer.header("client-request-id"), id.as_str());
    let record = gateway
        .record("the decision", |record| record["request_id"] == id)
        .await;
    for field in ["verdict", "rule", "mode", "code", "findings"] {
        let pair = format!("\"{field}\":{}", record[field]);
        assert!(told.contains(&pair), "{pair}");
    }
}

#[tokio::test]
async fn the_tenants_that_a_rule_would_refuse_are_found_in_the_log_as_told() {
    let told = section("docs/policy/rollout.md", "1. Rehearse: `audit`");
    let ([rule], [command]) = (&blocks(&told, "yaml rule")[..], &blocks(&told, "sh")[..]) else {
        panic!("not one rule and one command in {told}");
    };
    let shipped = text("policies/referrals.yaml");
    let start = shipped.find("- { id: links-removed").unwrap();
    let end = start + shipped[start..].find('\n').unwrap();
    let document = [&shipped[..start], rule, &shipped[end..]].concat();
    let gateway = Gateway::with("").policy(&document);
    let gateway = gateway.start_at("simulator").await;
    let with_links = body("Active", "Accepted").replacen('{', "{\"links\":{},", 1);
    for (body, id) in [(with_links, "found"), (body("Active", "Accepted"), "not")] {
        gateway
            .put(ITEM, body)
            .header("client-request-id", id)
            .if_match(TAG)
            .send()
            .await;
    }
    let mut log = String::new();
    for id in ["found", "not"] {
        let target = "referral_gateway::decision";
        let is_wanted = |record: &Value| record["request_id"] == id && record["target"] == target;
        let record = gateway.record(id, is_wanted).await;
        log += &format!("{record}\n");
    }
    let folder = TempDir::new().unwrap();
    write(&folder, "gateway.log", &log);
    let ended = shell("sh")
        .args(["-c", command])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let tenant = log.split("\"tenant\":").nth(1).unwrap();
    let tenant = tenant.split([',', '}']).next().unwrap();
    assert_eq!(said.trim(), format!("1 \"tenant\":{tenant}"), "{log}");
}

/// The copy of the default document with the rule of the page behind the last one, as a reader pastes it: its name and
/// its text.
fn with_first_rule() -> (String, String) {
    let section = section("docs/policy.md", "Add a rule");
    let copy = blocks(&section, "sh")[0];
    let [rule] = blocks(&section, "yaml rule")[..] else {
        panic!("not one rule in {section}");
    };
    let (from, to) = copy.trim_start_matches("cp ").split_once(' ').unwrap();
    let shipped = text(from);
    let last = shipped.rfind("\n  - { id: ").expect(from) + 1;
    let end = last + shipped[last..].find('\n').unwrap() + 1;
    let (rules, states) = shipped.split_at(end);
    assert!(states.contains("\nstates:\n"), "{states}");
    (to.to_owned(), format!("{rules}{rule}\n{states}"))
}

#[test]
fn a_first_rule_can_be_added_as_printed() {
    let section = section("docs/policy.md", "Add a rule");
    let [_, commands] = blocks(&section, "sh")[..] else {
        panic!("not two shell blocks in {section}");
    };
    let folder = TempDir::new().unwrap();
    let (to, document) = with_first_rule();
    let file = write(&folder, &to, &document);
    for command in commands.lines() {
        let words = command.split_whitespace();
        let words = words.take_while(|word| *word != "#").skip(1);
        let words: Vec<_> = words
            .map(|word| if word == to { &file } else { word })
            .collect();
        let command = match words.as_slice() {
            // The example below the commands shows the rule in a running gateway.
            ["run", rest @ ..] => [&["check"], rest].concat(),
            _ => words,
        };
        let checked = run(&command);
        assert_eq!(checked.code, Some(0), "{}", checked.out);
    }
}

#[test]
fn the_example_of_explain_works_as_printed() {
    let example = section("docs/cli.md", "Explain a request");
    let [script] = blocks(&example, "sh")[..] else {
        panic!("not one shell block in {example}");
    };
    let program = format!("'{}' explain", env!("CARGO_BIN_EXE_referral-gateway"));
    let folder = TempDir::new().unwrap();
    let ended = shell("sh")
        .args(["-c", &script.replace("referral-gateway explain", &program)])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}\n{errors}");

    let [printed] = blocks(&example, "text")[..] else {
        panic!("not one answer in {example}");
    };
    let mut lines = said.lines();
    for line in printed.lines() {
        assert!(lines.any(|other| other == line), "{line:?} in {said}");
    }

    let request = folder.path().join("request.sh");
    let told = run(&["explain", request.to_str().unwrap(), "--output", "json"]).json();
    let program = told.as_object().unwrap().keys().map(String::as_str);
    let table = section("docs/cli.md", "JSON of `explain`");
    let page = rows(&table).into_iter().map(|row| only(row[0]));
    check_same(&page.collect(), &program.collect());
    for row in rows(&table) {
        let inner = match &told[only(row[0])] {
            Value::Object(members) => members,
            Value::Array(items) => match items.first().and_then(Value::as_object) {
                Some(members) => members,
                None => continue,
            },
            _ => continue,
        };
        for name in inner.keys() {
            assert!(ticked(row[1]).contains(&&**name), "{name} in {row:?}");
        }
    }
}

/// The name by which a heading can be linked to.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let letters = words.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        other => other.is_alphanumeric().then_some(other),
    });
    letters.collect()
}

/// Every page of the repository, as a path from its root.
fn pages() -> Vec<String> {
    fn below(folder: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // A build in `fuzz` leaves pages of other projects there.
            if path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                below(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let path = path.strip_prefix(root()).unwrap();
                into.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let top = fs::read_dir(root()).unwrap();
    let top = top.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = top.filter(|name| name.ends_with(".md")).collect();
    for folder in ["benches", "docs", "deploy", "fuzz"] {
        below(&root().join(folder), &mut pages);
    }
    pages
}

/// The text of a page without its fenced blocks.
fn prose(page: &str) -> String {
    let parts = page.split("```").step_by(2);
    parts.collect()
}

#[test]
fn links_between_pages_lead_to_files_and_headings() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    let mut links = 0;
    for page in pages {
        let whole = text(&page);
        for part in prose(&whole).split("](").skip(1) {
            let link = part.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page),
                file => root().join(&page).with_file_name("").join(file),
            };
            assert!(target.exists(), "{page} links to {link}");
            if !anchor.is_empty() {
                let target = prose(&text(target));
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor_of(line) == anchor),
                    "{page} links to {link}"
                );
            }
        }
    }
    assert!(links > 20, "{links}");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let (mut reached, mut next) = (vec!["README.md".to_owned()], 0);
    while let Some(page) = reached.get(next).cloned() {
        next += 1;
        for part in prose(&text(&page)).split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap();
            if link.contains("://") || !link.ends_with(".md") {
                continue;
            }
            let target = root().join(&page).with_file_name("").join(link);
            let target = fs::canonicalize(&target).expect(link);
            let target = target.strip_prefix(fs::canonicalize(root()).unwrap());
            let target = target.unwrap().to_str().unwrap().to_owned();
            if !reached.contains(&target) {
                reached.push(target);
            }
        }
    }
    check_same(
        &reached.into_iter().collect(),
        &pages().into_iter().collect(),
    );
}

#[test]
fn the_places_for_a_change_exist() {
    let page = text("docs/contributing.md");
    let roots = ["src/", "tests/", "docs/", "policies/", "fuzz/"];
    let words = ticked(&page).into_iter();
    let places: Vec<&str> = words
        .filter(|word| roots.iter().any(|root| word.starts_with(root)))
        .collect();
    assert!(places.len() > 20, "{places:?}");
    for place in places {
        assert!(root().join(place).exists(), "{place}");
    }
}

#[test]
fn the_map_names_every_source_file() {
    let mut files = BTreeSet::new();
    sources(&root().join("src"), &mut files);
    let program: BTreeSet<String> = files
        .iter()
        .filter_map(|path| path.strip_prefix(root().join("src")).ok()?.to_str())
        // Tests stand beside what they test, and the simulator is a world of its own.
        .filter(|path| !path.ends_with("tests.rs") && !path.contains("/tests/"))
        .filter(|path| !path.starts_with("simulator/"))
        .map(str::to_owned)
        .collect();
    let architecture = text("docs/architecture.md");
    let map = between(&architecture, "## The map", "### Arrows");
    let page = rows(map)
        .into_iter()
        .flat_map(|row| ticked(row[0]))
        .map(str::to_owned)
        .collect();
    check_same(&page, &program);
}
