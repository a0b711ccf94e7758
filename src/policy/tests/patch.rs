//! PATCH and POST: every cell of the tables in every form of a patch, and every trap of an operation.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{TAG, judged, judging, shipped, state};
use crate::policy::{
    Check, Method, Mode, Policy, Verdict,
    judging::{Clearance, End, Step, Told},
};

/// The shipped rules, on every method that they can look at.
fn everywhere() -> Policy {
    let mut policy = shipped();
    for rule in &mut policy.rules {
        rule.on = rule.check.methods().to_vec();
    }
    policy
}

fn with_mode(check: Check, mode: Mode) -> Policy {
    let mut policy = everywhere();
    for rule in &mut policy.rules {
        rule.mode = if rule.check == check { mode } else { Mode::Off };
    }
    policy
}

/// A PATCH of a referral that stands there.
fn patched(policy: &Policy, from: (&str, &str), body: &str) -> Verdict {
    patched_as(policy, from, body, None)
}

fn patched_as(
    policy: &Policy,
    (status, substatus): (&str, &str),
    body: &str,
    content_type: Option<&'static str>,
) -> Verdict {
    // With a tag, a state in memory judges also what is refused anyway.
    let mut headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(TAG))]);
    if let Some(value) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
    }
    let from = state(status, substatus);
    judged(
        policy,
        Method::Patch,
        &headers,
        body.as_bytes(),
        Some(&from),
    )
}

fn posted(policy: &Policy, body: &str) -> Verdict {
    judged(
        policy,
        Method::Post,
        &HeaderMap::new(),
        body.as_bytes(),
        None,
    )
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict
        .findings()
        .iter()
        .map(|finding| finding.code)
        .collect()
}

/// What the shipped rules find in a PATCH of an active referral.
#[track_caller]
fn check(body: &str, expected: &[&str]) {
    let verdict = patched(&shipped(), ("Active", "Accepted"), body);
    assert_eq!(codes(&verdict), expected, "{body}");
    for finding in verdict.findings() {
        assert!(
            finding.message.len() < 900 && !finding.fix.is_empty(),
            "{finding:?}"
        );
    }
}

const STATES: [(&str, &str); 7] = [
    ("New", "Pending"),
    ("New", "Received"),
    ("Active", "Accepted"),
    ("Closed", "Won"),
    ("Closed", "Lost"),
    ("Closed", "Declined"),
    ("Closed", "Expired"),
];

/// The service's table, written once more.
fn refused(from: (&str, &str), to: (&str, &str)) -> Vec<&'static str> {
    let mut codes = Vec::new();
    if !STATES.contains(&to) {
        codes.push("substatus_not_allowed");
    }
    let goes_back = matches!(
        (from.0, to.0),
        ("Active", "New") | ("Closed", "New" | "Active")
    );
    if goes_back {
        codes.push("transition_not_allowed");
    } else if from.0 == "Closed" && from.1 != to.1 {
        codes.push("closed_substatus_change");
    }
    codes
}

fn set(name: &str, value: &str) -> Value {
    json!({"op": "replace", "path": format!("/{name}"), "value": value})
}

#[test]
fn every_cell_is_judged_alike_in_every_form_of_a_patch() {
    let policy = shipped();
    for from in STATES {
        for (status, _) in STATES {
            for (_, substatus) in STATES {
                let both = refused(from, (status, substatus));
                let (one, other) = (set("status", status), set("substatus", substatus));
                let object = json!({"status": status, "substatus": substatus});
                let noise = json!({"op": "add", "path": "/details/notes", "value": "x"});
                let earlier = set("status", "New");
                let whole = json!({"op": "replace", "path": "", "value": object});
                for body in [
                    json!([one, other]),
                    json!([other, one]),
                    json!([noise, one, noise, other]),
                    json!([earlier, one, other]),
                    json!([set("Substatus", "Lost"), set("STATUS", status), other]),
                    json!([whole]),
                    json!([earlier, whole]),
                    json!({"name": "x", "Status": status, "SubStatus": substatus}),
                    object,
                ] {
                    let verdict = patched(&policy, from, &body.to_string());
                    assert_eq!(codes(&verdict), both, "{from:?} {body}");
                }
                let alone = refused(from, (status, from.1));
                for body in [json!([one]), json!([one, noise]), json!({"status": status})] {
                    let verdict = patched(&policy, from, &body.to_string());
                    assert_eq!(codes(&verdict), alone, "{from:?} {body}");
                }
                let alone = refused(from, (from.0, substatus));
                for body in [json!([other]), json!({"SUBSTATUS": substatus})] {
                    let verdict = patched(&policy, from, &body.to_string());
                    assert_eq!(codes(&verdict), alone, "{from:?} {body}");
                }
            }
        }
    }
}

