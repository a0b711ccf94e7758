//! The keys that mend, that hold an expression, and that differ by tenant: what is read, and what is refused where.

use http::StatusCode;

use crate::policy::{Check, Mode, OnError, Policy, Rule, repair::Repair};

const STATES: &str = "states:
  New: { next: [New], substatus: [Pending] }
";

fn parse(rules: &str) -> Result<Policy, String> {
    let text = format!("name: test\nrules:\n{rules}{STATES}");
    Policy::parse(&text, "p.yaml").map_err(|error| error.to_string())
}

#[track_caller]
fn accepted(rules: &str) -> Policy {
    parse(rules).expect("a policy")
}

/// A rule in one line is refused; the answer names the place of `@` and all these pieces.
#[track_caller]
fn check_line(rule: &str, told: &[&str]) {
    let column = rule.find('@').expect("a mark") + 1;
    let rule = rule.replacen('@', "", 1);
    check(&format!("{rule}\n"), &format!("3:{column}"), told);
}

/// The rules stand from line 3 on; the answer names that place and all these pieces.
#[track_caller]
fn check(rules: &str, place: &str, told: &[&str]) {
    let error = parse(rules).expect_err(rules);
    assert!(
        error.starts_with(&format!("p.yaml:{place}: ")),
        "not {place}: {error}"
    );
    for piece in told {
        assert!(error.contains(piece), "{piece}: {error}");
    }
}

fn rule<'p>(policy: &'p Policy, id: &str) -> &'p Rule {
    let found = policy.rules.iter().find(|rule| &*rule.id == id);
    found.expect("a rule of that name")
}

#[test]
fn repairs_that_could_never_be_used_are_refused() {
    for (check, keys, told) in [
        (
            "links_removed",
            "mode: @repair",
            &["`x` has the mode `repair`", "no `repairs`", "strip-links"][..],
        ),
        (
            "links_removed",
            "mode: enforce, modes: { contoso: @repair }",
            &["`x` has the mode `repair`", "strip-links"],
        ),
        (
            "links_removed",
            "mode: enforce, repairs: @[strip-links]",
            &[
                "does not have the mode `repair`",
                "`mode: repair`",
                "remove",
            ],
        ),
        (
            "links_removed",
            "mode: off, modes: { contoso: warn }, repairs: @[strip-links]",
            &["does not have the mode `repair`"],
        ),
        (
            "links_removed",
            "mode: repair, repairs: @[]",
            &["empty", "strip-links"],
        ),
        (
            "links_removed",
            "mode: repair, repairs: [strip-links, @strip-links]",
            &["`strip-links` is listed twice", "once"],
        ),
        (
            "links_removed",
            "mode: repair, repairs: [@trailing-comma]",
            &["`trailing-comma` cannot repair", "`x`", "strip-links"],
        ),
        (
            "if_match",
            "mode: repair, repairs: [quote-if-match, @strip-links]",
            &[
                "`strip-links` cannot repair",
                "quote-if-match, unescape-if-match, if-match-from-body",
            ],
        ),
        (
            "transition",
            "mode: @repair",
            &["no repair fixes", "mode: enforce"],
        ),
        (
            "transition",
            "mode: repair, repairs: @[]",
            &["no repair fixes"],
        ),
        (
            "transition",
            "mode: repair, repairs: [@strip-links]",
            &["cannot repair", "no repair fixes"],
        ),
        (
            "links_removed",
            "mode: repair, repairs: [@strip-link]",
            &["strip-link", "did you mean `strip-links`"],
        ),
        (
            "links_removed",
            "mode: @repare",
            &["repare", "did you mean `repair`"],
        ),
        (
            "links_removed",
            "mode: audit, modes: { contoso: @enforced }",
            &["enforced", "did you mean `enforce`"],
        ),
        (
            "@links_removd",
            "mode: audit",
            &["links_removd", "did you mean `links_removed`"],
        ),
        (
            "links_removed",
            "mode: repair, @repair: [strip-links]",
            &["repair", "did you mean `repairs`"],
        ),
    ] {
        check_line(
            &format!("  - {{ id: x, check: {check}, on: [PUT], {keys} }}"),
            told,
        );
    }
}

