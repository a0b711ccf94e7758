//! What is made of a captured request, step by step. That a running gateway does the same is shown from outside.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails here says so by stopping"
)]

use std::{sync::Arc, time::Duration};

use http::{
    HeaderName,
    uri::{Authority, Scheme},
};

use super::{End, Gateway, Given, Outcome, Settings, Tenant};
use crate::{
    capture,
    policy::{
        Policy,
        judging::{self, Decision, Stale, Standing, Unjudged, UnknownState, UnknownStateFailed},
    },
    proxy::{self, RewriteUrls, headers},
    referral::{Sighting, State},
    tenant::{self, Known},
    upstream::Target,
};

const POLICY: &str = include_str!("../../policies/referrals.yaml");
const ITEM: &str = "/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001";

/// What a gateway is set to.
struct Own {
    proxy: proxy::Settings,
    limits: headers::Limits,
    tenants: tenant::Settings,
}

fn gateway(policy: &str, change: impl FnOnce(&mut Own)) -> Gateway {
    let mut own = Own {
        proxy: proxy::Settings {
            max_judged_body: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            min_body_rate: 240,
            rewrite_urls: RewriteUrls::ToCaller,
            judging: judging::Settings {
                unknown_state: UnknownState::Fetch,
                unknown_state_failed: UnknownStateFailed::Refuse,
                stale: Stale::Forward,
            },
        },
        limits: headers::Limits {
            max_bytes: 32 * 1024,
            max_fields: 100,
        },
        tenants: tenant::Settings::default(),
    };
    change(&mut own);
    let settings = Settings {
        proxy: &own.proxy,
        limits: own.limits,
        tenants: &own.tenants,
        target: &Target::Service {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("api.partner.microsoft.com"),
        },
    };
    let policy = Policy::parse(policy, "policy").expect("a policy");
    Gateway::new(settings, Arc::new(policy))
}

fn known(alias: &str, id: &str) -> Known {
    Known {
        alias: alias.to_owned(),
        id: id.to_owned(),
    }
}

fn at(tag: Option<&str>, status: &str, substatus: Option<&str>) -> Sighting {
    Sighting {
        id: None,
        tag: tag.map(|tag| tag.as_bytes().into()),
        state: Some(State {
            status: status.into(),
            substatus: substatus.map(Into::into),
        }),
    }
}

#[track_caller]
fn judge(gateway: &Gateway, request: &str, sightings: &[Sighting]) -> Outcome {
    let captured = capture::read(request.as_bytes(), None, None).expect(request);
    gateway.judge(
        &captured,
        Given {
            sightings,
            tenant: None,
        },
    )
}

fn put(fields: &str, body: &str) -> String {
    format!("PUT {ITEM} HTTP/1.1\nHost: h\n{fields}\n{body}")
}

fn end(outcome: &Outcome) -> String {
    match &outcome.end {
        End::Sent(_) => "sent".to_owned(),
        End::Answered(answer) => answer.status().as_u16().to_string(),
        End::Refused(refusal) => format!("{} {}", refusal.status().as_u16(), refusal.code),
    }
}

const ACTIVE: &str = r#"{"status":"Active","substatus":"Accepted"}"#;

