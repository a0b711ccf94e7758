//! The README says what the program does: its tables, its examples and its walk-through are held to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    commands::{run, write},
    support::{Gateway, ITEM, TAG, Upstream, body, tools::shell, wire::Call},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of the README below a heading.
fn section(heading: &str) -> String {
    let readme = text("README.md");
    let start = format!("\n## {heading}\n");
    let (_, rest) = readme
        .split_once(&start)
        .unwrap_or_else(|| panic!("no section {heading:?}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The cells of every table in a text, without the heads.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_head = lines.get(at + 1).is_some_and(|next| is_rule(next));
        if let Some(line) = line.strip_prefix('|')
            && !is_head
            && !is_rule(lines[at])
        {
            let cells = line.strip_suffix('|').unwrap_or(line).split('|');
            rows.push(cells.map(str::trim).collect());
        }
    }
    rows
}

/// What stands in backticks.
pub(super) fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

pub(super) fn only(cell: &str) -> &str {
    match ticked(cell).as_slice() {
        [one] => one,
        other => panic!("{cell:?} names {} things", other.len()),
    }
}

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let parts = text.split(&*fence).skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap())
        .collect()
}

/// Both sides have the same entries; says what only one of them has.
#[track_caller]
pub(super) fn check_same<T: Ord + std::fmt::Debug>(readme: &BTreeSet<T>, program: &BTreeSet<T>) {
    let missing: Vec<_> = program.difference(readme).collect();
    let wrong: Vec<_> = readme.difference(program).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "not in the README: {missing:#?}\nonly in the README: {wrong:#?}"
    );
}

#[test]
fn every_setting_stands_in_the_readme_with_its_default() {
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

    let settings = section("Settings");
    let readme = rows(&settings)
        .into_iter()
        .map(|row| (only(row[0]).to_owned(), only(row[1]).to_owned()))
        .collect();
    check_same(&readme, &program);
}

#[test]
fn the_example_settings_are_accepted() {
    let folder = TempDir::new().unwrap();
    let readme = text("README.md");
    let tests = section("Test a policy");
    let examples = blocks(&readme, "yaml");
    let examples: Vec<_> = examples
        .into_iter()
        .filter(|example| !tests.contains(example))
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let file = write(&folder, "settings.yaml", &format!("{example}\n"));
        let checked = run(&["check", "--config", &file]);
        assert_eq!(checked.code, Some(0), "{}", checked.out);
    }
}

