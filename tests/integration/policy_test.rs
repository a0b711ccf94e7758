//! `test`: the tests of policies, and the policies that ship.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    commands::{Ended, ended, program, run},
    support::{Gateway, Upstream},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every policy document that ships.
const DOCUMENTS: [&str; 6] = [
    "policies/examples/blocked-application.yaml",
    "policies/examples/deal-value-cap.yaml",
    "policies/examples/status-reason.yaml",
    "policies/legacy.yaml",
    "policies/referrals.yaml",
    "policies/rollout.yaml",
];

/// Runs in the root of the repository, or in another folder.
#[track_caller]
fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    ended(program(arguments).current_dir(folder))
}

fn yaml_files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = names
        .filter(|name| name.ends_with(".yaml"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_document_is_fine_and_covered_whole() {
    let mut shipped = yaml_files("policies/examples");
    shipped.extend(yaml_files("policies"));
    assert_eq!(shipped, DOCUMENTS);
    for document in DOCUMENTS {
        let check = run_in(Path::new(ROOT), &["check", "--policy", document]);
        assert_eq!(check.code, Some(0), "{document}: {}", check.out);
    }

    let test = run_in(
        Path::new(ROOT),
        &["test", "--min-coverage", "100", "--output", "json"],
    );
    assert_eq!(test.code, Some(0), "{}", test.out);
    assert_eq!(test.err, "");
    let report = test.json();
    assert_eq!(report["ok"], true);
    let coverage: Vec<_> = report["coverage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| {
            (
                document["policy"].as_str().unwrap(),
                document["percent"].clone(),
            )
        })
        .collect();
    assert_eq!(coverage, DOCUMENTS.map(|document| (document, json!(100))));
    let files = report["files"].as_array().unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|file| file["file"].as_str().unwrap())
        .collect();
    assert_eq!(names, yaml_files("policies/tests"));
    for file in files {
        assert_ne!(file["cases"].as_array().unwrap().len(), 0, "{file}");
    }
}