#[test]
fn what_never_becomes_a_request_is_refused_as_hyper_would() {
    let gateway = gateway(POLICY, |own| own.limits.max_fields = 5);
    for (request, expected) in [
        ("G@T / HTTP/1.1\nHost: h\n", "400 malformed_request"),
        ("GET /\"a|b<> HTTP/1.1\nHost: h\n", "400 malformed_request"),
        ("GET / HTTP/1.1\nHost : h\n", "400 malformed_request"),
        (
            "GET / HTTP/1.1\nHost: h\nX: a\u{1}b\n",
            "400 malformed_request",
        ),
        (
            "GET / HTTP/1.1\nHost: h\nA: 1\nB: 2\nC: 3\nD: 4\nE: 5\n",
            "431 header_too_large",
        ),
        ("GET / HTTP/1.1\nHost: h\nA: 1\nB: 2\nC: 3\nD: 4\n", "sent"),
        (
            "curl h -d abc -H 'Content-Length: 3' -H 'Content-Length: 3'",
            "sent",
        ),
        (
            "curl h -d abc -H 'Content-Length: 3' -H 'Content-Length: 4'",
            "400 malformed_request",
        ),
        (
            "curl h -H 'Transfer-Encoding: gzip'",
            "400 malformed_request",
        ),
        (
            "curl h -d x -H 'Transfer-Encoding: chunked' -H 'Content-Length: 1'",
            "400 malformed_request",
        ),
        (
            "curl h -d x -H 'Content-Length: one'",
            "400 malformed_request",
        ),
    ] {
        assert_eq!(end(&judge(&gateway, request, &[])), expected, "{request}");
    }
    let long = format!("GET /{} HTTP/1.1\nHost: h\n", "a".repeat(70_000));
    assert_eq!(end(&judge(&gateway, &long, &[])), "431 header_too_large");
    let roomy = self::gateway(POLICY, |own| own.limits.max_bytes = 100 * 1024);
    assert_eq!(end(&judge(&roomy, &long, &[])), "414 uri_too_long");
}

#[test]
fn the_host_of_a_url_stands_in_for_the_header() {
    let gateway = gateway(POLICY, |_| {});
    for (request, expected) in [
        ("GET / HTTP/1.1\n", "400 bad_host"),
        ("GET https://h/ HTTP/1.1\n", "sent"),
        ("GET https://h/ HTTP/1.1\nHost: H\n", "sent"),
        (
            "GET https://h/ HTTP/1.1\nHost: other\n",
            "400 host_mismatch",
        ),
        ("curl https://h/ -H 'Host: other'", "sent"),
    ] {
        assert_eq!(end(&judge(&gateway, request, &[])), expected, "{request}");
    }
}

#[test]
fn the_state_is_the_one_at_the_named_tag_or_the_last() {
    let gateway = gateway(POLICY, |_| {});
    let (one, two) = (
        at(Some("\"one\""), "Active", Some("Accepted")),
        at(Some("\"two\""), "Closed", Some("Won")),
    );
    let both = [one.clone(), two.clone()];
    let cases: [(&str, &[Sighting], &str, Option<&str>); 7] = [
        ("If-Match: \"one\"\n", &both, "sent", Some("Active")),
        (
            "If-Match: \"two\"\n",
            &both,
            "409 transition_not_allowed",
            Some("Closed"),
        ),
        ("If-Match: \"three\"\n", &both, "sent", None),
        ("If-Match: \"one\"\n", &[], "sent", None),
        (
            "If-Match: \"any\"\n",
            &[at(None, "Closed", Some("Won"))],
            "409 transition_not_allowed",
            Some("Closed"),
        ),
        (
            "If-Match: \"one\"\n",
            &[at(None, "Odd", None)],
            "503 state_unknown",
            None,
        ),
        ("", &both, "428 if_match_missing", None),
    ];
    for (fields, sightings, expected, from) in cases {
        let outcome = judge(&gateway, &put(fields, ACTIVE), sightings);
        assert_eq!(end(&outcome), expected, "{fields} {sightings:?}");
        let state = match &outcome.standing {
            Standing::At { state, .. } => Some(&*state.status),
            Standing::NotAsked | Standing::Unjudged(_) => None,
        };
        assert_eq!(state, from, "{fields} {sightings:?}");
    }
    let other = Sighting {
        id: Some("another".to_owned()),
        ..one
    };
    let outcome = judge(&gateway, &put("If-Match: \"one\"\n", ACTIVE), &[other]);
    assert_eq!(outcome.standing, Standing::Unjudged(Unjudged::NotGiven));
    let unjudged = outcome
        .rules
        .iter()
        .filter(|ruled| ruled.decision == Decision::Unjudged);
    let unjudged: Vec<_> = unjudged.map(|ruled| &*ruled.rule).collect();
    assert_eq!(unjudged, ["transition"]);
}

