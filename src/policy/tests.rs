//! Every cell of the tables, every form of `If-Match`, every trap of a body.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    judging::{Payload, Received, Settings, Stale, Step, UnknownState, UnknownStateFailed},
    *,
};
use crate::referral::ReferralId;

mod document;
mod judging;
mod mend;
mod patch;

const TAG: &str = r#""0a00b1c2-0000-0100-0000-65f01d420000""#;

fn shipped() -> Policy {
    Policy::parse(
        include_str!("../../policies/referrals.yaml"),
        "referrals.yaml",
    )
    .expect("the shipped policy")
}

fn with_mode(check: Check, mode: Mode) -> Policy {
    let mut policy = shipped();
    for rule in &mut policy.rules {
        rule.mode = if rule.check == check { mode } else { Mode::Off };
    }
    policy
}

/// A PUT that the default policy passes, with pieces replaced.
struct Put {
    if_match: Vec<HeaderValue>,
    content_type: Option<&'static str>,
    encoding: Option<&'static str>,
    body: Vec<u8>,
}

impl Default for Put {
    fn default() -> Self {
        Self {
            if_match: vec![HeaderValue::from_static(TAG)],
            content_type: Some("application/json"),
            encoding: None,
            body: br#"{"id":"r1","status":"Active","substatus":"Accepted"}"#.to_vec(),
        }
    }
}