#[test]
fn the_cells_of_a_patch_of_one_of_the_two_are_these() {
    for (from, name, value, code) in [
        (("New", "Pending"), "status", "New", None),
        (
            ("New", "Pending"),
            "status",
            "Active",
            Some("substatus_not_allowed"),
        ),
        (
            ("New", "Received"),
            "status",
            "Closed",
            Some("substatus_not_allowed"),
        ),
        (("New", "Pending"), "substatus", "Received", None),
        (
            ("New", "Pending"),
            "substatus",
            "Accepted",
            Some("substatus_not_allowed"),
        ),
        (("Active", "Accepted"), "status", "Active", None),
        (
            ("Active", "Accepted"),
            "status",
            "Closed",
            Some("substatus_not_allowed"),
        ),
        (
            ("Active", "Accepted"),
            "status",
            "New",
            Some("substatus_not_allowed"),
        ),
        (("Active", "Accepted"), "substatus", "Accepted", None),
        (
            ("Active", "Accepted"),
            "substatus",
            "Won",
            Some("substatus_not_allowed"),
        ),
        (("Closed", "Won"), "status", "Closed", None),
        (
            ("Closed", "Won"),
            "status",
            "Active",
            Some("substatus_not_allowed"),
        ),
        (("Closed", "Won"), "substatus", "Won", None),
        (
            ("Closed", "Won"),
            "substatus",
            "Lost",
            Some("closed_substatus_change"),
        ),
        (
            ("Closed", "Won"),
            "substatus",
            "Pending",
            Some("substatus_not_allowed"),
        ),
    ] {
        let verdict = patched(&shipped(), from, &json!([set(name, value)]).to_string());
        let leading = verdict.leading().map(|finding| finding.code);
        assert_eq!(leading, code, "{from:?} {name} {value}");
    }
}

#[test]
fn a_patch_that_touches_neither_status_nor_substatus_needs_no_state() {
    let asks = |body: &str| asks(&shipped(), body);
    for body in [
        r#"[{"op":"add","path":"/registrations/-","value":{"type":"AzureIPCoSell","status":"x"}}]"#,
        r#"[{"op":"replace","path":"/registrations/0/contract/value","value":1}]"#,
        r#"[{"op":"replace","path":"/statusReason","value":"no budget"}]"#,
        r#"{"details":{"dealValue":1}}"#,
        "[]",
        "{}",
        // Both are there: the pair is known to be wrong, but not whether the transition is allowed.
        r#"[{"op":"replace","path":"/status","value":"Open"}]"#,
        r#"[{"op":"remove","path":"/status"}]"#,
    ] {
        assert!(!asks(body), "{body}");
        if !body.contains("/status\"") {
            assert_eq!(
                codes(&patched(&shipped(), ("Closed", "Won"), body)),
                [""; 0]
            );
        }
    }
    for body in [
        r#"[{"op":"replace","path":"/status","value":"Active"}]"#,
        r#"[{"op":"replace","path":"/substatus","value":"Won"}]"#,
        r#"{"substatus":"Won"}"#,
    ] {
        assert!(asks(body), "{body}");
    }
}

#[test]
fn the_strictest_of_the_rules_that_need_the_state_counts() {
    let body = br#"[{"op":"replace","path":"/status","value":"Active"}]"#;
    for (substatus, transition, end) in [
        (Mode::Enforce, Mode::Audit, Some(End::Relay)),
        (Mode::Audit, Mode::Enforce, Some(End::Relay)),
        (Mode::Warn, Mode::Off, Some(End::Send(Clearance(())))),
        (Mode::Off, Mode::Off, None),
    ] {
        let mut policy = shipped();
        for rule in &mut policy.rules {
            rule.mode = match rule.check {
                Check::Substatus => substatus,
                Check::Transition => transition,
                _ => Mode::Enforce,
            };
        }
        let answered = judging(
            &policy,
            Method::Patch,
            &HeaderMap::new(),
            &body[..],
            |step| match step {
                Step::Ask(question) => Some(question.answer(Told::Refused).into_parts().1),
                Step::Recall(_) | Step::Done(_) => None,
            },
        );
        assert_eq!(answered, end, "{substatus} {transition}");
    }
}