#[test]
fn a_change_of_a_shipped_document_fails_its_tests() {
    for (document, from, to) in [
        (
            "referrals",
            "next: [Active, Closed]",
            "next: [New, Active, Closed]",
        ),
        (
            "referrals",
            "substatus: [Accepted]",
            "substatus: [Accepted, Won]",
        ),
        ("referrals", ", substatus_may_change: false", ""),
        (
            "referrals",
            "check: same_id, on: [PUT], mode: enforce",
            "check: same_id, on: [PUT], mode: audit",
        ),
        (
            "referrals",
            "on: [PUT, PATCH, POST], mode: enforce",
            "on: [PUT, PATCH], mode: enforce",
        ),
        (
            "rollout",
            "check: if_match, on: [PUT], mode: audit",
            "check: if_match, on: [PUT], mode: enforce",
        ),
        ("legacy", ", if-match-from-body", ""),
    ] {
        let path = format!("{ROOT}/policies/{document}.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        let folder = TempDir::new().unwrap();
        let changed = folder.path().join("changed.yaml");
        fs::write(&changed, text.replace(from, to)).unwrap();
        let tests = format!("{ROOT}/policies/tests/{document}.yaml");
        let test = run(&["test", &tests, "--policy", changed.to_str().unwrap()]);
        assert_eq!(test.code, Some(1), "{from}: {}", test.out);
        assert!(test.out.contains(" failed\n"), "{}", test.out);
    }
}

#[test]
fn the_exit_code_tells_failed_tests_from_wrong_usage() {
    let folder = TempDir::new().unwrap();
    let tests = folder.path().join("policies/tests");
    fs::create_dir_all(&tests).unwrap();
    let case = |verdict: &str, rest: &str| {
        format!(
            "policy: builtin\ncases:\n  - name: a read\n    request: {{ method: GET, path: / }}\n    expect: {{ verdict: {verdict}{rest} }}\n"
        )
    };
    let file = tests.join("a.yaml");
    for (text, arguments, code, told) in [
        (case("pass", ""), &["test"][..], 0, "1 passed, 0 failed\n"),
        (
            case("pass", ""),
            &["test", "policies/tests/a.yaml"],
            0,
            "1 passed",
        ),
        (
            case("refuse", ", rules: [if-match]"),
            &["test", "policies"],
            1,
            "policies/tests/a.yaml:3:11: a read\n    - verdict: refuse\n    + verdict: pass\n    - rules: if-match\n    + rules: (none)\n0 passed, 1 failed\n",
        ),
        (
            case("pass", ""),
            &["test", "--min-coverage", "1"],
            1,
            "coverage is below 1 %",
        ),
        (
            case("pass", ""),
            &["test", "--coverage"],
            0,
            "    no case: rule well-formed (enforce) finds nothing in a PUT\n",
        ),
        (
            case("maybe", ""),
            &["test"],
            1,
            "policies/tests/a.yaml:5:24: `cases.0.expect.verdict` is `maybe`: not one of pass, refuse",
        ),
        (
            "cases: [".to_owned(),
            &["test"],
            1,
            "policies/tests/a.yaml:",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let test = run_in(folder.path(), arguments);
        assert_eq!(
            test.code,
            Some(code),
            "{arguments:?}: {}{}",
            test.out,
            test.err
        );
        assert!(test.out.contains(told), "{arguments:?}: {}", test.out);
        assert_eq!(test.err, "");
    }
    for (arguments, told) in [
        (&["test", "nowhere"][..], "nowhere: no such file or folder"),
        (
            &["test", "policies/tests"],
            "policies/tests/tests: cannot be read",
        ),
        (&["test", "--min-coverage", "101"], "101 is not in 0..=100"),
        (&["test", "--output", "xml"], "text, json, junit"),
        (
            &["test", "--listen", "127.0.0.1:0"],
            "--listen is not supported by this command",
        ),
    ] {
        let test = run_in(folder.path(), arguments);
        assert_eq!(
            (test.code, test.out.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(test.err.contains(told), "{arguments:?}: {}", test.err);
    }
    fs::remove_file(file).unwrap();
    let none = run_in(folder.path(), &["test"]);
    assert_eq!(none.code, Some(2));
    assert!(
        none.err.contains("policies/tests: has no *.yaml"),
        "{}",
        none.err
    );
}

#[test]
fn settings_of_the_machine_do_not_change_what_a_test_says() {
    let ended = ended(
        program(&["test", "policies/tests/referrals.yaml"])
            .current_dir(ROOT)
            .env("REFERRAL_GATEWAY_SNAPSHOTS__UNKNOWN_STATE", "refuse")
            .env("REFERRAL_GATEWAY_POLICY__DOCUMENT", "nowhere"),
    );
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

#[test]
fn a_build_server_can_read_the_report() {
    let test = run_in(
        Path::new(ROOT),
        &["test", "--output", "junit", "--min-coverage", "100"],
    );
    assert_eq!(test.code, Some(0));
    let xml = roxmltree::Document::parse(&test.out).unwrap();
    let root = xml.root_element();
    assert!(root.has_tag_name("testsuites"));
    assert_eq!(root.attribute("failures"), Some("0"));
    let cases = xml
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    assert_eq!(root.attribute("tests"), Some(&*cases.count().to_string()));
    let suites = root
        .children()
        .filter(|node| node.has_tag_name("testsuite"));
    assert_eq!(suites.count(), yaml_files("policies/tests").len() + 1);
}

#[test]
fn the_schema_names_the_keys_of_a_test_file() {
    let schema = run(&["schema", "policy-test"]);
    assert_eq!(schema.code, Some(0));
    let schema = schema.json();
    for key in ["policy", "defaults", "cases"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    for key in ["name", "each", "matrix", "given", "request", "expect"] {
        assert!(
            schema["$defs"]["CaseText"]["properties"][key].is_object(),
            "{key}"
        );
    }
}

/// The request of the service's own page passes under the policy for clients that nobody can change: as a correct PUT,
/// byte for byte but for the comma.
#[tokio::test]
async fn the_documented_example_passes_the_gateway_mended() {
    const ID: &str = "49d90c72-3326-4f61-aacc-2cb57970448c";
    const TAG: &str = "\"2500ec5a-0000-0000-0000-5bf4967d0000\"";
    let http = include_str!("../../policies/tests/documented.http");
    let (_, body) = http.split_once("\n\n").unwrap();
    let at = body.rfind(',').unwrap();
    assert!(body.ends_with(",\n\n}\n"));
    let mended = format!("{}{}", &body[..at], &body[at + 1..]);

    let upstream = Upstream::start().await;
    upstream.hold(ID, "Active", "Accepted", TAG);
    let gateway = Gateway::policy(include_str!("../../policies/legacy.yaml"))
        .start(&upstream)
        .await;
    let target = format!("/v1.0/engagements/referrals/{ID}");
    let answer = gateway.put(&target, body).send().await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("referral-gateway-repaired"),
        Some("trailing-comma, if-match-from-body")
    );
    let sent = upstream.only("PUT");
    assert_eq!(sent.header("if-match").as_deref(), Some(TAG));
    assert_eq!(
        sent.header("content-length"),
        Some((body.len() - 1).to_string())
    );
    assert_eq!(sent.body, mended.as_bytes());
    serde_json::from_slice::<Value>(&sent.body).unwrap();
    // What the tests of the policy expect is the same; the file ends without the line feed that a .http file has.
    assert_eq!(
        include_str!("../../policies/tests/documented.json"),
        mended.trim_end_matches('\n')
    );
}

/// A rule nobody here wrote is added, tested, rehearsed and enforced by writing files.
#[tokio::test]
async fn a_rule_of_ones_own_is_tested_rehearsed_and_enforced() {
    let policy = |mode: &str| {
        format!(
            "name: mine
rules:
  - id: named
    check: expression
    on: [PATCH]
    mode: {mode}
    expression: \"!has(body.name) || body.name.matches('^[A-Z]')\"
    message: A name begins with a capital letter.
states:
  New: {{ next: [New], substatus: [Pending] }}
"
        )
    };
    let test = |verdict: &str| {
        format!(
            "policy: ../mine.yaml
defaults:
  request:
    method: PATCH
    path: /v1.0/engagements/referrals/r1
    headers: {{ Content-Type: application/json }}
cases:
  - name: Bakery passes
    request: {{ body: {{ name: Bakery }} }}
    expect: {{ verdict: pass }}
  - name: bakery is found
    request: {{ body: {{ name: bakery }} }}
    expect: {{ verdict: {verdict}, rules: [named] }}
"
        )
    };
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    let upstream = Upstream::start().await;
    upstream.hold("r1", "New", "Pending", "\"1\"");
    let path = folder.path().to_str().unwrap();
    for (mode, verdict, status) in [("audit", "pass", 204), ("enforce", "refuse", 403)] {
        fs::write(folder.path().join("mine.yaml"), policy(mode)).unwrap();
        fs::write(folder.path().join("tests/mine.yaml"), test(verdict)).unwrap();
        let tested = run(&["test", path, "--min-coverage", "100"]);
        assert_eq!(tested.code, Some(0), "{}", tested.out);

        let gateway = Gateway::policy(&policy(mode)).start(&upstream).await;
        let patch = gateway.patch("/v1.0/engagements/referrals/r1", r#"{"name":"bakery"}"#);
        assert_eq!(patch.send().await.status, status, "{mode}");
    }
}

#[test]
fn a_wrong_policy_is_refused_with_place_and_remedy() {
    let document = |rule: &str, next: &str| {
        format!(
            "name: mine\nrules:\n{rule}states:\n  New: {{ next: [{next}], substatus: [Pending] }}\n"
        )
    };
    let rule = |text: &str| document(&format!("  - {{ {text} }}\n"), "New");
    let expression = |text: &str| {
        let rule = format!(
            "  - id: mine\n    check: expression\n    on: [PUT]\n    mode: enforce\n    message: No.\n    expression: {text}\n"
        );
        document(&rule, "New")
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.yaml");
    for (text, told) in [
        (
            rule("id: a, check: if_mach, on: [PUT], mode: enforce"),
            &[":3:21: ", "if_match"][..],
        ),
        (
            rule("id: a, check: if_match, on: [PUT], mode: enforced"),
            &[":3:48: ", "enforce"],
        ),
        (
            rule("id: a, check: if_match, on: [PUT], mode: repair, repairs: [quote]"),
            &[":3:66: ", "quote-if-match"],
        ),
        (
            rule("id: a, check: if_match, on: [PUT], mode: repair, repairs: [strip-links]"),
            &[":3:66: ", "quote-if-match"],
        ),
        (
            rule("id: a, check: if_match, on: [PUT], mode: repair"),
            &[":3:48: ", "list one or more of quote-if-match"],
        ),
        (
            rule("id: a, check: if_match, on: [PUT], mode: enforce, repairs: [quote-if-match]"),
            &[":3:66: ", "mode: repair"],
        ),
        (
            rule("id: a, check: if_match, on: [], mode: enforce"),
            &[":3:35: ", "never applies"],
        ),
        (
            rule("id: a, check: same_id, on: [PATCH], mode: enforce"),
            &[":3:35: ", "does not apply to PATCH"],
        ),
        (
            document(
                "  - { id: a, check: if_match, on: [PUT], mode: enforce }\n  - { id: a, check: same_id, on: [PUT], mode: enforce }\n",
                "New",
            ),
            &[":4:11: ", "two rules have the id `a`"],
        ),
        (
            "name: mine\nrules: []\nstates: { New: { next: [New], substatus: [Pending] } }\n"
                .to_owned(),
            &[":2:8: ", "at least one rule"],
        ),
        (
            document(
                "  - { id: a, check: if_match, on: [PUT], mode: enforce }\n",
                "New, Activ",
            ),
            &[":5:22: ", "`Activ` has no row"],
        ),
        (
            expression("requst.method == 'PUT'"),
            &[":8:17: ", "did you mean `request`?"],
        ),
        (expression("request.method == 5"), &[":8:32: ", "type"]),
        (expression("request.method ="), &[":8:32: ", "write =="]),
        (
            expression("request.metod == 'PUT'"),
            &[":8:25: ", "did you mean `method`?"],
        ),
    ] {
        fs::write(&path, &text).unwrap();
        let path = path.to_str().unwrap();
        let check = run(&["check", "--policy", path]);
        assert_eq!(check.code, Some(1), "{text}{}", check.out);
        let problem = check.out.replace(path, "");
        for word in told {
            assert!(problem.contains(word), "{word}: {problem}");
        }
        // At start and by `test` as well.
        let start = run(&["--policy", path]);
        assert_eq!(start.code, Some(1));
        assert!(start.err.contains(told[0]), "{}", start.err);
        let tests = format!("{ROOT}/policies/tests/referrals.yaml");
        let test = run(&["test", &tests, "--policy", path]);
        assert_eq!(test.code, Some(1));
        assert!(test.err.contains(told[0]), "{}", test.err);
    }
}

#[test]
fn every_fault_of_a_document_is_printed_by_whatever_reads_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(
        &path,
        "name: mine
rules:
  - { id: a, check: if_match, on: [PUT], mode: enforced }
  - { id: b, check: same_id, true: [PUT], mode: warn }
  - { id: c, check: expression, expression: 'bdy.a', message: No., on: [PUT], mode: warn }
  - { id: d, check: expression, expression: 'body.a ==', message: No., on: [PUT], mode: warn }
  - { id: e, check: same_etag, on: [PUT], mode: repair }
states:
  New: { next: [New, Activ], substatus: [Pending] }
",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let told = [
        ("3:48", "did you mean `enforce`?"),
        ("4:30", "did you mean `on`?"),
        ("5:46", "did you mean `body`?"),
        ("6:55", "cannot be read here"),
        ("7:49", "no repair fixes"),
        ("9:22", "`Activ` has no row of its own"),
    ];
    let tests = format!("{ROOT}/policies/tests/referrals.yaml");
    for arguments in [&["check"][..], &["run"], &["test", &tests]] {
        let said = run(&[arguments, &["--policy", path]].concat());
        assert_eq!(said.code, Some(1), "{arguments:?}");
        let text = format!("{}{}", said.out, said.err);
        let faults: Vec<_> = text.lines().filter(|line| line.contains(path)).collect();
        assert_eq!(faults.len(), told.len(), "{arguments:?}: {text}");
        for (fault, (place, piece)) in faults.into_iter().zip(told) {
            assert!(
                fault.contains(&format!("{path}:{place}: ")),
                "{place}: {fault}"
            );
            assert!(fault.contains(piece), "{piece}: {fault}");
        }
    }
    let check = run(&["check", "--policy", path, "--output", "json"]);
    assert_eq!(
        check.json()["problems"].as_array().unwrap().len(),
        told.len()
    );
}

#[test]
fn an_alias_that_no_rule_names_is_a_warning() {
    let folder = TempDir::new().unwrap();
    let policy = "name: p\nrules:\n\
                  - { id: if-match, check: if_match, on: [PUT], mode: audit, modes: { contoso: enforce } }\n\
                  - { id: mine, check: expression, on: [PUT], mode: enforce, expression: \"tenant.alias != 'fabrikam'\", message: Not here. }\n\
                  states: { Active: { next: [Active], substatus: [Accepted] } }\n";
    let case = |alias: &str| {
        format!(
            "  - {{ name: {alias}, given: {{ tenant: {alias} }}, request: {{ method: GET, path: / }}, expect: {{ verdict: pass }} }}\n"
        )
    };
    let tests = format!(
        "policy: ../p.yaml\ncases:\n{}{}{}{}",
        case("contoso"),
        case("fabrikam"),
        case("contsoo"),
        case("northwind")
    );
    fs::write(folder.path().join("p.yaml"), policy).unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    fs::write(folder.path().join("tests/p.yaml"), tests).unwrap();

    let text = run_in(folder.path(), &["test", "."]);
    assert_eq!(text.code, Some(0), "{}{}", text.out, text.err);
    assert_eq!(
        text.out,
        "./tests/p.yaml: 4 of 4 passed\n\
         ./tests/p.yaml:5:13: Warning: `tenant` is `contsoo`: no rule of the policy names this alias; did you mean `contoso`?\n\
         ./tests/p.yaml:6:13: Warning: `tenant` is `northwind`: no rule of the policy names this alias; the modes of all tenants apply\n\
         4 passed, 0 failed\n"
    );
    let json = run_in(folder.path(), &["test", ".", "--output", "json"]).json();
    let warnings = [0, 1, 2, 3].map(|case| json["files"][0]["cases"][case]["warning"].is_string());
    assert_eq!(warnings, [false, false, true, true], "{json}");
}