impl Put {
    fn body(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    fn judged(&self, policy: &Policy, from: Option<&State>) -> Verdict {
        let mut headers = HeaderMap::new();
        for value in &self.if_match {
            headers.append(header::IF_MATCH, value.clone());
        }
        if let Some(value) = self.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        if let Some(value) = self.encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        judged(policy, Method::Put, &headers, &self.body, from)
    }

    #[track_caller]
    fn check(&self, codes: &[&str]) {
        let verdict = self.judged(&shipped(), None);
        let found: Vec<_> = verdict
            .findings()
            .iter()
            .map(|finding| finding.code)
            .collect();
        assert_eq!(found, codes, "{:?}", String::from_utf8_lossy(&self.body));
        for finding in verdict.findings() {
            assert!(
                finding.message.len() < 600 && !finding.fix.is_empty(),
                "{finding:?}"
            );
        }
    }
}

#[test]
fn a_transition_is_found_once() {
    let policy = Policy::parse(
        "name: p
rules:
  - { id: transition, check: transition, on: [PUT], mode: enforce }
states:
  New: { next: [Closed], substatus: [Pending] }
  Closed: { next: [New], substatus: [Won, Lost], substatus_may_change: false }
",
        "p.yaml",
    )
    .expect("a policy");
    let put = Put::body(r#"{"status":"Closed","substatus":"Lost"}"#);
    let verdict = put.judged(&policy, Some(&state("Closed", "Won")));
    let codes: Vec<_> = verdict.findings().iter().map(|f| f.code).collect();
    assert_eq!(codes, ["transition_not_allowed"]);
    let fix = verdict.leading().map(|finding| &*finding.fix);
    assert_eq!(fix, Some("Send New."));
}

#[test]
fn a_rule_fails_closed_whatever_other_rules_refuse() {
    // The form of the body only warns, and another rule refuses.
    let mut policy = shipped();
    for rule in &mut policy.rules {
        if rule.check == Check::WellFormed {
            rule.mode = Mode::Warn;
        }
    }
    let put = Put {
        if_match: Vec::new(),
        ..Put::body("{")
    };
    let verdict = put.judged(&policy, None);
    let refused: Vec<_> = verdict
        .findings()
        .iter()
        .filter(|finding| finding.mode.refuses())
        .map(|finding| (&*finding.rule, finding.code))
        .collect();
    assert!(
        refused.contains(&("if-match", "if_match_missing")),
        "{refused:?}"
    );
    for rule in ["links-removed", "substatus", "transition", "same-id"] {
        assert!(refused.contains(&(rule, "malformed_json")), "{refused:?}");
    }

    // The status is unknown, which `substatus` only finds where it is on.
    let mut policy = shipped();
    for rule in &mut policy.rules {
        if rule.check == Check::Substatus {
            rule.mode = Mode::Off;
        }
    }
    let put = Put {
        if_match: Vec::new(),
        ..Put::body(r#"{"status":"Odd","substatus":"Won"}"#)
    };
    let verdict = put.judged(&policy, None);
    let codes: Vec<_> = verdict.findings().iter().map(|f| f.code).collect();
    assert_eq!(codes, ["if_match_missing", "status_unknown"]);
}

#[test]
fn an_expression_without_the_body_is_evaluated_whatever_the_body() {
    let policy = Policy::parse(
        "name: p
rules:
  - { id: no-put, check: expression, on: [PUT], mode: enforce, expression: \"request.method != 'PUT'\", message: m }
  - { id: body, check: expression, on: [PUT], mode: audit, expression: 'body.a == 1', message: m }
states:
  New: { next: [New], substatus: [Pending] }
",
        "p.yaml",
    )
    .expect("a policy");
    let verdict = Put::body("{").judged(&policy, None);
    let found: Vec<_> = verdict
        .findings()
        .iter()
        .map(|f| (&*f.rule, f.code))
        .collect();
    assert_eq!(found, [("no-put", "expression_not_met")]);
}

#[test]
fn a_fix_repeats_a_tag_only_if_it_is_one() {
    for (value, tag) in [
        ("a".repeat(64), format!("\"{}\"", "a".repeat(64))),
        ("a".repeat(65), "\"<its eTag>\"".to_owned()),
        ("'abc'".to_owned(), "\"abc\"".to_owned()),
        ("a b".to_owned(), "\"<its eTag>\"".to_owned()),
    ] {
        let put = Put {
            if_match: vec![HeaderValue::from_str(&value).expect("a value")],
            ..Put::default()
        };
        let verdict = put.judged(&shipped(), None);
        let finding = verdict.findings().first().expect("a finding");
        assert!(
            finding.fix.ends_with(&format!("If-Match: {tag}")),
            "{value}: {}",
            finding.fix
        );
    }
}

#[test]
fn an_answer_repeats_a_short_piece_of_the_request() {
    for (letters, end) in [(64, "\""), (65, "...\"")] {
        let status = "a".repeat(letters);
        let put = Put::body(format!(r#"{{"status":"{status}","substatus":"Won"}}"#));
        let verdict = put.judged(&shipped(), None);
        let finding = verdict.findings().first().expect("a finding");
        let expected = format!("The status \"{}{end} is not known.", "a".repeat(64));
        assert_eq!(finding.message, expected);
    }
}

/// Asks for a state that is not remembered, and forwards nothing unjudged.
const STRICT: Settings = Settings {
    unknown_state: UnknownState::Fetch,
    unknown_state_failed: UnknownStateFailed::Refuse,
    stale: Stale::Refuse,
};

/// Judges a write to `r1`. `drive` answers what the judging asks, and sees the result.
fn judging<R>(
    policy: &Policy,
    method: Method,
    headers: &HeaderMap,
    body: impl Into<Payload<()>>,
    drive: impl FnOnce(Step<'_>) -> R,
) -> R {
    let id = ReferralId::parse("r1").expect("an id");
    let received = Received {
        method,
        id: (method != Method::Post).then_some(&id),
        headers: headers.clone(),
        body: body.into(),
        context: Context::default(),
    };
    drive(received.mend(policy).judge(STRICT))
}

/// What `policy` finds in a write to `r1`, where the referral stands `from` if a rule asks for it.
fn judged(
    policy: &Policy,
    method: Method,
    headers: &HeaderMap,
    body: &[u8],
    from: Option<&State>,
) -> Verdict {
    judging(policy, method, headers, body, |step| {
        step.answer_by(from).into_parts().0
    })
}

impl From<&[u8]> for Payload<()> {
    fn from(bytes: &[u8]) -> Self {
        Self::Whole(Bytes::copy_from_slice(bytes))
    }
}

fn state(status: &str, substatus: &str) -> State {
    State {
        status: status.into(),
        substatus: Some(substatus.into()),
    }
}

#[test]
fn the_documented_put_passes() {
    Put::default().check(&[]);
}

#[test]
fn if_match_is_one_strong_entity_tag() {
    for (value, code) in [
        ("", Some("if_match_empty")),
        ("*", Some("if_match_wildcard")),
        (r#"W/"a""#, Some("if_match_weak")),
        (r#"w/"a""#, Some("if_match_weak")),
        ("W/a", Some("if_match_weak")),
        (
            "0a00b1c2-0000-0100-0000-65f01d420000",
            Some("if_match_unquoted"),
        ),
        ("'abc'", Some("if_match_unquoted")),
        (r#"\"abc\""#, Some("if_match_escaped")),
        (r#""\"abc\"""#, Some("if_match_escaped")),
        (r#""a", "b""#, Some("if_match_several")),
        (r#""a","b""#, Some("if_match_several")),
        (r#"W/"a", W/"b""#, Some("if_match_several")),
        (r#""a", *"#, Some("if_match_several")),
        (r#""abc"#, Some("if_match_malformed")),
        (r#"abc""#, Some("if_match_malformed")),
        (r#"""abc"""#, Some("if_match_malformed")),
        (r#""a b""#, Some("if_match_malformed")),
        (r#""abc";x"#, Some("if_match_malformed")),
        (r#""abc""#, None),
        (r#"  "abc"  "#, None),
        (r#""a,b""#, Some("if_match_several")),
        (r#""""#, Some("if_match_empty")),
        (r#""*""#, Some("if_match_wildcard")),
        (TAG, None),
    ] {
        let put = Put {
            if_match: vec![HeaderValue::from_str(value).expect("a header value")],
            ..Put::default()
        };
        let found = put.judged(&shipped(), None);
        assert_eq!(found.leading().map(|finding| finding.code), code, "{value}");
        assert!(
            found
                .findings()
                .iter()
                .all(|finding| finding.status == StatusCode::PRECONDITION_REQUIRED)
        );
    }
    Put {
        if_match: vec![],
        ..Put::default()
    }
    .check(&["if_match_missing"]);
    let tag = HeaderValue::from_static(TAG);
    Put {
        if_match: vec![tag.clone(), tag],
        ..Put::default()
    }
    .check(&["if_match_repeated"]);
}

#[test]
fn the_right_form_is_shown_with_the_value_received() {
    for (value, shown) in [
        ("abc", r#"once: If-Match: "abc""#),
        ("\"abc", r#"once: If-Match: "abc""#),
        (r#"\"abc\""#, r#"once: If-Match: "abc""#),
        ("'abc'", r#"once: If-Match: "abc""#),
        // The tag without `W/` may be no version of the referral.
        (r#"W/"abc""#, "GET the referral and send its eTag as it is."),
    ] {
        let put = Put {
            if_match: vec![HeaderValue::from_static(value)],
            ..Put::default()
        };
        let verdict = put.judged(&shipped(), None);
        let fix = &verdict.leading().expect("a finding").fix;
        assert!(fix.ends_with(shown), "{value}: {fix}");
    }
}

#[test]
fn links_are_found_whatever_their_value() {
    for body in [
        r#"{"status":"Active","substatus":"Accepted","links":null}"#,
        r#"{"status":"Active","substatus":"Accepted","Links":{}}"#,
        r#"{"status":"Active","substatus":"Accepted","\u006cinks":[]}"#,
    ] {
        Put::body(body).check(&["links_present"]);
    }
    Put::body(r#"{"status":"Active","substatus":"Accepted","details":{"links":{}}}"#).check(&[]);
}

#[test]
fn status_and_substatus_are_known_and_go_together() {
    for (status, substatus, code) in [
        ("null", r#""Accepted""#, Some("status_not_a_string")),
        ("1", r#""Accepted""#, Some("status_not_a_string")),
        ("[\"Active\"]", r#""Accepted""#, Some("status_not_a_string")),
        (r#""active""#, r#""Accepted""#, Some("status_unknown")),
        (r#"" Active""#, r#""Accepted""#, Some("status_unknown")),
        (r#""1""#, r#""Accepted""#, Some("status_unknown")),
        (r#""None""#, r#""Accepted""#, Some("status_unknown")),
        (r#""New, Active""#, r#""Accepted""#, Some("status_unknown")),
        (r#""Active""#, "null", Some("substatus_not_a_string")),
        (r#""Active""#, r#""accepted""#, Some("substatus_unknown")),
        (r#""Active""#, r#""Engaged""#, Some("substatus_unknown")),
        (r#""Active""#, r#""Won""#, Some("substatus_not_allowed")),
        (r#""\u0041ctive""#, r#""Accepted""#, None),
    ] {
        let put = Put::body(format!(r#"{{"status":{status},"substatus":{substatus}}}"#));
        let verdict = put.judged(&shipped(), None);
        assert_eq!(
            verdict.findings().iter().map(|f| f.code).next(),
            code,
            "{status} {substatus}"
        );
    }
    Put::body("{}").check(&["status_missing", "substatus_missing"]);
}

#[test]
fn a_fix_names_one_value_only_where_it_is_meant_beyond_doubt() {
    const EXACTLY: &str = "values compare exactly, case and blanks included.";
    let all = "Send one of Accepted, Won, Lost, Declined, Expired, Pending, Received.";
    let closed = "With Closed, send one of Won, Lost, Declined, Expired.";
    let active = "With Active, send Accepted.";
    for (status, substatus, fix) in [
        (
            "\"active\"",
            "\"Accepted\"",
            format!("Write \"Active\": {EXACTLY}"),
        ),
        (
            "\" New \"",
            "\"Accepted\"",
            format!("Write \"New\": {EXACTLY}"),
        ),
        (
            "\"CLOSED\"",
            "\"Won\"",
            format!("Write \"Closed\": {EXACTLY}"),
        ),
        (
            "\"Activ\"",
            "\"Accepted\"",
            "Send one of Active, Closed, New.".to_owned(),
        ),
        (
            "\"Closed\"",
            "\" won \"",
            format!("Write \"Won\": {EXACTLY}"),
        ),
        ("\"Closed\"", "\"Foo\"", closed.to_owned()),
        ("\"Closed\"", "\"Done\"", closed.to_owned()),
        ("\"Closed\"", "\"Win1\"", closed.to_owned()),
        ("\"Closed\"", "\"Loss\"", closed.to_owned()),
        ("\"Closed\"", "null", closed.to_owned()),
        // Such a substatus would be refused with that status.
        ("\"Active\"", "\"won\"", active.to_owned()),
        ("\"Active\"", "7", active.to_owned()),
        ("\"Active\"", "\"Won\"", active.to_owned()),
        ("\"Active\"", "", active.to_owned()),
        ("\"Foo\"", "\"Done\"", all.to_owned()),
        (
            "\"Foo\"",
            "",
            format!("{all} If the substatus does not change, send the one you read."),
        ),
    ] {
        let substatus = match substatus {
            "" => String::new(),
            text => format!(",\"substatus\":{text}"),
        };
        let put = Put::body(format!("{{\"status\":{status}{substatus}}}"));
        let verdict = put.judged(&shipped(), None);
        let last = &verdict.findings().last().expect("a finding").fix;
        assert_eq!(*last, fix, "{status}{substatus}");
    }
}

#[test]
fn every_pair_of_status_and_substatus_is_judged_by_the_table() {
    let pairs = [
        ("New", &["Pending", "Received"][..]),
        ("Active", &["Accepted"]),
        ("Closed", &["Won", "Lost", "Declined", "Expired"]),
    ];
    let every: Vec<&str> = pairs
        .iter()
        .flat_map(|(_, allowed)| *allowed)
        .copied()
        .collect();
    for (status, allowed) in pairs {
        for substatus in &every {
            let put = Put::body(format!(
                r#"{{"status":"{status}","substatus":"{substatus}"}}"#
            ));
            let passes = put.judged(&shipped(), None).findings().is_empty();
            assert_eq!(passes, allowed.contains(substatus), "{status} {substatus}");
        }
    }
}

#[test]
fn every_transition_is_judged_by_the_table() {
    for (from, was, to, is, code) in [
        ("New", "Pending", "New", "Pending", None),
        ("New", "Pending", "New", "Received", None),
        ("New", "Received", "New", "Pending", None),
        ("New", "Pending", "Active", "Accepted", None),
        ("New", "Pending", "Closed", "Declined", None),
        ("New", "Received", "Closed", "Won", None),
        (
            "Active",
            "Accepted",
            "New",
            "Pending",
            Some("transition_not_allowed"),
        ),
        ("Active", "Accepted", "Active", "Accepted", None),
        ("Active", "Accepted", "Closed", "Won", None),
        ("Active", "Accepted", "Closed", "Lost", None),
        (
            "Closed",
            "Won",
            "New",
            "Received",
            Some("transition_not_allowed"),
        ),
        (
            "Closed",
            "Won",
            "Active",
            "Accepted",
            Some("transition_not_allowed"),
        ),
        ("Closed", "Won", "Closed", "Won", None),
        (
            "Closed",
            "Won",
            "Closed",
            "Lost",
            Some("closed_substatus_change"),
        ),
        ("Closed", "Expired", "Closed", "Expired", None),
    ] {
        let put = Put::body(format!(r#"{{"status":"{to}","substatus":"{is}"}}"#));
        let verdict = put.judged(&shipped(), Some(&state(from, was)));
        assert_eq!(
            verdict.leading().map(|f| f.code),
            code,
            "{from}/{was} -> {to}/{is}"
        );
        assert!(
            verdict
                .findings()
                .iter()
                .all(|f| f.status == StatusCode::CONFLICT)
        );
        let fix = verdict.leading().map_or("", |finding| &*finding.fix);
        let told = match (code, from) {
            (Some("transition_not_allowed"), "Active") => "Send Active or Closed.",
            (Some("transition_not_allowed"), _) => {
                "A closed referral cannot be reopened: keep the status Closed."
            }
            (Some(_), _) => "Keep the substatus Won; other members may change.",
            (None, _) => "",
        };
        assert_eq!(fix, told);
    }
}

#[test]
fn a_state_is_judged_only_if_the_table_can_tell() {
    let states = shipped().states;
    assert!(states.knows(&state("New", "Pending")));
    assert!(states.knows(&State {
        status: "New".into(),
        substatus: None
    }));
    assert!(!states.knows(&State {
        status: "Closed".into(),
        substatus: None
    }));
    assert!(!states.knows(&state("None", "None")));
    assert!(!states.knows(&state("new", "Pending")));
}

#[test]
fn id_and_etag_of_the_body_agree_with_the_request() {
    let rest = r#""status":"Active","substatus":"Accepted""#;
    for (member, codes) in [
        (r#""id":"R1""#, &[][..]),
        (r#""id":null"#, &["id_mismatch"]),
        (r#""id":"r2""#, &["id_mismatch"]),
        (r#""Id":7"#, &["id_mismatch"]),
        (r#""eTag":null"#, &[]),
        (r#""eTag":"\"0a00b1c2-0000-0100-0000-65f01d420000\"""#, &[]),
        (r#""eTag":"0a00b1c2-0000-0100-0000-65f01d420000""#, &[]),
        (r#""eTag":"\"other\"""#, &["etag_mismatch"]),
    ] {
        Put::body(format!("{{{member},{rest}}}")).check(codes);
    }
}

#[test]
fn a_mismatched_etag_only_warns_by_default() {
    let put = Put::body(r#"{"eTag":"\"x\"","status":"Active","substatus":"Accepted"}"#);
    let verdict = put.judged(&shipped(), None);
    assert!(!verdict.refuses());
    assert_eq!(verdict.warnings().count(), 1);
    let told = "The eTag in the body (x) is not the one in If-Match (0a00b1c2-0000-0100-0000-65f01d420000):";
    let message = verdict.warnings().next().map(|finding| &*finding.message);
    assert!(
        message.is_some_and(|message| message.starts_with(told)),
        "{message:?}"
    );
}

#[test]
fn what_two_readers_could_read_differently_is_not_well_formed() {
    let rest = r#""status":"Active","substatus":"Accepted""#;
    Put::body(format!(r#"{{"status":"New",{rest}}}"#)).check(&["duplicate_member"]);
    Put::body(format!(r#"{{"ID":"r1","id":"r1",{rest}}}"#)).check(&["duplicate_member"]);
    Put::body(format!(r#"{{"lin{}s":1,{rest}}}"#, '\u{212a}'))
        .check(&["ambiguous_member", "links_present"]);
    Put::body(format!("{{{rest},}}")).check(&["malformed_json"]);
    Put::body("").check(&["empty_body"]);
    Put::body(format!("[{{{rest}}}]")).check(&["not_an_object"]);
    Put::body(b"{\"a\":\"\xff\"}".to_vec()).check(&["invalid_utf8"]);
    Put::body(format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64)))
        .check(&["nested_too_deep"]);
}

#[test]
fn what_keeps_a_body_from_being_json_is_told() {
    for (body, told) in [
        ("\u{feff}{}", "with a byte order mark"),
        (
            "{\"status\":\"Act",
            "ends inside a string at line 1 column 14; was it cut off?",
        ),
        (
            "{\"status\":",
            "ends inside a value at line 1 column 10; was it cut off?",
        ),
        (
            "{\n\"a\":[1,",
            "ends inside a value at line 2 column 7; was it cut off?",
        ),
        (
            "{\"a\":1",
            "ends inside an object at line 1 column 6; was it cut off?",
        ),
        (
            "{\"a\":1,}",
            "is not JSON (RFC 8259): trailing comma at line 1 column 8.",
        ),
    ] {
        let verdict = Put::body(body).judged(&shipped(), None);
        let found = verdict.leading().expect("a finding");
        assert_eq!(found.code, "malformed_json", "{body}");
        assert!(found.message.contains(told), "{body}: {}", found.message);
    }
}

#[test]
fn the_body_is_plain_json_in_utf8() {
    for (content_type, code) in [
        (None, None),
        (Some("application/json"), None),
        (Some("Application/JSON; charset=UTF-8"), None),
        (Some("application/json;charset=\"utf-8\""), None),
        (Some("application/json; odata.metadata=minimal"), None),
        (Some("application/merge-patch+json"), None),
        (Some("text/json"), None),
        (
            Some("application/json; charset=utf-16"),
            Some("charset_unsupported"),
        ),
        (
            Some("application/json; charset = utf-7"),
            Some("charset_unsupported"),
        ),
        (
            Some("application/json;charset=utf-8;charset=utf-16"),
            Some("charset_unsupported"),
        ),
        (
            Some("application/json; charset*=UTF-8''utf-16"),
            Some("charset_unsupported"),
        ),
        (
            Some("multipart/form-data; boundary=x"),
            Some("media_type_unsupported"),
        ),
        (
            Some("application/xml, application/problem+json"),
            Some("media_type_unsupported"),
        ),
        (Some("text/x+json"), Some("media_type_unsupported")),
        (Some("application/json; charset=utf8"), None),
        // Only for a PATCH do these say how the body is applied.
        (Some("application/json-patch+json"), None),
        (Some("application/merge-patch+json"), None),
        (Some("text/plain"), Some("media_type_unsupported")),
        (Some("application/xml"), Some("media_type_unsupported")),
        (Some(""), Some("media_type_unsupported")),
        (
            Some("application/json, text/xml"),
            Some("media_type_unsupported"),
        ),
    ] {
        let put = Put {
            content_type,
            ..Put::default()
        };
        let verdict = put.judged(&shipped(), None);
        assert_eq!(verdict.leading().map(|f| f.code), code, "{content_type:?}");
    }
    Put {
        encoding: Some("gzip"),
        ..Put::default()
    }
    .check(&["content_encoding_unsupported"]);
    Put {
        encoding: Some("identity"),
        ..Put::default()
    }
    .check(&[]);
}

#[test]
fn all_findings_are_told_and_the_first_check_chooses_the_status() {
    let put = Put {
        if_match: vec![],
        encoding: Some("gzip"),
        ..Put::body(r#"{"id":"r2","status":"x","substatus":"Accepted","links":{}}"#)
    };
    put.check(&[
        "content_encoding_unsupported",
        "if_match_missing",
        "links_present",
        "status_unknown",
        "id_mismatch",
    ]);
    assert_eq!(
        put.judged(&shipped(), None)
            .leading()
            .map(|f| f.status.as_u16()),
        Some(415)
    );
    // The page's own example: no If-Match, a comma after the last member.
    let seed = Put {
        if_match: vec![],
        ..Put::body("{\"status\":\"Closed\",\n \"substatus\":\"Won\",\n}")
    };
    seed.check(&["malformed_json", "if_match_missing"]);
}

#[test]
fn a_mode_says_what_a_finding_leads_to() {
    let put = Put {
        if_match: vec![],
        ..Put::default()
    };
    for (mode, findings, refuses, warnings) in [
        (Mode::Off, 0, false, 0),
        (Mode::Audit, 1, false, 0),
        (Mode::Warn, 1, false, 1),
        (Mode::Enforce, 1, true, 0),
    ] {
        let verdict = put.judged(&with_mode(Check::IfMatch, mode), None);
        assert_eq!(
            (
                verdict.findings().len(),
                verdict.refuses(),
                verdict.warnings().count()
            ),
            (findings, refuses, warnings),
            "{mode}"
        );
    }
}

#[test]
fn an_enforced_rule_that_cannot_read_the_body_refuses() {
    for check in [
        Check::LinksRemoved,
        Check::Substatus,
        Check::SameId,
        Check::SameEtag,
        Check::Transition,
    ] {
        let policy = with_mode(check, Mode::Enforce);
        for body in [
            "{\"status\":\"Active\",}",
            "[]",
            "",
            "{\"status\":\"New\",\"status\":\"Active\"}",
        ] {
            assert!(
                Put::body(body).judged(&policy, None).refuses(),
                "{check:?} {body}"
            );
        }
        assert!(
            Put {
                encoding: Some("br"),
                ..Put::default()
            }
            .judged(&policy, None)
            .refuses(),
            "{check:?}"
        );
        let audit = with_mode(check, Mode::Audit);
        assert!(!Put::body("[]").judged(&audit, None).refuses(), "{check:?}");
    }
    let transition = with_mode(Check::Transition, Mode::Enforce);
    for body in [
        "{}",
        r#"{"status":"active","substatus":"Accepted"}"#,
        r#"{"status":2}"#,
    ] {
        assert!(
            Put::body(body).judged(&transition, None).refuses(),
            "{body}"
        );
    }
    assert!(
        !Put::body("[]")
            .judged(&with_mode(Check::IfMatch, Mode::Enforce), None)
            .refuses()
    );
}

#[test]
fn a_rule_may_answer_with_its_own_status() {
    let text = include_str!("../../policies/referrals.yaml")
        .replace("check: if_match,", "check: if_match, status: 412,");
    let policy = Policy::parse(&text, "p.yaml").expect("a policy");
    let verdict = Put {
        if_match: vec![],
        ..Put::default()
    }
    .judged(&policy, None);
    assert_eq!(verdict.leading().map(|f| f.status.as_u16()), Some(412));
}

#[test]
fn a_quoted_piece_of_the_request_is_short_and_plain() {
    let quoted = verdict::quote("a\u{202e}\u{1b}[31m".repeat(40).as_bytes());
    assert!(
        quoted.is_ascii() && quoted.len() < 400 && !quoted.contains('\u{1b}'),
        "{quoted}"
    );
}

#[test]
fn a_wrong_document_is_refused_with_place_and_remedy() {
    let shipped = include_str!("../../policies/referrals.yaml");
    for (from, to, told) in [
        ("check: if_match", "check: if_mach", &["if_match"][..]),
        ("mode: warn", "mode: repair", &["repair", "enforce"]),
        (
            "on: [PUT], mode: warn",
            "on: [PUT, GET], mode: warn",
            &["GET", "PUT, PATCH, POST"],
        ),
        (
            "on: [PUT], mode: warn",
            "on: [], mode: warn",
            &["on:", "never applies", "PUT, PATCH", "mode: off"],
        ),
        (
            "on: [PUT], mode: warn",
            "on: [PATCH, POST], mode: warn",
            &[
                "same-etag",
                "has a check that does not apply to POST",
                "PUT, PATCH",
            ],
        ),
        (
            "check: same_id, on: [PUT]",
            "check: same_id, on: [PATCH]",
            &["same-id", "does not apply to PATCH", "list PUT only"],
        ),
        (
            "on: [PUT], mode: warn",
            "on: [PUT, PATCH, PUT], mode: warn",
            &["PUT twice", "once"],
        ),
        ("id: same-etag", "id: same-id", &["two rules have the id"]),
        (
            "check: same_etag",
            "check: same_id",
            &["second rule", "PUT", "`same-id`"],
        ),
        (
            "check: same_etag, on: [PUT]",
            "check: well_formed, on: [POST]",
            &["second rule", "POST", "`well-formed`"],
        ),
        ("id: same-etag", "id: Same_Etag", &["a-z"]),
        (
            "next: [Closed]",
            "next: [Closd]",
            &["Closd", "did you mean `Closed`?"],
        ),
        (
            "substatus: [Accepted]",
            "substatus: []",
            &["Active", "list what is allowed"],
        ),
        ("mode: warn", "mode: warn, status: 200", &["400 to 499"]),
        ("mode: warn", "mode: warn, status: 4xx", &["400 to 499"]),
        (
            "check: if_match, on: [PUT], mode: enforce",
            "check: if_match, on: [PUT]",
            &["`rules.1` (`if-match`) has no `mode`"],
        ),
        ("name: referrals", "nam: referrals", &["nam", "name"]),
        ("name: referrals", "name: 'a b'", &["a-z"]),
    ] {
        let text = shipped.replacen(from, to, 1);
        assert_ne!(text, shipped, "{from}");
        let error = Policy::parse(&text, "p.yaml").expect_err(to).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let line = lines
            .iter()
            .rposition(|line| line.contains(to))
            .map_or(0, |at| at + 1);
        if !to.starts_with("substatus") {
            assert!(error.contains(&format!("p.yaml:{line}:")), "{error}");
        }
        for piece in told {
            assert!(error.contains(piece), "{piece}: {error}");
        }
    }
    let empty = Policy::parse("name: x\nrules: []\nstates: {}\n", "p.yaml");
    let error = empty.expect_err("no rules").to_string();
    assert!(
        error.contains("p.yaml:2:8:") && error.contains("at least one rule"),
        "{error}"
    );
}

#[test]
fn rules_with_one_check_may_share_its_methods() {
    let text = include_str!("../../policies/referrals.yaml").replace(
        "- { id: links-removed, check: links_removed, on: [PUT, PATCH], mode: enforce }",
        "- { id: links-put, check: links_removed, on: [PUT], mode: enforce }
  - { id: links-patch, check: links_removed, on: [PATCH], mode: audit }",
    );
    let policy = Policy::parse(&text, "p.yaml").expect("a policy");
    let body = br#"{"status":"Active","substatus":"Accepted","links":{}}"#;
    let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(TAG))]);
    for (method, rule, mode) in [
        (Method::Put, "links-put", Mode::Enforce),
        (Method::Patch, "links-patch", Mode::Audit),
    ] {
        let verdict = judged(&policy, method, &headers, body, None);
        let found: Vec<_> = verdict
            .findings()
            .iter()
            .map(|finding| (&*finding.rule, finding.mode))
            .collect();
        assert_eq!(found, [(rule, mode)]);
    }
}

#[test]
fn a_document_without_a_rule_for_a_method_does_not_judge_it() {
    let text = include_str!("../../policies/referrals.yaml")
        .replace(
            "on: [PUT, PATCH, POST], mode: enforce",
            "on: [POST], mode: off",
        )
        .replace("[PUT, PATCH]", "[PATCH]");
    let policy = Policy::parse(&text, "p.yaml").expect("a policy");
    assert!(policy.judges(Method::Put) && policy.judges(Method::Patch));
    assert!(!policy.judges(Method::Post));
    assert!(shipped().judges(Method::Post));
}

#[test]
fn the_digest_names_the_text() {
    let (one, two) = (
        shipped(),
        Policy::parse(&format!("{}\n", shipped().text), "p").expect("a policy"),
    );
    assert!(one.digest.starts_with("sha256:") && one.digest.len() == 71);
    assert_ne!(one.digest, two.digest);
}

#[test]
fn the_schema_names_every_key() {
    let schema = schema().to_string();
    for key in [
        "name",
        "rules",
        "states",
        "check",
        "mode",
        "well_formed",
        "substatus_may_change",
        "enforce",
    ] {
        assert!(schema.contains(key), "{key}");
    }
}

#[test]
fn a_finding_about_the_state_stands_in_the_order_of_checks_though_it_is_found_last() {
    let put = Put::body(r#"{"id":"r2","status":"Active","substatus":"Accepted"}"#);
    let verdict = put.judged(&shipped(), Some(&state("Closed", "Won")));
    let codes: Vec<_> = verdict.findings().iter().map(|found| found.code).collect();
    assert_eq!(codes, ["transition_not_allowed", "id_mismatch"]);
    assert_eq!(
        verdict.leading().map(|found| found.code),
        Some("transition_not_allowed")
    );
}

#[test]
fn a_substatus_that_may_not_change_may_go_with_its_status() {
    let text = "name: p\nrules: [{ id: t, check: transition, on: [PUT], mode: enforce }]\nstates:\n  \
                New: { next: [New, Active], substatus: [Pending, Received], substatus_may_change: false }\n  \
                Active: { next: [Active], substatus: [Accepted] }\n";
    let policy = Policy::parse(text, "p").expect("a policy");
    for (to, is, code) in [
        ("Active", "Accepted", None),
        ("New", "Received", Some("closed_substatus_change")),
        ("New", "Pending", None),
    ] {
        let put = Put::body(format!(r#"{{"status":"{to}","substatus":"{is}"}}"#));
        let verdict = put.judged(&policy, Some(&state("New", "Pending")));
        assert_eq!(verdict.leading().map(|found| found.code), code, "{to} {is}");
    }
}