#[test]
fn an_expression_that_could_not_be_a_rule_is_refused() {
    let long = "x".repeat(513);
    for (keys, told) in [
        (
            "id: @x, check: expression, message: 'No.'".to_owned(),
            &["`x`", "needs `expression` and `message`"][..],
        ),
        (
            "id: @x, check: expression, expression: 'true'".to_owned(),
            &["needs `expression` and `message`"],
        ),
        (
            "id: x, check: expression, expression: 'has(body.a)', message: @''".to_owned(),
            &["message:", "empty", "one sentence"],
        ),
        (
            format!("id: x, check: expression, expression: 'has(body.a)', message: @{long}"),
            &["message:", "512"],
        ),
        (
            "id: x, check: expression, expression: 'has(body.a)', message: a, fix: @\"a\\nb\"".to_owned(),
            &["fix:", "more than one line"],
        ),
        (
            "id: x, check: expression, expression: 'has(body.a)', message: a, on_error: @ignore".to_owned(),
            &["ignore", "deny", "pass"],
        ),
        (
            "id: x, check: if_match, expression: @'has(body.a)'".to_owned(),
            &["expression:", "another check", "check: expression"],
        ),
        (
            "id: x, check: if_match, message: @a".to_owned(),
            &["message:", "another check"],
        ),
        (
            "id: x, check: if_match, fix: @a".to_owned(),
            &["fix:", "another check"],
        ),
        (
            "id: x, check: if_match, on_error: @pass".to_owned(),
            &["on_error:", "another check"],
        ),
        (
            "id: x, check: expression, expression: 'has(body.a)', message: a, repairs: @[strip-links]"
                .to_owned(),
            &["does not have the mode `repair`"],
        ),
    ] {
        check_line(&format!("  - {{ {keys}, on: [PUT], mode: audit }}"), told);
    }
    check_line(
        "  - { id: x, check: expression, expression: 'has(body.a)', message: a, on: [PUT], mode: @repair }",
        &["no repair fixes"],
    );
}