#[test]
fn a_patch_without_a_tag_is_judged_by_the_last_state_and_unbound() {
    let gateway = gateway(POLICY, |_| {});
    let patch = format!(
        "PATCH {ITEM} HTTP/1.1\nHost: h\n\n{}",
        r#"[{"op":"replace","path":"/status","value":"New"},{"op":"replace","path":"/substatus","value":"Pending"}]"#
    );
    let sightings = [
        at(Some("\"one\""), "New", Some("Pending")),
        at(Some("\"two\""), "Active", Some("Accepted")),
    ];
    let outcome = judge(&gateway, &patch, &sightings);
    assert_eq!(end(&outcome), "409 transition_not_allowed");
    assert!(
        matches!(outcome.standing, Standing::At { bound: false, .. }),
        "{:?}",
        outcome.standing
    );
    assert_eq!(outcome.to.as_deref(), Some("New"));
}

#[test]
fn settings_decide_what_an_unknown_state_leads_to() {
    let request = put("If-Match: \"one\"\n", ACTIVE);
    let moved = [at(Some("\"two\""), "New", Some("Pending"))];
    type Change = fn(&mut judging::Settings);
    let changes: [(Change, _, _); 4] = [
        (
            |judging| judging.stale = Stale::Refuse,
            "412 stale_etag",
            Unjudged::StaleEtag,
        ),
        (
            |judging| judging.stale = Stale::Forward,
            "sent",
            Unjudged::MovedOn,
        ),
        (
            |judging| judging.unknown_state = UnknownState::Refuse,
            "503 state_unknown",
            Unjudged::StateUnknown,
        ),
        (
            |judging| judging.unknown_state = UnknownState::Forward,
            "sent",
            Unjudged::UnknownState,
        ),
    ];
    for (change, expected, why) in changes {
        let gateway = gateway(POLICY, |own| change(&mut own.proxy.judging));
        let outcome = judge(&gateway, &request, &moved);
        assert_eq!(end(&outcome), expected, "{why:?}");
        assert_eq!(outcome.standing, Standing::Unjudged(why), "{why:?}");
    }
}

#[test]
fn what_is_mended_is_shown_with_the_bytes_around_it() {
    let policy = POLICY
        .replace(
            "check: links_removed, on: [PUT, PATCH], mode: enforce",
            "check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links]",
        )
        .replace(
            "check: if_match, on: [PUT], mode: enforce",
            "check: if_match, on: [PUT], mode: repair, repairs: [quote-if-match]",
        );
    assert_ne!(policy, POLICY);
    let body = r#"{"status":"Active","substatus":"Accepted","links":{"self":1},"name":"n"}"#;
    let outcome = judge(
        &gateway(&policy, |_| {}),
        &put("If-Match: abc\nContent-Length: 72\n", body),
        &[at(Some("\"abc\""), "New", Some("Pending"))],
    );
    let End::Sent(sent) = &outcome.end else {
        panic!("{outcome:?}");
    };
    let expected = r#"{"status":"Active","substatus":"Accepted","name":"n"}"#;
    assert_eq!(sent.body, expected);
    assert_eq!(sent.headers["content-length"], expected.len().to_string());
    assert_eq!(sent.headers["if-match"], "\"abc\"");
    let mending = outcome.mending.as_ref().expect("it was mended");
    let [cut] = &mending.cuts[..] else {
        panic!("{mending:?}");
    };
    assert_eq!(
        body.find(str::from_utf8(&cut.bytes).expect("text")),
        Some(cut.at)
    );
    assert!(cut.before.ends_with(b"Accepted\"") || cut.before.ends_with(b"\","));
    let (came, goes) = mending.if_match.as_ref().expect("If-Match was mended");
    assert_eq!(
        (came.as_ref().expect("it came"), goes),
        (
            &"abc".parse().expect("a value"),
            &"\"abc\"".parse().expect("a value")
        )
    );
    let mended: Vec<_> = outcome
        .rules
        .iter()
        .filter(|ruled| ruled.decision == Decision::Repaired && !ruled.findings.is_empty())
        .map(|ruled| &*ruled.rule)
        .collect();
    assert_eq!(mended, ["if-match", "links-removed"]);
    assert_eq!(
        outcome.annotations["referral-gateway-repaired"],
        "strip-links, quote-if-match"
    );
}

