#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails here says so by stopping"
)]

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CaseReport, FileReport, Report, diff::visible, files_of, run, table};
use crate::config::{self, PolicySource, Sources};

/// A policy with a rule that differs by tenant, one that warns and one that repairs.
const POLICY: &str = "\
name: small
rules:
  - { id: well-formed, check: well_formed, on: [PUT], mode: enforce }
  - { id: if-match, check: if_match, on: [PUT], mode: audit, modes: { contoso: enforce, fabrikam: enforce, litware: 'off' } }
  - { id: links, check: links_removed, on: [PUT], mode: repair, repairs: [strip-links] }
  - { id: steps, check: transition, on: [PUT], mode: enforce }
  - { id: same-etag, check: same_etag, on: [PUT], mode: warn }
states:
  New: { next: [New, Active], substatus: [Pending] }
  Active: { next: [Active], substatus: [Accepted, Pending], substatus_may_change: false }
";

/// Writes the policy and a test file beside it, and runs that.
fn report(test: &str) -> (TempDir, Report) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("small.yaml"), POLICY).unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    fs::write(folder.path().join("tests/small.yaml"), test).unwrap();
    let files = files_of(&[folder.path().to_owned()]).unwrap();
    let report = run(&files, None, &settings());
    (folder, report)
}

fn settings() -> config::Settings {
    config::load(Sources::default()).unwrap().settings
}

const HEAD: &str = "\
policy: ../small.yaml
defaults:
  given: { snapshots: [{ id: r1, etag: '\"1\"', status: Active, substatus: Accepted }] }
  request:
    method: PUT
    path: /v1.0/engagements/referrals/r1
    headers: { Content-Type: application/json, If-Match: '\"1\"' }
    body: { status: Active, substatus: Accepted }
cases:
";

/// The cases of a file that can be run.
#[track_caller]
fn cases(cases: &str) -> Vec<CaseReport> {
    let (_folder, mut report) = report(&format!("{HEAD}{cases}"));
    match report.files.pop().unwrap().outcome {
        Ok(cases) => cases,
        Err(error) => panic!("{error}"),
    }
}

/// The diff of the only case of a file.
#[track_caller]
fn diff(case: &str) -> Vec<String> {
    let mut cases = cases(case);
    assert_eq!(cases.len(), 1);
    cases.pop().unwrap().diff
}

/// What is wrong with a file, without its path.
#[track_caller]
fn error(text: &str) -> String {
    let (folder, mut report) = report(text);
    assert!(!report.passed());
    match report.files.pop().unwrap().outcome {
        Ok(cases) => panic!("{cases:?}"),
        Err(error) => error.replace(&format!("{}/tests/", folder.path().display()), ""),
    }
}

