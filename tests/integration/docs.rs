//! The pages in docs/ say what the program does: settings, codes, metrics, log fields, commands and links are compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    commands::{run, write},
    support::{
        Gateway, ITEM, TAG, Upstream, body,
        page::{between, blocks, check_same, only, root, rows, section, sources, text, ticked},
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
    for example in examples {
        let file = write(&folder, "settings.yaml", &format!("{example}\n"));
        let checked = run(&["check", "--config", &file]);
        assert_eq!(checked.code, Some(0), "{}", checked.out);
    }
}

#[test]
fn the_example_of_a_policy_test_passes() {
    let page = text("docs/policy/testing.md");
    let [example] = blocks(&page, "yaml")[..] else {
        panic!("not one example in {page}");
    };
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    write(&folder, "mine.yaml", &text("policies/referrals.yaml"));
    write(&folder, "tests/mine.yaml", example);
    let tested = run(&["test", folder.path().to_str().unwrap()]);
    assert_eq!(tested.code, Some(0), "{}", tested.out);
    assert!(tested.out.contains("3 passed, 0 failed"), "{}", tested.out);
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
    // An expression has words of its own in its text, and a document has keys.
    let is_check = |path: &&PathBuf| {
        !path.ends_with("tests.rs")
            && !path.to_string_lossy().contains("policy/tests/")
            && !path.to_string_lossy().contains("policy/document")
            && !path.to_string_lossy().contains("policy/expression")
    };
    for path in checks.iter().filter(is_check) {
        rules.extend(words(&text(path)).map(str::to_owned));
    }
    rules
}

#[test]
fn every_code_of_an_answer_stands_on_the_page() {
    let rules = rule_codes();
    let table = section("docs/errors.md", "What the rules refuse");
    let page = rows(&table)
        .into_iter()
        .map(|row| only(row[3]).to_owned())
        .collect();
    check_same(&page, &rules);

    let problem = text("src/problem.rs");
    let (_, table) = problem.split_once("fn row(&self)").unwrap();
    let mut others: BTreeSet<&str> = words(table).collect();
    // An answer to what never became a request begins with its status and its code.
    let answer = text("src/problem/answer.rs");
    let (_, unread) = answer.split_once("pub fn unread(").unwrap();
    for answer in unread.split("StatusCode::").skip(1) {
        let code = answer.split_once(',').map(|(_, rest)| rest.trim_start());
        others.extend(code.and_then(|code| code.strip_prefix('"')?.split('"').next()));
    }
    let table = section("docs/errors.md", "All other answers of the gateway");
    let table = rows(&table);
    let page = table.iter().flat_map(|row| ticked(row[1])).collect();
    check_same(&page, &others);
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
}

#[tokio::test]
async fn every_field_of_a_record_stands_on_the_page() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let put = gateway.put(ITEM, body("Active", "Accepted"));
    assert_eq!(put.if_match(TAG).send().await.status, 200);

    let table = section("docs/observability.md", "Log records");
    for row in rows(&table) {
        let target = only(row[0]);
        let record = gateway
            .record(target, |record| record["target"] == target)
            .await;
        let fields = record.as_object().unwrap().keys().map(String::as_str);
        let common = ["timestamp", "level", "message", "target"];
        let program = fields.filter(|field| !common.contains(field)).collect();
        check_same(&ticked(row[1]).into_iter().collect(), &program);
    }
}

#[test]
fn every_value_of_a_decision_stands_on_the_page() {
    let judge = text("src/proxy/judge.rs");
    let reasons = judge.split("Standing::Unjudged(\"").skip(1);
    let mut unjudged: BTreeSet<&str> = reasons
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    unjudged.extend(words(between(&judge, "let unjudged", "info!(")));
    // A write that cannot be judged has the code of its answer.
    unjudged.extend(["state_unknown", "stale_etag"]);

    let records = section("docs/observability.md", "Log records");
    let (_, values) = records.split_once("* `unjudged`").unwrap();
    let values = values.split("\n\n").next().unwrap();
    check_same(&ticked(values).into_iter().collect(), &unjudged);
    let verdicts = between(&judge, "let told = match", "let first");
    let program = verdicts.split('"').skip(1).step_by(2).collect();
    let told = between(&records, "* `verdict`", "* `unjudged`");
    check_same(&ticked(told).into_iter().collect(), &program);
}

#[tokio::test]
async fn a_refusal_is_found_in_the_log_by_its_id_as_told() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let told = section("docs/errors.md", "All other answers of the gateway");
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

#[test]
fn the_example_of_explain_works_as_printed() {
    let section = section("docs/cli.md", "Explain a request");
    let [script] = blocks(&section, "sh")[..] else {
        panic!("not one shell block in {section}");
    };
    let program = format!("'{}' explain", env!("CARGO_BIN_EXE_referral-gateway"));
    let folder = TempDir::new().unwrap();
    let ended = Command::new("sh")
        .args(["-c", &script.replace("referral-gateway explain", &program)])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}\n{errors}");

    let [printed] = blocks(&section, "text")[..] else {
        panic!("not one answer in {section}");
    };
    let mut lines = said.lines();
    for line in printed.lines() {
        assert!(lines.any(|other| other == line), "{line:?} in {said}");
    }

    let request = folder.path().join("request.sh");
    let told = run(&["explain", request.to_str().unwrap(), "--output", "json"]).json();
    let program = told.as_object().unwrap().keys().map(String::as_str);
    let page = rows(&section).into_iter().map(|row| only(row[0]));
    check_same(&page.collect(), &program.collect());
    for row in rows(&section) {
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
    for folder in ["docs", "deploy", "fuzz"] {
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