#[test]
fn what_is_wrong_in_an_expression_is_told_where_it_stands() {
    for (text, place, told) in [
        // Plain, in one line and in two.
        ("expression: reqest.method == 'PUT'", "4:17", "request"),
        ("expression: request.methd == 'PUT'", "4:25", "method"),
        ("expression: x", "4:17", "`x`"),
        ("expression: true &&\n      bdy.a", "5:7", "body"),
        ("expression:\n      true\n      && bdy.a", "6:10", "body"),
        // Quoted; what is doubled or escaped moves what stands behind it.
        ("expression: 'true && bdy.a == 1'", "4:26", "body"),
        ("expression: 'body.a == ''x'' && bdy.b'", "4:37", "body"),
        (r#"expression: "body.a == \"x\" && bdy.b""#, "4:37", "body"),
        (r#"expression: "'é' == bdy.b""#, "4:25", "body"),
        // Escapes that hide letters: the text's own place.
        (
            r#"expression: "true && \x62dy.a""#,
            "4:17",
            "line 1 of the expression",
        ),
        // Blocks.
        ("expression: |-\n      'a' == bdy.b", "5:14", "body"),
        ("expression: '''a'' == bdy.b'", "4:27", "body"),
        (
            "expression: |\n      true\n      && true\n      && bdy.a",
            "7:10",
            "body",
        ),
        (
            "expression: |\n      true ||\n      true ||\n      bdy.a",
            "7:7",
            "body",
        ),
        (
            "expression: |2-\n        true &&\n        bdy.a",
            "6:9",
            "body",
        ),
        (
            "expression: >\n      true\n      && true\n      && bdy.a",
            "7:10",
            "body",
        ),
        (
            "expression: >- # folded\n      true\n\n      && bdy.a",
            "7:10",
            "body",
        ),
        // Where it ends too soon, and where nothing stands.
        ("expression: 'true &&'", "4:25", "expression"),
        ("expression: ''", "4:17", "is empty"),
        ("expression: 1 + 1", "4:17", "expression"),
        ("expression: body.a +", "4:25", "expression"),
    ] {
        check(
            &format!(
                "  - id: x\n    {text}\n    check: expression\n    message: No.\n    on: [PUT]\n    mode: enforce\n"
            ),
            place,
            &[told],
        );
    }
}

#[test]
fn what_is_wrong_in_an_expression_behind_an_alias_is_told_where_that_stands() {
    let rules = "  - { id: a, check: expression, expression: &same 'has(body.a)', message: &odd 'bdy.a', on: [PUT], mode: audit }
  - { id: b, check: expression, expression: *odd, message: *same, on: [PUT], mode: audit }\n";
    let error = parse(rules).expect_err("no variable of that name");
    assert!(
        error.starts_with("p.yaml:4:") && error.contains("body"),
        "{error}"
    );
}

#[test]
fn the_new_keys_are_read() {
    let policy = accepted(
        "  - { id: c, check: expression, expression: 'has(body.a)', message: 'A.', fix: 'Send a.', on_error: pass, status: 418, on: [POST], mode: warn }
  - { id: d, check: expression, expression: 'has(body.b)', message: 'B.', on: [POST], mode: warn }
  - { id: b, check: if_match, on: [PUT, PATCH], mode: repair, repairs: [if-match-from-body, quote-if-match] }
  - { id: a, check: well_formed, on: [PUT], mode: off, modes: { contoso: repair }, repairs: [trailing-comma] }\n",
    );

    let ids: Vec<&str> = policy.rules.iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["a", "b", "c", "d"], "not in the order of the checks");
    assert_eq!(rule(&policy, "a").repairs, [Repair::TrailingComma]);
    assert_eq!(
        rule(&policy, "b").repairs,
        [Repair::IfMatchFromBody, Repair::QuoteIfMatch]
    );
    let (c, d) = (rule(&policy, "c"), rule(&policy, "d"));
    assert_eq!(
        (c.check, c.status),
        (Check::Expression, Some(StatusCode::IM_A_TEAPOT))
    );
    let condition = |rule: &Rule| rule.condition.clone().expect("a condition");
    assert_eq!(condition(c).on_error, OnError::Pass);
    assert_eq!(condition(c).fix.as_deref(), Some("Send a."));
    assert_eq!(condition(d).on_error, OnError::Deny);
    assert!(policy.has_expressions());
}

#[test]
fn a_tenant_has_its_own_modes_and_nobody_else_has() {
    let policy = accepted(
        "  - { id: a, check: well_formed, on: [PUT, POST], mode: audit, modes: { contoso: enforce, fabrikam: off } }
  - { id: b, check: if_match, on: [PUT], mode: enforce, modes: { fabrikam: warn } }
  - { id: c, check: same_id, on: [PUT], mode: warn }\n",
    );
    for (alias, modes) in [
        (None, [Mode::Audit, Mode::Enforce, Mode::Warn]),
        (Some("contoso"), [Mode::Enforce, Mode::Enforce, Mode::Warn]),
        (Some("fabrikam"), [Mode::Off, Mode::Warn, Mode::Warn]),
        (Some("Contoso"), [Mode::Audit, Mode::Enforce, Mode::Warn]),
        (Some(""), [Mode::Audit, Mode::Enforce, Mode::Warn]),
        (Some("adatum"), [Mode::Audit, Mode::Enforce, Mode::Warn]),
    ] {
        let own = policy.of(alias);
        let found: Vec<Mode> = own.rules.iter().map(|rule| rule.mode).collect();
        assert_eq!(found, modes, "{alias:?}");
        assert_eq!((&own.digest, &own.name), (&policy.digest, &policy.name));
    }
    assert!(
        !policy
            .of(Some("fabrikam"))
            .judges(crate::policy::Method::Post)
    );
    assert!(
        policy
            .of(Some("contoso"))
            .judges(crate::policy::Method::Post)
    );
    let places: Vec<_> = policy.tenants().collect();
    assert_eq!(
        places,
        [("contoso", "p.yaml:3:82"), ("fabrikam", "p.yaml:3:101")]
    );
    let mut all: Vec<_> = policy
        .modes()
        .map(|(rule, mode)| (&*rule.id, mode.as_str()))
        .collect();
    all.sort_unstable();
    assert_eq!(
        all,
        [
            ("a", "audit"),
            ("a", "enforce"),
            ("a", "off"),
            ("b", "enforce"),
            ("b", "warn"),
            ("c", "warn")
        ]
    );
}

#[test]
fn one_tenant_may_be_named_once_in_a_rule() {
    let error = parse(
        "  - { id: a, check: well_formed, on: [PUT], mode: audit, modes: { contoso: enforce, contoso: off } }\n",
    )
    .expect_err("two modes for one tenant");
    assert!(
        error.starts_with("p.yaml:3:") && error.contains("contoso"),
        "{error}"
    );
}

/// All that is told of a document, one line a fault.
#[track_caller]
fn faults(text: &str) -> Vec<String> {
    let error = Policy::parse(text, "p.yaml").expect_err(text).to_string();
    error.lines().map(str::to_owned).collect()
}

/// A document has exactly these faults: in their order, each at an `@` and with its piece.
#[track_caller]
fn check_all(text: &str, pieces: &[&str]) {
    let (mut plain, mut places) = (String::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let mut column = 1;
        for letter in line.chars() {
            if letter == '@' {
                places.push(format!("p.yaml:{number}:{column}: "));
            } else {
                plain.push(letter);
                column += 1;
            }
        }
        plain.push('\n');
    }
    let found = faults(&plain);
    assert_eq!(found.len(), pieces.len(), "{found:#?}");
    assert_eq!(places.len(), pieces.len(), "marks: {places:?}");
    for ((found, place), piece) in found.iter().zip(&places).zip(pieces) {
        assert!(found.starts_with(place), "not {place}{found}");
        assert!(found.contains(piece), "{piece}: {found}");
        assert!(found.contains("; "), "no remedy: {found}");
    }
}

#[test]
fn all_faults_of_a_document_are_told_at_once() {
    check_all(
        "name: @My Rules
rules:
  - { id: a, check: well_formed, on: [PUT], mode: @enforced }
  - { id: b, check: if_match, on: [@PUTT], @mod: enforce, mode: @warm, status: @200 }
  - { id: c, check: expression, expression: '@bdy.a', message: a, on: [PUT], mode: warn }
  - { id: @C, check: expression, expression: 'body.a +@', message: @'', on: [PUT, @PUT], mode: @repair }
  - { id: @c, check: links_removed, on: [@POST, PUT], mode: repair, repairs: [@trailing-comma, strip-links, @strip-links] }
  - @{ id: d, check: same_id, on: [PUT] }
  - { id: e, check: transition, on: [PUT], mode: warn, message: a, fix: b, status: @200 }
  - { id: f, check: same_etag, on: [PUT], mode: warn, message: @a, fix: @b }
  - { id: g, check: same_etag, on: [@PUT], mode: warn }
states:
  New: { next: [New, @Activ], substatus: @[] }
  Open: { @nxt: [New], substatus: @Pending }
  Active: { next: [Closd], substatus: @Accepted }
  Closed: { next: [@Nowhere], substatus: [Won] }
",
        &[
            "name: `My Rules`",
            "did you mean `enforce`?",
            "did you mean `PUT`?",
            "`rules.1.mod`",
            "did you mean `warn`?",
            "400 to 499",
            "unknown variable `bdy`",
            "id: `C`",
            "cannot be read here",
            "message: empty",
            "lists PUT twice",
            "no `repairs`",
            "id: two rules have the id `c`",
            "does not apply to POST",
            "`trailing-comma` cannot repair",
            "`strip-links` is listed twice",
            "`rules.5` (`d`) has no `mode`",
            "400 to 499",
            "message: rule `f` has another check",
            "fix: rule `f` has another check",
            "second rule with this check on PUT, beside `f`",
            "`Activ` has no row of its own",
            "states.New.substatus: empty",
            "`states.Open.nxt`",
            "not a list",
            "not a list",
            "`Nowhere` has no row of its own",
        ],
    );
}

#[test]
fn faults_of_the_keys_of_a_document_do_not_hide_others() {
    check_all(
        "@nam: a
rules:
  - { id: a, check: if_match, on: [PUT], mode: @wrn }
@rule: 7
states:
  New: { next: [@Old], substatus: [Pending] }
",
        &[
            "did you mean `name`?",
            "did you mean `warn`?",
            "did you mean `rules`?",
            "`Old` has no row of its own",
        ],
    );
    check_all(
        "name: @[]\nrules: @{ id: a }\nstates: @7\n",
        &["not a text", "not a list", "not a mapping"],
    );
    check_all(
        "@@rules:\n  - { id: a, check: if_match, on: [PUT], mode: @wrn }\n",
        &[
            "the document has no `name`",
            "the document has no `states`",
            "did you mean `warn`?",
        ],
    );
    check_all(
        "name: a\nrules: @[]\nstates: @{}\n",
        &["rules: empty", "states: empty"],
    );
}

#[test]
fn an_alias_of_what_stands_in_a_faulty_rule_is_still_read() {
    check_all(
        "name: a
rules:
  - { id: a, check: expression, expression: &same 'has(body.a)', message: &text 'A.', on: [PUT], mode: @wrn }
  - { id: b, check: expression, expression: *same, message: *text, on: [PUT], mode: warn }
  - { id: c, check: if_match, on: [PUT], mode: @wrn }
states:
  New: { next: [New], substatus: [Pending] }
",
        &["did you mean `warn`?", "did you mean `warn`?"],
    );
}

#[test]
fn a_text_that_is_no_yaml_has_that_one_fault() {
    for broken in ["    @odd: [\n", "   @a: b: c\n", "\t@- x\n"] {
        let text = format!(
            "name: My Rules\nrules:\n  - {{ id: a, check: if_match, on: [PUT], mode: wrn }}\n{broken}{STATES}"
        );
        check_all(&text, &[""]);
    }
}

#[test]
fn an_expression_that_yaml_takes_for_something_else_is_told_by_what_to_write() {
    const BLOCK: &str = "write it below a `|`";
    for (expression, pieces) in [
        (
            "@!has(body.status)",
            ["`!has(body.status)` is a YAML tag", BLOCK],
        ),
        (
            "@!has(body.status) || body.a == 1",
            ["`!has(body.status)` is a YAML tag", BLOCK],
        ),
        (
            "@!has(body.status) && body.a == 1",
            ["`!has(body.status)` is a YAML tag", BLOCK],
        ),
        (
            "@!has(body.a)\n      || body.a == 1",
            ["`!has(body.a)` is a YAML tag", BLOCK],
        ),
        ("@!(body.a == 1)", ["`!(body.a` is a YAML tag", BLOCK]),
        ("@! has(body.status)", ["`!` is a YAML tag", BLOCK]),
        (
            "@'Active' == body.status",
            ["`'Active'` ends the value, but more text follows", BLOCK],
        ),
        (
            "@\"Active\" == body.status",
            ["`\"Active\"` ends the value, but more text follows", BLOCK],
        ),
        (
            "@'it''s' in body.names",
            ["`'it''s'` ends the value, but more text follows", BLOCK],
        ),
        (
            "@'status' in body && 'a' == body.b # so",
            ["`'status'` ends the value, but more text follows", BLOCK],
        ),
        (
            "@'a' == body.a\n      || body.b",
            ["`'a'` ends the value, but more text follows", BLOCK],
        ),
    ] {
        for (before, after) in [
            (
                "- id: x\n    check: expression\n    expression: ",
                "\n    message: No.\n    on: [PUT]\n    mode: enforce\n",
            ),
            (
                "- { id: x, on: [PUT], mode: warn, message: 'a: b', check: expression, expression: ",
                " }\n",
            ),
        ] {
            let is_block = before.ends_with("\n    expression: ");
            if !is_block && (expression.contains('#') || expression.contains('\n')) {
                continue;
            }
            let text = format!("name: a\nrules:\n  {before}{expression}{after}{STATES}");
            for piece in pieces {
                check_all(&text, &[piece]);
            }
        }
    }
    // What is no such thing keeps the words of the parser.
    check_all(
        "name: 'a'\nrules: [ 'x: y'\nstates@: {}\n",
        &["correct the YAML there"],
    );
}

#[test]
fn a_word_that_an_older_yaml_takes_for_a_boolean_is_asked_for() {
    check_all(
        &format!(
            "name: a\nrules:\n  - {{ id: a, check: if_match, @true: [PUT], mode: warn }}\n  - {{ id: b, check: same_id, on: [PUT], mode: @false }}\n{STATES}"
        ),
        &[
            "unknown key `rules.0.true`; did you mean `on`? Tools for YAML 1.1 write it as `true`",
            "did you mean `off`? Tools for YAML 1.1 write it as `false`",
        ],
    );
}

#[test]
fn another_file_is_told_from_a_document() {
    for text in [
        "listen: 127.0.0.1:1\nupstream: { url: simulator }\n",
        "policy: p.yaml\ncases: []\n",
        "{}\n",
    ] {
        assert_eq!(
            faults(text),
            [
                "p.yaml:1:1: not a policy document: it has neither `name` nor `rules` nor `states`; \
                 give a settings file by --config, and a test file to `referral-gateway test`"
            ]
        );
    }
}

#[test]
fn repairs_that_never_apply_are_one_fault() {
    check_all(
        &format!(
            "name: a\nrules:\n  - {{ id: a, check: if_match, on: [PUT], mode: warn, repairs: @[strip-links, strip-links] }}\n{STATES}"
        ),
        &["so they never apply"],
    );
}

#[test]
fn a_name_is_short_and_plain() {
    for (name, is_fine) in [
        ("a", true),
        ("a-1", true),
        (&*"a".repeat(40), true),
        (&*"a".repeat(41), false),
        ("''", false),
        ("a_b", false),
        ("A", false),
    ] {
        let text = format!(
            "name: {name}\nrules:\n  - {{ id: {name}, check: if_match, on: [PUT], mode: warn }}\n{STATES}"
        );
        let count =
            Policy::parse(&text, "p.yaml").map_or_else(|error| error.into_iter().count(), |_| 0);
        assert_eq!(count, if is_fine { 0 } else { 2 }, "{name}");
    }
}

#[test]
fn a_name_of_a_status_has_a_bound() {
    for (name, count) in [("N".repeat(64), 0), ("N".repeat(65), 1)] {
        let text = format!(
            "name: a\nrules:\n  - {{ id: a, check: if_match, on: [PUT], mode: warn }}\nstates:\n  New: {{ next: [New], substatus: [{name}] }}\n"
        );
        let faults = Policy::parse(&text, "p.yaml")
            .err()
            .map(|error| error.to_string());
        assert_eq!(usize::from(faults.is_some()), count, "{faults:?}");
        if let Some(fault) = faults {
            assert!(
                fault.contains("longer than 64 bytes; shorten it"),
                "{fault}"
            );
        }
    }
}

#[test]
fn there_is_an_end_to_the_faults_of_form() {
    let rule = "  - { id: a, check: if_match, on: [PUT], mode: wrn }\n";
    let found = faults(&format!("name: a\nrules:\n{}{STATES}", rule.repeat(60)));
    assert_eq!(found.len(), 51, "{found:#?}");
    let first = found.first().expect("a fault");
    assert!(first.starts_with("p.yaml:3:48: "), "{first}");
    let last = found.last().map(String::as_str);
    assert_eq!(
        last,
        Some("p.yaml: there may be more faults; correct these 50 first")
    );
}

#[test]
fn there_is_an_end_to_the_faults_of_content() {
    let rows: String = (0..100)
        .map(|row| format!("  S{row}: {{ next: [none], substatus: [a] }}\n"))
        .collect();
    let found = faults(&format!(
        "name: a\nrules:\n  - {{ id: a, check: if_match, on: [PUT], mode: warn }}\nstates:\n{rows}"
    ));
    assert_eq!(found.len(), 51, "{found:#?}");
    assert!(found.iter().all(|fault| fault.len() < 200), "{found:#?}");
    let last = found.last().map(String::as_str);
    assert_eq!(
        last,
        Some("p.yaml: there may be more faults; correct these 50 first")
    );
}

#[test]
fn a_fault_is_one_line_whatever_it_repeats() {
    let found = faults(&format!(
        "name: \"a\\nb\"\nrules:\n  - {{ id: \"c\\u2028\\rd\", check: if_match, on: [PUT], mode: warn }}\n{STATES}"
    ));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|line| !line.contains(char::is_control)));
}