#[test]
fn the_tenant_is_the_given_one_or_what_the_request_tells() {
    let policy = POLICY.replace(
        "check: if_match, on: [PUT], mode: enforce",
        "check: if_match, on: [PUT], mode: enforce, modes: { contoso: audit }",
    );
    let gateway = gateway(&policy, |own| {
        own.tenants.known = vec![known("contoso", "T1")];
        own.tenants.header = Some(HeaderName::from_static("x-tenant"));
    });
    // {"tid":"t1"}
    let token = "Authorization: Bearer e30.eyJ0aWQiOiJ0MSJ9.x\n";
    for (fields, given, whose, expected) in [
        ("", None, Tenant::Anonymous, "428 if_match_missing"),
        (
            "",
            Some("contoso"),
            Tenant::Given("contoso".to_owned()),
            "sent",
        ),
        (token, None, Tenant::Token("contoso".to_owned()), "sent"),
        (
            "X-Tenant: t1\n",
            None,
            Tenant::Header("contoso".to_owned()),
            "428 if_match_missing",
        ),
        (
            "X-Tenant: t2\n",
            None,
            Tenant::Unknown,
            "428 if_match_missing",
        ),
    ] {
        let request = put(fields, ACTIVE);
        let captured = capture::read(request.as_bytes(), None, None).expect("a request");
        let outcome = gateway.judge(
            &captured,
            Given {
                sightings: &[],
                tenant: given,
            },
        );
        let is_known = !matches!(whose, Tenant::Anonymous | Tenant::Unknown);
        assert_eq!(
            outcome.tenant.alias(),
            is_known.then_some("contoso"),
            "{fields}"
        );
        assert_eq!(outcome.tenant, whose, "{fields}");
        assert_eq!(end(&outcome), expected, "{fields}");
    }
}

#[test]
fn an_expression_sees_the_id_of_the_given_tenant() {
    let policy = r#"
name: p
rules:
  - { id: tenant, check: expression, on: [PUT], mode: enforce, expression: "tenant.id == 'T1'", message: m }
states:
  New: { next: [New], substatus: [Pending] }
"#;
    let gateway = gateway(policy, |own| {
        own.tenants.known = vec![known("contoso", "T1"), known("fabrikam", "T2")];
    });
    // {"tid":"T1"}
    let token = "Authorization: Bearer e30.eyJ0aWQiOiJUMSJ9.x\n";
    for (fields, given, expected) in [
        ("", Some("contoso"), "sent"),
        ("", Some("fabrikam"), "403 expression_not_met"),
        (token, Some("fabrikam"), "403 expression_not_met"),
        (token, Some("nobody"), "403 expression_not_met"),
        (token, None, "sent"),
        ("", None, "403 expression_not_met"),
    ] {
        let request = put(fields, ACTIVE);
        let captured = capture::read(request.as_bytes(), None, None).expect("a request");
        let outcome = gateway.judge(
            &captured,
            Given {
                sightings: &[],
                tenant: given,
            },
        );
        assert_eq!(end(&outcome), expected, "{fields} {given:?}");
    }
}