#[test]
fn a_case_passes_if_all_is_as_expected() {
    for case in [
        "- { name: plain, expect: { verdict: pass } }",
        "- { name: nothing looked at, request: { method: GET, raw: '' }, expect: { verdict: pass } }",
        "- { name: forwarded, expect: { verdict: pass, forwarded: { body: unchanged, headers: { If-Match: '\"1\"', X-Odd: null } } } }",
        "- { name: audited, request: { headers: { If-Match: null } }, expect: { verdict: pass, rules: [if-match], warnings: [] } }",
        "- { name: own mode, given: { tenant: contoso }, request: { headers: { If-Match: null } }, expect: { verdict: refuse, status: 428, rules: [if-match] } }",
        "- { name: switched off, given: { tenant: litware }, request: { headers: { If-Match: null } }, expect: { verdict: pass } }",
        "- { name: two lines, request: { headers: { if-match: ['\"1\"', '\"2\"'] } }, expect: { verdict: pass, rules: [if-match], findings: [if_match_repeated] } }",
        "- { name: mended, request: { raw: '{\"links\":1,\"status\":\"Active\",\"substatus\":\"Accepted\"}' }, expect: { verdict: pass, repaired: [strip-links], forwarded: { raw: '{\"status\":\"Active\",\"substatus\":\"Accepted\"}' } } }",
        "- { name: warned, request: { body: { eTag: x, status: Active, substatus: Accepted } }, expect: { verdict: pass, rules: [same-etag], warnings: [same-etag] } }",
        "- { name: not of the rules, request: { path: /v1.0/engagements/referrals/r1/notes }, expect: { verdict: refuse, code: unknown_referral_route } }",
        "- { name: a table, each: [{ to: Active }], request: { body: { status: '${to}', substatus: Accepted } }, expect: { verdict: pass } }",
    ] {
        assert_eq!(diff(case), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn a_case_that_fails_tells_what_was_expected_and_what_came() {
    let moves_back = "- { name: back, request: { body: { status: New, substatus: Pending } }, expect: { verdict: pass } }";
    assert_eq!(
        diff(moves_back),
        [
            "- verdict: pass",
            "+ verdict: refuse",
            "- answer: (none)",
            "+ answer: 409 transition_not_allowed",
            "- rules: (none)",
            "+ rules: steps"
        ]
    );
    let other_rule = "- { name: x, request: { body: { status: New, substatus: Pending } }, expect: { verdict: refuse, status: 422, code: c, rules: [links, steps], findings: [f] } }";
    assert_eq!(
        diff(other_rule),
        [
            "  verdict: refuse",
            "- status: 422",
            "+ status: 409",
            "- code: c",
            "+ code: transition_not_allowed",
            "- rules: links, steps",
            "+ rules: steps",
            "- findings: f",
            "+ findings: transition_not_allowed",
        ]
    );
    let sent = "- { name: x, expect: { verdict: pass, warnings: [links], repaired: [strip-links], forwarded: { headers: { If-Match: null, X: [a, b] }, raw: \"{\\\"status\\\":\\n\" } } }";
    assert_eq!(
        diff(sent),
        [
            "  verdict: pass",
            "- warnings: links",
            "+ warnings: (none)",
            "- repaired: strip-links",
            "+ repaired: (none)",
            "- if-match: (none)",
            "+ if-match: \"1\"",
            "- x: a | b",
            "+ x: (none)",
            "  body, from line 1:",
            "-   {\"status\":",
            "+   {\"status\":\"Active\",\"substatus\":\"Accepted\"} (end)",
        ]
    );
}

#[test]
fn of_a_long_body_the_lines_that_differ_are_shown() {
    let lines: Vec<_> = (0..200)
        .map(|number| format!("  \"m{number}\": 1,"))
        .collect();
    let text = format!("{{\n{}\n  \"links\": 1 }}", lines.join("\n"));
    let raw = |text: &str| json!(text).to_string();
    let other = text.replace("\"m150\": 1", "\"m150\": 2");
    let case = format!(
        "- {{ name: x, given: {{ tenant: none }}, request: {{ method: GET, raw: {} }}, expect: {{ verdict: pass, forwarded: {{ raw: {} }} }} }}",
        raw(&text),
        raw(&other)
    );
    assert_eq!(
        diff(&case),
        [
            "  verdict: pass",
            "  body, from line 152:",
            "-     \"m150\": 2,",
            "+     \"m150\": 1,"
        ]
    );
    // One long line is shown around the place.
    let long = |letter: char| {
        raw(&format!(
            "{}{letter}\u{1b}[31m{}",
            "a".repeat(500),
            "b".repeat(500)
        ))
    };
    let case = format!(
        "- {{ name: x, request: {{ method: GET, raw: {} }}, expect: {{ verdict: pass, forwarded: {{ raw: {} }} }} }}",
        long('x'),
        long('y')
    );
    let shown = diff(&case);
    for (line, letter) in [(&shown[2], 'y'), (&shown[3], 'x')] {
        assert!(line.contains(letter) && line.len() < 200, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn a_write_that_asks_where_the_referral_stands_needs_a_snapshot() {
    for snapshots in [
        "[]",
        "[{ id: r2, etag: '\"1\"', status: Active, substatus: Accepted }]",
    ] {
        let case = format!(
            "- {{ name: x, given: {{ snapshots: {snapshots} }}, expect: {{ verdict: pass }} }}"
        );
        let diff = diff(&case);
        assert!(diff.last().unwrap().contains("given.snapshots"), "{diff:?}");
    }
    // Another version than the one that the request replaces: the service would answer 412.
    let moved = "- { name: x, given: { snapshots: [{ id: r1, etag: '\"2\"', status: New, substatus: Pending }] }, expect: { verdict: pass } }";
    assert_eq!(diff(moved), Vec::<String>::new());
}

#[test]
fn what_a_file_says_wrongly_is_told_with_place_and_remedy() {
    let one = |case: &str| format!("{HEAD}{case}");
    let many = format!("{:?}", (0..200).collect::<Vec<_>>());
    for (text, wrong) in [
        (
            "polcy: builtin\ncases: []\n".to_owned(),
            "small.yaml:1:1: unknown key `polcy`; did you mean `policy`?",
        ),
        (
            "policy: builtin\ncases: []\n".to_owned(),
            "small.yaml:2:8: `cases` is empty; write at least one case",
        ),
        (
            "policy: builtin\n".to_owned(),
            "small.yaml:1:1: the document has no `cases`; add `cases: ...`",
        ),
        (
            "policy: nothing.yaml\ncases: [{ name: x, expect: { verdict: pass } }]\n".to_owned(),
            "small.yaml:1:9: the policy is not valid (",
        ),
        (
            one("- { name: x, expect: { verdict: passed } }"),
            "small.yaml:10:33: `cases.0.expect.verdict` is `passed`: not one of pass, refuse; did you mean `pass`?",
        ),
        (
            one("- { name: x, request: { metod: PUT }, expect: { verdict: pass } }"),
            "small.yaml:10:25: unknown key `cases.0.request.metod`; did you mean `method`?",
        ),
        (
            one("- { name: x }"),
            "small.yaml:10:3: `cases.0` has no `expect`; add `expect: ...`",
        ),
        (
            one("- { name: x, expect: { verdict: pass, status: 400 } }"),
            "small.yaml:10:47: status: the gateway does not answer a request that passes; remove `status`, or expect another verdict",
        ),
        (
            one("- { name: x, expect: { verdict: refuse, rules: [links], forwarded: { body: unchanged } } }"),
            "small.yaml:10:68: forwarded: the gateway sends nothing for a refused request; remove `forwarded`, or expect another verdict",
        ),
        (
            one("- { name: x, expect: { verdict: refuse } }"),
            "small.yaml:10:33: the case does not name what refuses the request; add `rules`, or `code` if no rule refuses it",
        ),
        (
            one("- { name: x, expect: { verdict: refuse, rules: [link] } }"),
            "small.yaml:10:11: the policy small has no rule `link`; did you mean `links`?",
        ),
        (
            one("- { name: x, expect: { verdict: pass, repaired: [strip-link] } }"),
            "small.yaml:10:50: `cases.0.expect.repaired.0` is `strip-link`: not one of trailing-comma, strip-links, quote-if-match, unescape-if-match, if-match-from-body; did you mean `strip-links`?",
        ),
        (
            one("- { name: x, expect: { verdict: pass } }\n- { name: x, expect: { verdict: pass } }"),
            "small.yaml:11:11: two cases have the name `x`; give each case its own name",
        ),
        (
            one("- { name: x, each: [{ a: 1 }, { a: 2 }], expect: { verdict: pass } }"),
            "small.yaml:10:11: two cases have the name `x`; put values of the table into the name, as `${...}`",
        ),
        (
            one("- { name: '${froom}', each: [{ from: 1 }], expect: { verdict: pass } }"),
            "small.yaml:10:11: the table has no value `froom`; did you mean `from`?",
        ),
        (
            one("- { name: '${a.b.c}', each: [{ a: { b: 1 } }], expect: { verdict: pass } }"),
            "small.yaml:10:11: the table has no value `a.b.c`; its names are a",
        ),
        (
            one("- { name: '${a', each: [{ a: 1 }], expect: { verdict: pass } }"),
            "small.yaml:10:11: a `${` has no `}`; write `${name}`, or `$${` for a literal `${`",
        ),
        (
            one("- { name: 'x ${a}', each: [{ a: [1] }], expect: { verdict: pass } }"),
            "small.yaml:10:11: a text contains a list or a mapping of the table; name a part of it, such as `${name.member}`",
        ),
        (
            one("- { name: x, each: [], expect: { verdict: pass } }"),
            "small.yaml:10:20: `each` is empty; write at least one row, such as { from: New, to: Active }",
        ),
        (
            one("- { name: '${a}', each: [{ a: 1 }, { b: 1 }], expect: { verdict: pass } }"),
            "small.yaml:10:25: row 2 of `each` does not have the names of the first row; give each row the names a",
        ),
        (
            one("- { name: '${a}', matrix: { a: [] }, expect: { verdict: pass } }"),
            "small.yaml:10:27: `matrix` has no values for `a`; write at least one",
        ),
        (
            one("- { name: x, matrix: { a: [1] }, each: [{ a: 1 }], expect: { verdict: pass } }"),
            "small.yaml:10:22: the case has both `each` and `matrix`; keep one of them",
        ),
        (
            one(&format!("- {{ name: x, matrix: {{ a: {many}, b: {many} }}, expect: {{ verdict: pass }} }}")),
            "small.yaml:10:22: `matrix` makes more than 10000 rows; shorten a list, or write two cases",
        ),
        (
            one("- { name: x, request: { path: v1.0 }, expect: { verdict: pass } }"),
            "small.yaml:10:31: path: `v1.0` does not begin with /; write path and query, such as /v1.0/engagements/referrals/r1",
        ),
        (
            one("- { name: x, request: { headers: { If-Match: 1 } }, expect: { verdict: pass } }"),
            "small.yaml:10:46: the value of a header field is not a text; put it in quotes; a list of texts makes several lines",
        ),
        (
            one("- { name: x, request: { body: {}, raw: x }, expect: { verdict: pass } }"),
            "small.yaml:10:40: the request has both `body` and `raw`; keep one of them",
        ),
        (
            one("- { name: x, request: { http: a.http, raw: x }, expect: { verdict: pass } }"),
            "small.yaml:10:31: the case has both `http` and a request of its own; keep one of them",
        ),
        (
            one("- { name: x, request: { http: a.http }, expect: { verdict: pass } }"),
            "small.yaml:10:31: http: `a.http`: no such file",
        ),
        (
            one("- { name: x, request: { http: small.yaml }, expect: { verdict: pass } }"),
            "small.yaml:10:31: http: small.yaml: line 1: ",
        ),
        (
            one("- { name: x, request: { which: '2' }, expect: { verdict: pass } }"),
            "small.yaml:10:32: `which` selects a request of a file, but the case has no `http`; add `http`, or remove `which`",
        ),
        (
            one("- { name: x, given: { tenant: a, tenant_id: b }, expect: { verdict: pass } }"),
            "small.yaml:10:45: the case has both `tenant` and `tenant_id`; keep one of them: the settings map an alias to its id",
        ),
        (
            one("- { name: x, expect: { verdict: pass, forwarded: { body: unchanged, raw: x } } }"),
            "small.yaml:10:74: `forwarded` has more than one of `body`, `raw` and `file`; keep one of them",
        ),
        (
            one("- { name: x, expect: { verdict: pass, forwarded: { file: nothing } } }"),
            "small.yaml:10:58: file: `nothing`: no such file",
        ),
        (
            "policy: builtin\ncases: [{ name: x, request: { path: / }, expect: { verdict: pass } }]\n".to_owned(),
            "small.yaml:2:17: the request of this case has no `method`; write `method` under `request`, or under `defaults.request`",
        ),
    ] {
        let error = error(&text);
        assert!(error.starts_with(wrong), "{text}\n{error}\n{wrong}");
    }
}

#[test]
fn tables_and_texts_are_bounded() {
    // Rows of several tables add up.
    let numbers: Vec<_> = (0..100).collect();
    let table = |name: char| {
        format!(
            "- {{ name: '{name}${{a}} ${{b}}', matrix: {{ a: {numbers:?}, b: {numbers:?} }}, request: {{ method: GET }}, expect: {{ verdict: pass }} }}\n"
        )
    };
    let error_of = error(&format!("{HEAD}{}{}", table('x'), table('y')));
    assert!(error_of.contains("more than 10000 cases"), "{error_of}");

    let value = "v".repeat(500_000);
    let uses = "${a}".repeat(10);
    let grows = format!(
        "{HEAD}- {{ name: x, each: [{{ a: {value} }}], request: {{ raw: '{uses}' }}, expect: {{ verdict: pass }} }}\n"
    );
    assert!(error(&grows).contains("are longer than 4194304 bytes"));
}

#[test]
fn a_case_counts_for_what_it_shows() {
    #[track_caller]
    fn check(case: &str, shown: &[&str]) {
        let (_folder, report) = report(&format!("{HEAD}{case}"));
        let coverage = &report.coverage[0];
        let covered = coverage.targets.iter().filter(|(_, covered)| *covered);
        let covered: Vec<_> = covered.map(|(target, _)| target.to_string()).collect();
        assert_eq!(covered, shown, "{case}");
        assert_eq!(coverage.covered(), shown.len());
        assert_eq!(
            coverage.missing().count(),
            coverage.targets.len() - shown.len()
        );
    }
    let mut fine = vec![
        "rule well-formed (enforce) finds nothing in a PUT",
        "rule if-match (audit) finds nothing in a PUT",
        "rule links (repair) finds nothing in a PUT",
        "rule steps (enforce) finds nothing in a PUT",
        "transition from Active to Active by a PUT",
        "Active: substatus from Accepted to Accepted by a PUT",
        "rule same-etag (warn) finds nothing in a PUT",
    ];
    check("- { name: x, expect: { verdict: pass } }", &fine);
    // What is expected wrongly shows nothing.
    check(
        "- { name: x, expect: { verdict: refuse, rules: [links] } }",
        &[],
    );
    // Without If-Match there is nothing to compare the eTag with.
    check(
        "- { name: x, request: { method: GET }, expect: { verdict: pass } }",
        &[],
    );
    // A mended request shows the repair, and not that one without fault passes.
    fine[2] = "rule links repairs by strip-links";
    check(
        "- { name: x, request: { body: { status: Active, substatus: Accepted, links: 1 } }, expect: { verdict: pass, repaired: [strip-links] } }",
        &fine,
    );
    check(
        "- { name: x, given: { tenant: fabrikam }, request: { headers: { If-Match: null } }, expect: { verdict: refuse, rules: [if-match] } }",
        &[
            "rule well-formed (enforce) finds nothing in a PUT",
            "rule if-match (enforce) finds something in a PUT",
            "rule links (repair) finds nothing in a PUT",
            "rule same-etag (warn) finds nothing in a PUT",
        ],
    );
    check(
        "- { name: x, request: { body: { status: Active, substatus: Pending } }, expect: { verdict: refuse, rules: [steps] } }",
        &[
            "rule well-formed (enforce) finds nothing in a PUT",
            "rule if-match (audit) finds nothing in a PUT",
            "rule links (repair) finds nothing in a PUT",
            "rule steps (enforce) finds something in a PUT",
            "transition from Active to Active by a PUT",
            "Active: substatus from Accepted to Pending by a PUT",
            "rule same-etag (warn) finds nothing in a PUT",
        ],
    );
}

#[test]
fn coverage_asks_for_each_rule_mode_repair_and_cell() {
    let (_folder, report) = report(&format!(
        "{HEAD}- {{ name: x, expect: {{ verdict: pass }} }}"
    ));
    let coverage = &report.coverage[0];
    let told: Vec<_> = coverage
        .targets
        .iter()
        .map(|(target, _)| target.to_string())
        .collect();
    // 5 rules in 6 modes that are not `off`, found and not found; a repair; 2 by 2 status; 2 by 2 substatus of Active.
    assert_eq!(told.len(), 12 + 1 + 4 + 4, "{told:#?}");
    assert_eq!(coverage.percent(), 7 * 100 / 21);
    assert!(report.passed());
    assert!(report.covers(33) && !report.covers(34));
}

#[test]
fn tokens_and_files_may_stand_for_a_request() {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    put(
        "p.yaml",
        "name: p
rules:
  - id: who
    check: expression
    on: [PUT]
    mode: enforce
    expression: request.application == 'app' && (tenant.id == 't-1' || tenant.alias == 'contoso')
    message: Not you.
states: { New: { next: [New], substatus: [Pending] } }
",
    );
    put(
        "r.http",
        "### one
PUT https://h/v1.0/engagements/referrals/r1
Content-Type: application/json

{}
### two
POST https://h/v1.0/engagements/referrals
Content-Type: application/json

{}
",
    );
    let test = put(
        "t.yaml",
        "policy: p.yaml
defaults: { request: { http: r.http, which: '1' } }
cases:
  - { name: nobody, expect: { verdict: refuse, rules: [who] } }
  - { name: by id, given: { tenant_id: t-1, application: app }, expect: { verdict: pass } }
  - { name: by alias, given: { tenant: contoso, application: app }, expect: { verdict: pass } }
  - { name: other id, given: { tenant_id: t-2, application: app }, expect: { verdict: refuse, rules: [who] } }
  - { name: by name, request: { http: r.http, which: two }, expect: { verdict: pass } }
",
    );
    let report = run(&[test], None, &settings());
    assert!(report.passed(), "{}", report.text(false, None));

    // Which of several requests is meant must be said.
    let unclear = put(
        "u.yaml",
        "policy: p.yaml\ncases: [{ name: x, request: { http: r.http }, expect: { verdict: pass } }]\n",
    );
    let report = run(&[unclear], None, &settings());
    let error = report.files[0].outcome.as_ref().unwrap_err();
    assert!(error.ends_with("select one with `which`"), "{error}");
}

#[test]
fn another_policy_may_take_the_place_of_the_named_one() {
    let folder = TempDir::new().unwrap();
    let test = folder.path().join("t.yaml");
    fs::write(
        &test,
        format!("{HEAD}- {{ name: x, expect: {{ verdict: pass }} }}"),
    )
    .unwrap();
    let report = run(&[test], Some(&PolicySource::Builtin), &settings());
    assert!(report.passed(), "{report:?}");
    assert_eq!(report.coverage[0].document, "builtin");
}

#[test]
fn reports_are_read_by_programs() {
    let odd = "a <b> & \"c\" 'd' \u{1b}[31m\u{fffe} ]]> \t\r\n é";
    let report = Report {
        files: vec![
            FileReport {
                path: "t/<a>.yaml".into(),
                outcome: Ok(vec![
                    CaseReport {
                        name: odd.to_owned(),
                        place: (7, 3),
                        findings: vec![odd.to_owned()],
                        diff: vec![format!("- {}", visible(odd))],
                        warning: Some(odd.to_owned()),
                    },
                    CaseReport {
                        name: "fine".to_owned(),
                        place: (9, 3),
                        findings: Vec::new(),
                        diff: Vec::new(),
                        warning: None,
                    },
                ]),
            },
            FileReport {
                path: "b.yaml".into(),
                outcome: Err(odd.to_owned()),
            },
        ],
        coverage: vec![],
    };
    let text = report.junit(Some(100));
    let xml = roxmltree::Document::parse(&text).unwrap();
    let root = xml.root_element();
    let numbers = ["tests", "failures", "errors"].map(|name| root.attribute(name).unwrap());
    assert_eq!(numbers, ["3", "1", "1"]);
    let safe = odd.replace(['\u{1b}', '\u{fffe}'], "\u{fffd}");
    let case = xml
        .descendants()
        .find(|node| node.has_tag_name("testcase"))
        .unwrap();
    assert_eq!(case.attribute("name"), Some(&*safe));
    assert_eq!(case.attribute("file"), Some("t/<a>.yaml"));
    assert_eq!(case.attribute("line"), Some("7"));
    let failure = case.first_element_child().unwrap();
    assert!(failure.text().unwrap().contains("a <b> & \"c\" 'd' "));
    let error = xml
        .descendants()
        .find(|node| node.has_tag_name("error"))
        .unwrap();
    assert_eq!(error.attribute("message"), Some(&*safe));

    let json = report.to_json(false, None);
    assert_eq!(json["ok"], false);
    assert_eq!(json["files"][0]["cases"][0]["name"], odd);
    assert_eq!(json["files"][0]["cases"][0]["line"], 7);
    assert_eq!(json["files"][1]["error"], odd);
    assert_eq!(json["coverage"], Value::Null);

    let text = report.text(true, None);
    assert!(
        text.ends_with("1 passed, 1 failed, 1 file cannot be run\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn coverage_below_what_is_asked_for_is_a_failure_of_its_own() {
    let (_folder, report) = report(&format!(
        "{HEAD}- {{ name: x, expect: {{ verdict: pass }} }}"
    ));
    for (min, failures) in [(33, "0"), (34, "1")] {
        let text = report.junit(Some(min));
        let xml = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(
            xml.root_element().attribute("failures"),
            Some(failures),
            "{min}"
        );
        assert_eq!(report.to_json(true, Some(min))["ok"], failures == "0");
    }
    let text = report.text(true, Some(34));
    for line in [
        "7 of 21 (33 %)",
        "    no case: rule if-match (audit) finds something in a PUT",
        "coverage is below 34 %",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_shipped_documents_differ_in_their_modes_alone() {
    let shipped = |name: &str| {
        let path = format!("{}/policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        config::load_policy(&PolicySource::Path(path.into())).unwrap()
    };
    let default = shipped("referrals");
    for (name, mode_of) in [
        (
            "rollout",
            &(|_: &str, _| "audit") as &dyn Fn(&str, &'static str) -> &'static str,
        ),
        ("legacy", &|id, mode| match id {
            "well-formed" | "if-match" | "links-removed" => "repair",
            _ => mode,
        }),
    ] {
        let other = shipped(name);
        assert_eq!(other.name, name);
        assert_eq!(other.states, default.states);
        assert_eq!(other.rules.len(), default.rules.len());
        for (one, other) in default.rules.iter().zip(&other.rules) {
            assert_eq!(
                (&one.id, one.check, &one.on),
                (&other.id, other.check, &other.on)
            );
            assert_eq!(
                mode_of(&one.id, one.mode.as_str()),
                other.mode.as_str(),
                "{}",
                one.id
            );
            // Every repair that there is for the check.
            let all = crate::policy::repair::Repair::ALL;
            let all = all
                .into_iter()
                .filter(|repair| repair.serves() == one.check);
            let repairs = if other.mode.as_str() == "repair" {
                all.collect()
            } else {
                vec![]
            };
            assert_eq!(other.repairs, repairs, "{}", one.id);
        }
    }
}

#[test]
fn values_are_filled_in_where_they_are_named() {
    let row = BTreeMap::from([
        ("a".to_owned(), json!("x")),
        ("n".to_owned(), json!(1.50)),
        ("o".to_owned(), json!({ "p": [1, null], "q": "${a}" })),
    ]);
    let rows = [row];
    let row = &table::each(&rows).unwrap()[0];
    for (text, filled) in [
        ("", json!("")),
        ("${a}", json!("x")),
        ("${a}${a}", json!("xx")),
        (" ${a}-${n} ", json!(" x-1.5 ")),
        ("$${a}", json!("${a}")),
        ("$$${a}", json!("$${a}")),
        ("$", json!("$")),
        ("{a}$", json!("{a}$")),
        ("${n}", json!(1.5)),
        ("${o.p}", json!([1, null])),
        // A value is not filled in again.
        ("${o.q}", json!("${a}")),
        ("${o}", json!({ "p": [1, null], "q": "${a}" })),
    ] {
        assert_eq!(row.value(&json!(text)), Ok(filled), "{text}");
    }
    assert_eq!(
        row.value(&json!([{ "${a}": "${n}" }])),
        Ok(json!([{ "x": 1.5 }]))
    );
}

proptest! {
    #[test]
    fn a_text_of_a_case_without_a_table_stays_as_it_is(text in "[$ {}a.]{0,20}") {
        prop_assert_eq!(table::Row::none().text(&text), Ok(text));
    }

    #[test]
    fn each_text_can_be_written_in_a_table(text in "[$ {}a.]{0,20}") {
        let rows = [BTreeMap::from([("a".to_owned(), json!(0))])];
        let row = &table::each(&rows).unwrap()[0];
        prop_assert_eq!(row.text(&text.replace("${", "$${")), Ok(text));
    }
}
