//! A policy document is refused with its place, or it refuses what its rules say.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use referral_gateway::{
    policy::{
        Check, Context, Method, Policy, Rule, Verdict,
        judging::{Payload, Received, Settings, Stale, UnknownState, UnknownStateFailed},
    },
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

/// What the rules make of a write of the referral `r1`, sent as JSON.
fn judged(
    policy: &Policy,
    method: Method,
    if_match: bool,
    body: &[u8],
    from: Option<&State>,
) -> Verdict {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if if_match {
        headers.insert(header::IF_MATCH, HeaderValue::from_static("\"a\""));
    }
    let id = ReferralId::parse("r1").expect("an id");
    let received = Received {
        method,
        id: (method != Method::Post).then_some(&id),
        headers,
        body: Payload::<()>::Whole(Bytes::copy_from_slice(body)),
        context: Context::default(),
    };
    let settings = Settings {
        unknown_state: UnknownState::Fetch,
        unknown_state_failed: UnknownStateFailed::Refuse,
        stale: Stale::Refuse,
    };
    let mut write = received.mend(policy);
    let judged = write.judge(settings).answer_by(from);
    judged.into_parts().0
}

/// Whether the rule needs a body that can be read.
fn reads_body(rule: &Rule) -> bool {
    rule.check == Check::WellFormed || rule.needs().body
}

/// A body that cannot be read is refused by whichever rule would read it, and by no other.
fn check_unreadable(policy: &Policy, method: Method) {
    let refusing: Vec<&Rule> = policy
        .active(method)
        .filter(|rule| rule.mode.refuses())
        .collect();
    let must_read = refusing.iter().any(|rule| reads_body(rule));
    let is_told_without = refusing.iter().any(|rule| rule.condition.is_some());
    for body in [&b""[..], b"{", b"7", b"\xff", b"{} {}"] {
        let refuses = judged(policy, method, true, body, None).refuses();
        assert!(refuses || !must_read, "{method} {body:?} passes");
        assert!(
            !refuses || must_read || is_told_without,
            "{method} {body:?} is refused"
        );
    }
}

/// A fault is refused by the rule that looks for it, or mended.
fn check_faults(policy: &Policy) {
    let (put, patch) = (Method::Put, Method::Patch);
    let added = |path: &str| json!([{ "op": "add", "path": path, "value": null }]);
    let status = json!([{ "op": "add", "path": "/status", "value": " " }]);
    for (check, method, if_match, body) in [
        (Check::IfMatch, put, false, json!({})),
        (Check::IfMatch, patch, false, json!({})),
        (Check::LinksRemoved, put, true, json!({ "links": null })),
        (Check::LinksRemoved, patch, true, json!({ "Links": 1 })),
        (Check::LinksRemoved, patch, true, added("/links/self")),
        (Check::SameId, put, true, json!({ "id": "r2" })),
        (Check::SameEtag, put, true, json!({ "eTag": "\"b\"" })),
        (Check::Substatus, put, true, json!({})),
        (Check::Substatus, patch, true, added("/substatus")),
        (Check::Transition, put, true, json!({ "status": " " })),
        (Check::Transition, patch, true, status),
        (
            Check::PatchOperations,
            patch,
            true,
            json!([{ "op": "remove", "path": "/name" }]),
        ),
    ] {
        let mut rules = policy.active(method);
        if rules.any(|rule| rule.check == check && rule.mode.refuses()) {
            let verdict = judged(policy, method, if_match, body.to_string().as_bytes(), None);
            let is_mended = !verdict.repairs().is_empty();
            assert!(verdict.refuses() || is_mended, "{check:?}: {method} {body}");
        }
    }
}

/// A status that may not follow is refused, and one that may is not, in a PUT and in a patch.
fn check_transitions(policy: &Policy) {
    let rows = &policy.states.rows;
    let few = || rows.iter().take(8);
    for (from, to) in few().flat_map(|from| few().map(move |to| (from, to))) {
        if from.status == to.status {
            continue;
        }
        let (before, after) = (from.substatus.first(), to.substatus.first());
        let state = State {
            status: from.status.as_str().into(),
            substatus: before.map(|text| text.as_str().into()),
        };
        let object = json!({ "status": to.status, "substatus": after });
        let patch = json!([{ "op": "replace", "path": "/status", "value": to.status }]);
        for (method, body) in [
            (Method::Put, &object),
            (Method::Patch, &object),
            (Method::Patch, &patch),
        ] {
            let body = body.to_string();
            let verdict = judged(policy, method, true, body.as_bytes(), Some(&state));
            let mut findings = verdict.findings().iter();
            let found = findings
                .any(|finding| finding.check == Check::Transition && finding.mode.refuses());
            let mut rules = policy.active(method);
            let enforces = rules.any(|rule| rule.check == Check::Transition && rule.mode.refuses());
            let wanted = enforces && !from.next.contains(&to.status);
            assert_eq!(
                found, wanted,
                "{} {method} {body}: {verdict:?}",
                from.status
            );
        }
    }
}

/// Each tenant has its own modes where the document gives it one, and everybody's elsewhere.
fn check_tenants(policy: &Policy) {
    for (alias, _) in policy.tenants() {
        for (rule, its) in policy.rules.iter().zip(&policy.of(Some(alias)).rules) {
            let own = rule.modes.iter().find(|(tenant, _)| tenant == alias);
            let wanted = own.map_or(rule.mode, |(_, mode)| *mode);
            assert_eq!((&its.id, its.mode), (&rule.id, wanted), "{alias}");
        }
    }
}

fuzz_target!(|text: &str| {
    let policy = match Policy::parse(text, "fuzz") {
        Ok(policy) => policy,
        Err(error) => return check_error(&error.to_string(), text),
    };
    assert!(policy.rules.is_sorted_by_key(|rule| rule.check));
    check_tenants(&policy);
    for method in [Method::Put, Method::Patch, Method::Post] {
        check_unreadable(&policy, method);
    }
    // In these tables a blank is a status like any other.
    if !policy.states.rows.iter().any(|row| row.status == " ") {
        check_faults(&policy);
        check_transitions(&policy);
    }
});