#[test]
fn cuts_are_places_in_the_body_as_it_was_before_their_repair() {
    let policy = POLICY
        .replace(
            "check: links_removed, on: [PUT, PATCH], mode: enforce",
            "check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links]",
        )
        .replace(
            "check: well_formed, on: [PUT, PATCH, POST], mode: enforce",
            "check: well_formed, on: [PUT, PATCH, POST], mode: repair, repairs: [trailing-comma]",
        );
    let body = r#"{"status":"Active","team":[1,],"substatus":"Accepted","links":{"self":1}}"#;
    let outcome = judge(
        &gateway(&policy, |_| {}),
        &put("If-Match: \"a\"\n", body),
        &[at(None, "New", Some("Pending"))],
    );
    let End::Sent(sent) = &outcome.end else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        sent.body,
        r#"{"status":"Active","team":[1],"substatus":"Accepted"}"#
    );
    let mending = outcome.mending.as_ref().expect("it was mended");
    let cuts = mending.cuts.iter();
    let cuts: Vec<_> = cuts
        .map(|cut| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            (
                cut.at,
                text(&cut.before),
                text(&cut.bytes),
                text(&cut.after),
            )
        })
        .collect();
    let text = str::to_owned;
    assert_eq!(
        cuts,
        [
            (
                28,
                text(r#"atus":"Active","team":[1"#),
                text(","),
                text(r#"],"substatus":"Accepted""#)
            ),
            (
                52,
                text(r#"],"substatus":"Accepted""#),
                text(r#","links":{"self":1}"#),
                text("}")
            )
        ]
    );
}

#[test]
fn a_body_of_the_largest_judged_size_is_judged() {
    let largest = ACTIVE.len();
    for (limit, expected) in [(largest, "sent"), (largest - 1, "413 body_too_large")] {
        let gateway = gateway(POLICY, |own| own.proxy.max_judged_body = limit);
        let request = put("If-Match: \"a\"\n", ACTIVE);
        let outcome = judge(&gateway, &request, &[at(None, "New", Some("Pending"))]);
        assert_eq!(end(&outcome), expected, "{limit}");
    }
}

#[test]
fn a_length_that_is_not_the_bodys_is_told_and_mended() {
    let gateway = gateway(POLICY, |_| {});
    let outcome = judge(
        &gateway,
        "curl https://h/x -d abcdef -H 'Content-Length: 6'",
        &[],
    );
    assert!(
        !outcome
            .notices
            .iter()
            .any(|notice| notice.contains("Content-Length")),
        "{:?}",
        outcome.notices
    );
    let outcome = judge(
        &gateway,
        "curl https://h/x -d abcdef -H 'Content-Length: 4'",
        &[],
    );
    let [notice] = &outcome.notices[..] else {
        panic!("{:?}", outcome.notices);
    };
    assert!(
        notice.contains("says 4") && notice.contains("6 bytes"),
        "{notice}"
    );
    let End::Sent(sent) = &outcome.end else {
        panic!("{outcome:?}");
    };
    assert_eq!(sent.headers["content-length"], "6");
    assert_eq!(sent.headers["host"], "api.partner.microsoft.com");
}

#[test]
fn options_that_may_not_be_forwarded_are_answered() {
    let gateway = gateway(POLICY, |_| {});
    let options = |value: &str| {
        format!("OPTIONS {ITEM} HTTP/1.1\nHost: h\nMax-Forwards: {value}\nAuthorization: x\n")
    };
    for (value, expected) in [("0", "200"), ("1", "sent"), ("x", "sent")] {
        let outcome = judge(&gateway, &options(value), &[]);
        assert_eq!(end(&outcome), expected, "{value}");
    }
    let End::Answered(answer) = judge(&gateway, &options("0"), &[]).end else {
        panic!("it is answered");
    };
    assert_eq!(
        answer.headers()["allow"],
        "GET, HEAD, OPTIONS, PUT, PATCH, DELETE"
    );
}
