//! A policy document is refused with its place, or it refuses what its rules say.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use referral_gateway::{
    policy::{Body, Check, Facts, IfMatch, Mode, Policy, Verdict},
    referral::{ReferralId, State},
};
use serde_json::json;

/// The error names a place in the text and what to do.
fn check_error(told: &str, text: &str) {
    let mut parts = told.splitn(4, ':');
    assert_eq!(parts.next(), Some("fuzz"), "{told}");
    let mut number = || parts.next().and_then(|number| number.parse::<usize>().ok());
    let line = number();
    let column = number();
    if let (Some(line), Some(column)) = (line, column) {
        // A lone CR ends a line as well (YAML 1.2 5.4). The end of the text may be the place of what is missing.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(line >= 1 && line <= text.lines().count() + 1, "{told}");
        assert!(
            column >= 1 && column <= longest.unwrap_or_default() + 1,
            "{told}"
        );
    }
    assert!(told.contains("; "), "no remedy: {told}");
}

fn judged(policy: &Policy, if_match: bool, body: &[u8], from: Option<&State>) -> Verdict {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if if_match {
        headers.insert(header::IF_MATCH, HeaderValue::from_static("\"a\""));
    }
    let id = ReferralId::parse("r1").expect("an id");
    let facts = Facts {
        id: &id,
        headers: &headers,
        if_match: IfMatch::of(&headers),
        body: Body::read(body),
    };
    let mut verdict = policy.judge(&facts);
    if let (Some(from), Some(_)) = (from, policy.needs_state(&facts)) {
        policy.judge_transition(&facts, from, &mut verdict);
    }
    verdict
}

fuzz_target!(|text: &str| {
    let policy = match Policy::parse(text, "fuzz") {
        Ok(policy) => policy,
        Err(error) => return check_error(&error.to_string(), text),
    };
    let enforces = |check: Check| {
        let mut rules = policy.rules.iter();
        rules.any(|rule| rule.check == check && rule.mode == Mode::Enforce)
    };
    assert!(policy.rules.is_sorted_by_key(|rule| rule.check));

    for body in [&b""[..], b"{", b"[]", b"\xff", b"{} {}"] {
        let verdict = judged(&policy, true, body, None);
        assert_eq!(
            verdict.refuses(),
            policy.must_read_body(),
            "{body:?}: {verdict:?}"
        );
    }
    for (check, if_match, body) in [
        (Check::IfMatch, false, json!({})),
        (Check::LinksRemoved, true, json!({ "links": null })),
        (Check::SameId, true, json!({ "id": "r2" })),
        (Check::SameEtag, true, json!({ "eTag": "\"b\"" })),
        (Check::Substatus, true, json!({})),
        (Check::Transition, true, json!({ "status": " " })),
    ] {
        let verdict = judged(&policy, if_match, body.to_string().as_bytes(), None);
        let refused = verdict
            .findings()
            .iter()
            .any(|finding| finding.mode == Mode::Enforce);
        assert!(refused || !enforces(check), "{check:?}: {verdict:?}");
    }
    if policy.states.rows.iter().any(|row| row.status == " ") {
        return;
    }
    for from in policy.states.rows.iter().take(8) {
        for to in policy
            .states
            .rows
            .iter()
            .take(8)
            .filter(|to| to.status != from.status)
        {
            let (before, after) = (from.substatus.first(), to.substatus.first());
            let state = State {
                status: from.status.as_str().into(),
                substatus: before.map(|text| text.as_str().into()),
            };
            let body = json!({ "status": to.status, "substatus": after });
            let verdict = judged(&policy, true, body.to_string().as_bytes(), Some(&state));
            let found = verdict
                .findings()
                .iter()
                .any(|finding| finding.check == Check::Transition && finding.mode == Mode::Enforce);
            let wanted = enforces(Check::Transition) && !from.next.contains(&to.status);
            assert_eq!(
                found, wanted,
                "{} to {}: {verdict:?}",
                from.status, to.status
            );
        }
    }
});