#[test]
fn an_operation_that_touches_a_part_is_told_so() {
    for (path, told) in [
        (
            "/status",
            "Operation 1 of the patch (`remove`, at line 1 column 2) touches status",
        ),
        (
            "/status/x",
            "Operation 1 of the patch (`remove` on a part of it, at line 1 column 2) touches status",
        ),
    ] {
        let body = format!(r#"[{{"op":"remove","path":"{path}"}}]"#);
        let verdict = patched(&shipped(), ("Active", "Accepted"), &body);
        let mut findings = verdict.findings().iter();
        assert!(
            findings.any(|finding| finding.message.starts_with(told)),
            "{verdict:?}"
        );
    }
}

/// Whether the state is asked for, for a PATCH without a tag.
fn asks(policy: &Policy, body: &str) -> bool {
    let headers = HeaderMap::new();
    judging(policy, Method::Patch, &headers, body.as_bytes(), |step| {
        matches!(step, Step::Ask(_))
    })
}

#[test]
fn a_referral_without_a_substatus_needs_one_with_its_status() {
    let none = crate::referral::State {
        status: "New".into(),
        substatus: None,
    };
    let body = br#"[{"op":"replace","path":"/status","value":"Active"}]"#;
    let verdict = judged(
        &shipped(),
        Method::Patch,
        &HeaderMap::new(),
        body,
        Some(&none),
    );
    assert_eq!(codes(&verdict), ["substatus_missing"]);
}

#[test]
fn an_operation_that_leaves_the_outcome_to_the_service_is_refused_by_the_rule_that_guards_it() {
    for (operation, name) in [
        (r#"{"op":"remove","path":"/NAME"}"#, "remove"),
        (r#"{"op":"test","path":"/NAME","value":"New"}"#, "test"),
        (r#"{"op":"move","from":"/NAME","path":"/x"}"#, "move"),
        (r#"{"op":"move","from":"/x","path":"/NAME"}"#, "move"),
        (r#"{"op":"copy","from":"/NAME","path":"/x"}"#, "copy"),
        (r#"{"op":"copy","from":"/x","path":"/NAME"}"#, "copy"),
        (r#"{"op":"Remove","path":"/NAME/0"}"#, "remove"),
        (r#"{"op":"add","path":"/NAME/x","value":1}"#, "add"),
        (r#"{"op":"replace","path":"/NAME/-","value":1}"#, "replace"),
    ] {
        for (member, code) in [
            ("status", "status_unclear"),
            ("SubStatus", "substatus_unclear"),
            ("Links", "links_present"),
        ] {
            let operation = operation.replace("NAME", member);
            let is_uncommon = !matches!(name, "add" | "replace");
            let mut expected = vec![code];
            expected.extend(is_uncommon.then_some("operation_unsupported"));
            let body = format!("[{{\"op\":\"add\",\"path\":\"/x\",\"value\":1}},\n {operation}]");
            check(&body, &expected);
            let verdict = patched(&shipped(), ("Active", "Accepted"), &body);
            let leading = verdict.leading().expect("a finding");
            assert_eq!(leading.status, StatusCode::UNPROCESSABLE_ENTITY);
            for piece in ["Operation 2", name, "line 2 column 2"] {
                assert!(leading.message.contains(piece), "{piece}: {leading:?}");
            }
        }
    }
    // Setting it afterwards does not make it clear again.
    check(
        r#"[{"op":"test","path":"/status","value":"Active"},{"op":"replace","path":"/status","value":"Active"}]"#,
        &["status_unclear", "operation_unsupported"],
    );
    check(
        r#"[{"op":"remove","path":""}]"#,
        &[
            "links_present",
            "status_unclear",
            "substatus_unclear",
            "operation_unsupported",
        ],
    );
}

#[test]
fn an_enforced_transition_refuses_what_is_unclear_even_without_the_other_rules() {
    let policy = with_mode(Check::Transition, Mode::Enforce);
    for (body, code) in [
        (r#"[{"op":"remove","path":"/status"}]"#, "status_unclear"),
        (
            r#"[{"op":"move","from":"/x","path":"/substatus"}]"#,
            "substatus_unclear",
        ),
        (r#"{"status":"active"}"#, "status_unknown"),
        (r#"{"status":null}"#, "status_not_a_string"),
        (r#"[{"op":"add","path":"","value":{}}]"#, "status_missing"),
        (
            r#"[{"op":"replace","path":"/substatus","value":"Lost"}]"#,
            "closed_substatus_change",
        ),
        (
            r#"[{"op":"replace","path":"/substatus","value":null}]"#,
            "closed_substatus_change",
        ),
    ] {
        let verdict = patched(&policy, ("Closed", "Won"), body);
        assert_eq!(codes(&verdict), [code], "{body}");
    }
}

#[test]
fn links_are_found_in_every_form_of_a_patch() {
    for body in [
        r#"[{"op":"add","path":"/links","value":{}}]"#,
        r#"[{"op":"replace","path":"/Links","value":null}]"#,
        r#"[{"op":"add","path":"/links/self","value":{}}]"#,
        r#"[{"op":"replace","path":"/LINKS/self/uri","value":"x"}]"#,
        r#"[{"op":"add","path":"/links@odata.bind","value":[]}]"#,
        r#"[{"op":"add","path":"","value":{"status":"Active","substatus":"Accepted","Links":{}}}]"#,
        r#"{"links":null}"#,
        r#"{"LINKS":{"self":{}}}"#,
    ] {
        check(body, &["links_present"]);
    }
    for (body, message, fix) in [
        (
            r#"[{"op":"add","path":"/links","value":{}}]"#,
            "The patch sets `links` at line 1 column 38.",
            "Remove it: a PATCH must not change `links` or any value below it.",
        ),
        (
            r#"{"links":null}"#,
            "The body contains `links` at line 1 column 10.",
            "Remove it: a PATCH must not contain `links`.",
        ),
    ] {
        let verdict = patched(&shipped(), ("Active", "Accepted"), body);
        let finding = verdict.findings().first().expect("a finding");
        assert_eq!((&*finding.message, &*finding.fix), (message, fix));
    }
    for body in [
        r#"[{"op":"add","path":"/details/links","value":{}}]"#,
        r#"[{"op":"add","path":"","value":{"status":"Active","substatus":"Accepted"}}]"#,
        r#"{"details":{"links":{}}}"#,
    ] {
        check(body, &[]);
    }
}

#[test]
fn values_are_judged_as_in_a_put() {
    for (body, codes) in [
        (r#"{"status":"active"}"#, &["status_unknown"][..]),
        (
            r#"[{"op":"add","path":"/status","value":1}]"#,
            &["status_not_a_string"],
        ),
        (
            r#"[{"op":"add","path":"/status","value":null}]"#,
            &["status_not_a_string"],
        ),
        (r#"{"substatus":null}"#, &["substatus_not_a_string"]),
        (r#"{"substatus":"won"}"#, &["substatus_unknown"]),
        (
            r#"{"status":"Open","substatus":"won"}"#,
            &["status_unknown", "substatus_unknown"],
        ),
        (
            r#"{"status":"Closed","substatus":"won"}"#,
            &["substatus_unknown"],
        ),
        (
            r#"[{"op":"add","path":"","value":{}}]"#,
            &["status_missing", "substatus_missing"],
        ),
        (
            r#"[{"op":"add","path":"","value":{"substatus":"Accepted"}}]"#,
            &["status_missing"],
        ),
        (
            r#"[{"op":"add","path":"","value":{}},{"op":"add","path":"/status","value":"Closed"}]"#,
            &["substatus_missing"],
        ),
        (
            r#"[{"op":"add","path":"","value":{}},{"op":"add","path":"/status","value":"Closed"},{"op":"add","path":"/substatus","value":"Won"}]"#,
            &[],
        ),
    ] {
        check(body, codes);
    }
}

#[test]
fn a_fault_of_an_operation_is_told_with_its_number_and_place() {
    for (operation, code) in [
        ("7", "operation_malformed"),
        ("{}", "operation_incomplete"),
        (r#"{"op":"add","path":"/status"}"#, "operation_incomplete"),
        (r#"{"op":"add","value":1}"#, "operation_incomplete"),
        (r#"{"op":"move","path":"/a"}"#, "operation_incomplete"),
        (
            r#"{"op":"add","path":["/status"],"value":1}"#,
            "operation_malformed",
        ),
        (r#"{"op":1,"path":"/a","value":1}"#, "operation_malformed"),
        (r#"{"op":"2","path":"/a","value":1}"#, "operation_unknown"),
        (
            r#"{"op":"add","path":"status","value":1}"#,
            "pointer_malformed",
        ),
        (
            r#"{"op":"add","path":"//status","value":1}"#,
            "pointer_malformed",
        ),
        (
            r#"{"op":"add","path":"/~2","value":1}"#,
            "pointer_malformed",
        ),
        (
            r#"{"op":"add","path":"/%73tatus","value":1}"#,
            "pointer_ambiguous",
        ),
        (
            r#"{"op":"add","path":"/ſtatus","value":1}"#,
            "pointer_ambiguous",
        ),
        (
            r#"{"op":"add","path":"/a","PATH":"/status","value":1}"#,
            "duplicate_member",
        ),
        (
            r#"{"op":"add","path":"/a","p\u200bath":"/status","value":1}"#,
            "ambiguous_member",
        ),
        (r#"{"op":"add","path":"","value":[]}"#, "not_an_object"),
        (
            r#"{"op":"add","path":"","value":{"id":1,"ID":2}}"#,
            "duplicate_member",
        ),
        (
            r#"{"op":"add","path":"","value":{"lin\u212as":1}}"#,
            "ambiguous_member",
        ),
    ] {
        let body = format!("[\n{{\"op\":\"add\",\"path\":\"/x\",\"value\":1}},\n  {operation}]");
        check(&body, &[code]);
        let verdict = patched(&shipped(), ("Active", "Accepted"), &body);
        let leading = verdict.leading().expect("a finding");
        assert_eq!(leading.status, StatusCode::BAD_REQUEST);
        for piece in ["Operation 2", "line 3 column 3"] {
            assert!(leading.message.contains(piece), "{piece}: {leading:?}");
        }
    }
    check("[1,2]", &["operation_malformed", "operation_malformed"]);
    check("[{},]", &["malformed_json"]);
    check("", &["empty_body"]);
    check("7", &["not_an_object"]);
    check(&"[".repeat(65), &["nested_too_deep"]);
}

#[test]
fn an_enforced_rule_that_cannot_be_sure_of_an_operation_refuses() {
    for check in [
        Check::LinksRemoved,
        Check::Substatus,
        Check::Transition,
        Check::SameEtag,
        Check::PatchOperations,
    ] {
        let policy = with_mode(check, Mode::Enforce);
        for body in [
            r#"[{"op":"add","path":"status","value":1}]"#,
            r#"[{"op":"2","path":"/a","value":1}]"#,
            "[{}]",
            "[{},]",
            "",
        ] {
            let verdict = patched(&policy, ("Active", "Accepted"), body);
            assert!(verdict.refuses(), "{check:?} {body}");
        }
        let many = format!(
            "[{}]",
            vec![r#"{"op":"add","path":"/x","value":1}"#; 1001].join(",")
        );
        let verdict = patched(&policy, ("Active", "Accepted"), &many);
        assert_eq!(codes(&verdict), ["too_many_operations"], "{check:?}");

        for (body, content_type) in [
            ("{}", "application/json-patch+json"),
            ("[]", "application/merge-patch+json"),
        ] {
            let verdict = patched_as(&policy, ("Active", "Accepted"), body, Some(content_type));
            assert_eq!(codes(&verdict), ["media_type_mismatch"], "{check:?}");
        }
        let audit = with_mode(check, Mode::Audit);
        assert!(!patched(&audit, ("Active", "Accepted"), "[{}]").refuses());
    }
}

#[test]
fn a_patch_is_json_of_a_type_that_fits_its_shape() {
    for (content_type, of_array, of_object) in [
        ("application/json", None, None),
        ("Application/JSON; charset=UTF-8", None, None),
        (
            "application/json-patch+json",
            None,
            Some("media_type_mismatch"),
        ),
        (
            "Application/Json-Patch+JSON ; charset=utf-8",
            None,
            Some("media_type_mismatch"),
        ),
        (
            "application/merge-patch+json",
            Some("media_type_mismatch"),
            None,
        ),
        (
            "application/merge-patch+json;x=y",
            Some("media_type_mismatch"),
            None,
        ),
        (
            "application/json; charset=utf-16",
            Some("charset_unsupported"),
            Some("charset_unsupported"),
        ),
        (
            "text/json",
            Some("media_type_unsupported"),
            Some("media_type_unsupported"),
        ),
        (
            "application/vnd.x+json",
            Some("media_type_unsupported"),
            Some("media_type_unsupported"),
        ),
        (
            "text/plain",
            Some("media_type_unsupported"),
            Some("media_type_unsupported"),
        ),
    ] {
        for (body, code) in [("[]", of_array), ("{}", of_object)] {
            let verdict = patched_as(&shipped(), ("Active", "Accepted"), body, Some(content_type));
            let leading = verdict.leading();
            assert_eq!(
                leading.map(|finding| finding.code),
                code,
                "{content_type} {body}"
            );
            assert!(leading.is_none_or(|finding| finding.status.as_u16() == 415));
        }
    }
}

#[test]
fn other_operations_only_warn_where_they_touch_nothing_guarded() {
    for (body, codes) in [
        (
            r#"[{"op":"remove","path":"/name"}]"#,
            &["operation_unsupported"][..],
        ),
        (
            r#"[{"op":"test","path":"/name","value":1}]"#,
            &["operation_unsupported"],
        ),
        (
            r#"[{"op":"copy","from":"/a","path":"/b"}]"#,
            &["operation_unsupported"],
        ),
        (
            r#"[{"op":"ADD","path":"/a","value":1}]"#,
            &["operation_unsupported"],
        ),
        (r#"[{"op":"replace","path":"/a","value":1}]"#, &[]),
    ] {
        check(body, codes);
        assert!(!patched(&shipped(), ("Active", "Accepted"), body).refuses());
    }
}

#[test]
fn if_match_is_asked_of_a_patch_only_by_a_rule_that_says_so() {
    let body = br#"{"name":"x"}"#;
    let verdict = judged(&everywhere(), Method::Patch, &HeaderMap::new(), body, None);
    assert_eq!(codes(&verdict), ["if_match_missing"]);
    let message = &verdict.findings().first().expect("a finding").message;
    assert!(message.contains("a PATCH must name"), "{message}");
    assert_eq!(
        codes(&patched(&shipped(), ("New", "Pending"), r#"{"name":"x"}"#)),
        [""; 0]
    );
}

#[test]
fn an_etag_that_a_patch_sets_is_the_one_in_if_match() {
    let policy = with_mode(Check::SameEtag, Mode::Enforce);
    let tagged = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(TAG))]);
    let tag = serde_json::to_string(TAG).expect("JSON");
    for (headers, body, code) in [
        (&tagged, format!(r#"{{"eTag":{tag}}}"#), None),
        (
            &tagged,
            r#"{"etag":"\"x\""}"#.to_owned(),
            Some("etag_mismatch"),
        ),
        (
            &tagged,
            r#"[{"op":"add","path":"/ETag","value":"x"}]"#.to_owned(),
            Some("etag_mismatch"),
        ),
        (&tagged, r#"{"name":"x"}"#.to_owned(), None),
        (&HeaderMap::new(), r#"{"eTag":"x"}"#.to_owned(), None),
    ] {
        let verdict = judged(&policy, Method::Patch, headers, body.as_bytes(), None);
        assert_eq!(
            verdict.leading().map(|finding| finding.code),
            code,
            "{body}"
        );
    }
}

#[test]
fn a_post_is_well_formed_and_its_status_may_be_judged_too() {
    let usual = with_mode(Check::WellFormed, Mode::Enforce);
    let strict = with_mode(Check::Substatus, Mode::Enforce);
    for (body, well_formed, substatus) in [
        (r#"{"name":"x"}"#, None, None),
        ("", Some("empty_body"), Some("empty_body")),
        ("[]", Some("not_an_object"), Some("not_an_object")),
        (
            r#"[{"op":"add","path":"/status","value":"New"}]"#,
            Some("not_an_object"),
            Some("not_an_object"),
        ),
        (
            r#"{"status":"New","Status":"New","substatus":"Pending"}"#,
            Some("duplicate_member"),
            Some("duplicate_member"),
        ),
        (
            r#"{"status":"New","substatus":"Accepted"}"#,
            None,
            Some("substatus_not_allowed"),
        ),
        (r#"{"status":"New","substatus":"Pending"}"#, None, None),
        (r#"{"status":"Closed","substatus":"Won"}"#, None, None),
        (
            r#"{"status":"new","substatus":"Pending"}"#,
            None,
            Some("status_unknown"),
        ),
        (r#"{"status":"New"}"#, None, Some("substatus_missing")),
        (r#"{"substatus":"Pending"}"#, None, Some("status_missing")),
        (
            r#"{"status":null,"substatus":"Pending"}"#,
            None,
            Some("status_not_a_string"),
        ),
        (
            r#"{"id":"other","links":{},"status":"Active","substatus":"Accepted"}"#,
            None,
            None,
        ),
    ] {
        for (policy, code) in [(&usual, well_formed), (&strict, substatus)] {
            let verdict = posted(policy, body);
            assert_eq!(
                verdict.leading().map(|finding| finding.code),
                code,
                "{body}"
            );
        }
    }
}