#[test]
fn the_example_of_a_policy_test_passes() {
    let section = section("Test a policy");
    let [example] = blocks(&section, "yaml")[..] else {
        panic!("not one example in {section}");
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
fn every_command_stands_in_the_readme() {
    let help = run(&["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let program = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let commands = section("Commands");
    let readme = rows(&commands)
        .into_iter()
        .map(|row| only(row[0]))
        .collect();
    check_same(&readme, &program);
}

#[test]
fn every_flag_stands_in_the_readme() {
    let readme = text("README.md");
    let help = run(&["--help"]).out;
    let names = help.split("--").skip(1).map(|rest| {
        rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
            .next()
            .unwrap()
    });
    for flag in names.filter(|name| !matches!(*name, "help" | "version")) {
        assert!(readme.contains(&format!("--{flag}")), "--{flag}");
    }
}

#[tokio::test]
async fn every_metric_stands_in_the_readme_with_its_labels() {
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

    let table = section("Metrics");
    let readme = rows(&table)
        .into_iter()
        .map(|row| (only(row[0]), ticked(row[1]).into_iter().collect()))
        .collect();
    check_same(&readme, &program.into_iter().collect());
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

pub(super) fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

/// The codes of the findings that rules can have, out of the sources of the checks.
pub(super) fn rule_codes() -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    let mut checks = BTreeSet::from([root().join("src/policy.rs")]);
    sources(&root().join("src/policy"), &mut checks);
    // An expression has words of its own in its text, and a document has keys.
    let is_check = |path: &&PathBuf| {
        !path.ends_with("tests.rs")
            && !path.to_string_lossy().contains("policy/tests/")
            && !path.ends_with("policy/document.rs")
            && !path.to_string_lossy().contains("policy/expression")
    };
    for path in checks.iter().filter(is_check) {
        rules.extend(words(&text(path)).map(str::to_owned));
    }
    rules
}

#[test]
fn every_code_of_an_answer_stands_in_the_readme() {
    let rules = rule_codes();
    let table = section("What the rules refuse");
    let readme = rows(&table)
        .into_iter()
        .map(|row| only(row[3]).to_owned())
        .collect();
    check_same(&readme, &rules);

    let problem = text("src/problem.rs");
    let mut others: BTreeSet<&str> =
        words(between(&problem, "pub fn code(", "pub fn status(")).collect();
    // An answer to what never became a request begins with its status and its code.
    let (_, unread) = problem.split_once("pub fn unread(").unwrap();
    for answer in unread.split("StatusCode::").skip(1) {
        let code = answer.split_once(',').map(|(_, rest)| rest.trim_start());
        others.extend(code.and_then(|code| code.strip_prefix('"')?.split('"').next()));
    }
    let table = section("All other answers of the gateway");
    let table = rows(&table);
    let readme = table.iter().flat_map(|row| ticked(row[1])).collect();
    check_same(&readme, &others);
}

#[test]
fn the_rules_stand_in_the_readme_in_their_order() {
    let document = text("policies/referrals.yaml");
    let shipped: Vec<&str> = document
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- { id: ")?.split(',').next())
        .collect();
    assert!(!shipped.is_empty());
    let table = section("What the rules refuse");
    let named = rows(&table).into_iter().flat_map(|row| ticked(row[0]));
    assert_eq!(named.collect::<Vec<_>>(), shipped);
}

#[tokio::test]
async fn every_field_of_a_record_stands_in_the_readme() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let put = gateway.put(ITEM, body("Active", "Accepted"));
    assert_eq!(put.if_match(TAG).send().await.status, 200);

    let table = section("Log records");
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
fn every_value_of_a_decision_stands_in_the_readme() {
    let judge = text("src/proxy/judge.rs");
    let reasons = judge.split("Standing::Unjudged(\"").skip(1);
    let mut unjudged: BTreeSet<&str> = reasons
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    unjudged.extend(words(between(&judge, "let unjudged", "info!(")));
    // A write that cannot be judged has the code of its answer.
    unjudged.extend(["state_unknown", "stale_etag"]);

    let records = section("Log records");
    let (_, values) = records.split_once("* `unjudged`").unwrap();
    let values = values.split("\n\n").next().unwrap();
    check_same(&ticked(values).into_iter().collect(), &unjudged);
    let verdicts = between(&judge, "let told = match", "let first");
    let program = verdicts.split('"').skip(1).step_by(2).collect();
    let readme = between(&records, "* `verdict`", "* `unjudged`");
    check_same(&ticked(readme).into_iter().collect(), &program);
}

/// Whether `part` stands in `whole`: members may be left out, elements of a list may not.
#[track_caller]
pub(super) fn check_part(part: &Value, whole: &Value) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (name, value) in part {
                check_part(value, whole.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            assert_eq!(part.len(), whole.len(), "{whole:?}");
            for (part, whole) in part.iter().zip(whole) {
                check_part(part, whole);
            }
        }
        _ => assert_eq!(part, whole),
    }
}

#[tokio::test]
async fn the_walk_through_works_as_printed() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let section = section("Walk through it");
    let [script] = blocks(&section, "sh")[..] else {
        panic!("not one shell block in {section}");
    };
    let here = script
        .replace("127.0.0.1:4280", &gateway.address.to_string())
        .replace("127.0.0.1:4281", &gateway.telemetry.to_string());
    assert!(!here.contains(":428"), "{here}");

    let folder = TempDir::new().unwrap();
    let ended = shell("sh")
        .args(["-c", &here])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{errors}");

    // The comments say which answer comes.
    let told = script
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(": "))
        .filter_map(|(status, _)| status.parse().ok());
    let came = said
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let (told, came): (Vec<u16>, Vec<u16>) = (told.collect(), came.collect());
    assert_eq!(told, [200, 428, 200]);
    assert_eq!(came, told, "{said}\n{errors}");

    let [answer] = blocks(&section, "json")[..] else {
        panic!("not one answer in {section}");
    };
    let (_, refused) = said.split_once("HTTP/1.1 428").unwrap();
    let refused = refused.lines().find(|line| line.starts_with('{')).unwrap();
    check_part(
        &serde_json::from_str(answer).unwrap(),
        &serde_json::from_str(refused).unwrap(),
    );

    let [counted] = blocks(&section, "text")[..] else {
        panic!("not one block of metrics in {section}");
    };
    let lines = said.lines().filter(|line| line.starts_with("referral_"));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        counted.lines().collect::<Vec<_>>()
    );

    let mut made = fs::read_dir(folder.path()).unwrap();
    let made = made.next().unwrap().unwrap().path();
    let good = fs::read(made.join("good.json")).unwrap();
    let again = Call::new(gateway.address, "PUT", ITEM)
        .without("Authorization")
        .header("Content-Type", "application/json")
        .if_match(TAG)
        .body(good)
        .send()
        .await;
    assert_eq!((again.status, again.is_ours()), (412, false));
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

#[tokio::test]
async fn a_refusal_is_found_in_the_log_by_its_id_as_told() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let told = section("All other answers of the gateway");
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
    let section = section("Explain a request");
    let [script] = blocks(&section, "sh")[..] else {
        panic!("not one shell block in {section}");
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
    let readme = rows(&section).into_iter().map(|row| only(row[0]));
    check_same(&readme.collect(), &program.collect());
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

#[test]
fn links_between_documents_lead_to_files_and_headings() {
    for document in [
        "README.md",
        "docs/architecture.md",
        "docs/policy.md",
        "deploy/README.md",
    ] {
        let folder = root().join(document);
        for part in text(document).split("](").skip(1) {
            let link = part.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => folder.clone(),
                file => folder.with_file_name("").join(file),
            };
            assert!(target.exists(), "{document} names {link}");
            if !anchor.is_empty() {
                let target = text(target);
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor_of(line) == anchor),
                    "{document} names {link}"
                );
            }
        }
    }
}

fn sources(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(path);
        }
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
    let readme = rows(map)
        .into_iter()
        .flat_map(|row| ticked(row[0]))
        .map(str::to_owned)
        .collect();
    check_same(&readme, &program);
}
