//! What a request is after its rules have mended it, and that nothing else of it changes.
#![expect(clippy::panic, reason = "a test that fails here says so by stopping")]

use http::{HeaderMap, HeaderName, HeaderValue, header};
use proptest::prelude::*;

use super::{STRICT, TAG, judged};
use crate::{
    policy::{
        Context, Method, Policy, Verdict,
        judging::{Payload, Received, Step},
        mend::Mended,
        repair::Repair,
    },
    referral::ReferralId,
};

/// Three rules that mend all that can be mended; the others refuse.
const RULES: &str = "name: test
rules:
  - { id: form, check: well_formed, on: [PUT, PATCH, POST], mode: repair, repairs: [trailing-comma] }
  - { id: tag, check: if_match, on: [PUT], mode: repair, repairs: [quote-if-match, unescape-if-match, if-match-from-body] }
  - { id: links, check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links] }
  - { id: pair, check: substatus, on: [PUT, PATCH], mode: enforce }
states:
  Active: { next: [Active], substatus: [Accepted] }
";

fn policy() -> Policy {
    Policy::parse(RULES, "p.yaml").expect("a policy")
}

#[derive(Debug, Clone)]
struct Sent {
    method: Method,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn put(tags: &[&str], body: impl Into<Vec<u8>>) -> Self {
        let lines = tags.iter().map(|tag| {
            let value = HeaderValue::from_str(tag).expect("a value");
            (header::IF_MATCH, value)
        });
        Self {
            method: Method::Put,
            headers: lines.collect(),
            body: body.into(),
        }
    }

    fn patch(body: &str) -> Self {
        Self {
            method: Method::Patch,
            ..Self::put(&[], body)
        }
    }

    fn received<'a>(&self, id: &'a ReferralId) -> Received<'a, ()> {
        Received {
            method: self.method,
            id: (self.method != Method::Post).then_some(id),
            headers: self.headers.clone(),
            body: Payload::Whole(self.body.clone().into()),
            context: Context::default(),
        }
    }

    /// What the rules find in it, once they have repaired what they can.
    fn judged(&self, policy: &Policy) -> Verdict {
        judged(policy, self.method, &self.headers, &self.body, None)
    }

    /// What is sent in its place, and what is then found.
    fn mended(&self, policy: &Policy) -> Option<(Mended, Verdict)> {
        let id = ReferralId::parse("r1").expect("an id");
        let write = self.received(&id).mend(policy);
        let mending = write.mending()?;
        assert_eq!(
            (&mending.headers, &mending.body[..]),
            (&self.headers, &self.body[..])
        );
        let Payload::Whole(body) = write.body() else {
            panic!("a body that was not read was mended");
        };
        let mended = Mended {
            headers: write.headers().clone(),
            body: body.clone(),
            repairs: mending.repairs.clone(),
            cuts: mending.cuts.clone(),
        };
        Some((mended, self.judged(policy)))
    }

    /// The repairs, the `If-Match` and the body that result, and what is then found.
    #[track_caller]
    fn check(&self, repairs: &[&str], tag: Option<&str>, body: &str, codes: &[&str]) {
        let policy = policy();
        let (mended, verdict) = self.mended(&policy).expect("something is mended");
        let done: Vec<_> = mended
            .repairs
            .iter()
            .map(|(rule, repair)| format!("{rule}:{repair}"))
            .collect();
        assert_eq!(done, repairs);
        assert_eq!(std::str::from_utf8(&mended.body), Ok(body));
        let tags = mended.headers.get_all(header::IF_MATCH);
        let tags: Vec<_> = tags.iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(tags, tag.map(str::as_bytes).into_iter().collect::<Vec<_>>());
        let found: Vec<_> = verdict.findings().iter().map(|found| found.code).collect();
        assert_eq!(found, codes);
    }

    /// It stays as it is, and is refused.
    #[track_caller]
    fn stays(&self, code: &str) {
        let policy = policy();
        assert!(self.mended(&policy).is_none(), "{self:?}");
        let verdict = self.judged(&policy);
        let leading = verdict.leading().map(|finding| finding.code);
        assert_eq!(leading, Some(code), "{self:?}");
    }
}

const GOOD: &str = r#"{"status":"Active","substatus":"Accepted"}"#;
const WITH_TAG: &str = r#"{"status":"Active","substatus":"Accepted","eTag":"\"a-1\""}"#;

#[test]
fn each_repair_mends_by_itself() {
    Sent::put(&[TAG], r#"{"status":"Active","substatus":"Accepted",}"#).check(
        &["form:trailing-comma"],
        Some(TAG),
        GOOD,
        &[],
    );
    Sent::put(
        &[TAG],
        r#"{"status":"Active","links":{},"substatus":"Accepted"}"#,
    )
    .check(&["links:strip-links"], Some(TAG), GOOD, &[]);
    Sent::put(&[" a-1 "], GOOD).check(&["tag:quote-if-match"], Some(r#""a-1""#), GOOD, &[]);
    Sent::put(&[r#"\"a-1\""#], GOOD).check(&["tag:unescape-if-match"], Some(r#""a-1""#), GOOD, &[]);
    Sent::put(&[], WITH_TAG).check(&["tag:if-match-from-body"], Some(r#""a-1""#), WITH_TAG, &[]);
}

#[test]
fn repairs_follow_each_other_in_their_order_not_in_that_of_the_rules() {
    // Neither links nor the tag can be read before the commas are gone.
    Sent::put(
        &[],
        "{\"links\":[1,],\n\"status\":\"Active\",\"substatus\":\"Accepted\",\"eTag\":\"\\\"a-1\\\"\",}",
    )
    .check(
        &["form:trailing-comma", "links:strip-links", "tag:if-match-from-body"],
        Some(r#""a-1""#),
        WITH_TAG,
        &[],
    );
    Sent::put(
        &["a-1"],
        r#"{"status":"Active","substatus":"Accepted","links":{},}"#,
    )
    .check(
        &[
            "form:trailing-comma",
            "links:strip-links",
            "tag:quote-if-match",
        ],
        Some(r#""a-1""#),
        GOOD,
        &[],
    );
}

#[test]
fn a_patch_is_mended_in_both_its_shapes() {
    Sent::patch(r#"{"name":"x","links":{},}"#).check(
        &["form:trailing-comma", "links:strip-links"],
        None,
        r#"{"name":"x"}"#,
        &[],
    );
    Sent::patch(
        r#"[{"op":"add","path":"/links/self","value":1,},{"op":"replace","path":"/name","value":2},]"#,
    )
    .check(
        &["form:trailing-comma", "links:strip-links"],
        None,
        r#"[{"op":"replace","path":"/name","value":2}]"#,
        &[],
    );
}

#[test]
fn what_is_mended_is_judged_again() {
    Sent::put(
        &[TAG],
        r#"{"status":"Sold","substatus":"Accepted","links":{}}"#,
    )
    .check(
        &["links:strip-links"],
        Some(TAG),
        r#"{"status":"Sold","substatus":"Accepted"}"#,
        &["status_unknown"],
    );
    Sent::put(
        &[TAG],
        r#"{"status":"Active","Status":"Active","substatus":"Accepted",}"#,
    )
    .check(
        &["form:trailing-comma"],
        Some(TAG),
        r#"{"status":"Active","Status":"Active","substatus":"Accepted"}"#,
        &["duplicate_member"],
    );
    Sent::put(
        &["*"],
        r#"{"status":"Active","substatus":"Accepted","links":{}}"#,
    )
    .check(
        &["links:strip-links"],
        Some("*"),
        GOOD,
        &["if_match_wildcard"],
    );
    let mut coded = Sent::put(&[TAG], r#"{"status":"Active","substatus":"Accepted",}"#);
    coded
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    coded.check(
        &["form:trailing-comma"],
        Some(TAG),
        GOOD,
        &["content_encoding_unsupported"],
    );
}

#[test]
fn what_cannot_be_mended_is_refused_as_it_stands() {
    for (tags, code) in [
        (&["*"][..], "if_match_wildcard"),
        (&[""], "if_match_empty"),
        (&[r#"W/"a""#], "if_match_weak"),
        (&[r#""a", "b""#], "if_match_several"),
        (&["a", "a"], "if_match_repeated"),
        (&["a", r#""a""#], "if_match_repeated"),
        (&[r#"\"a\""#, r#"\"a\""#], "if_match_repeated"),
        (&["", ""], "if_match_repeated"),
    ] {
        // That the body has a tag does not make up for what is written in the header.
        Sent::put(tags, WITH_TAG).stays(code);
    }
    for body in [
        GOOD,
        r#"{"status":"Active","substatus":"Accepted","eTag":null}"#,
        r#"{"status":"Active","substatus":"Accepted","eTag":"*"}"#,
        r#"{"status":"Active","substatus":"Accepted","eTag":""}"#,
        r#"{"status":"Active","substatus":"Accepted","eTag":"W/\"a\""}"#,
        r#"{"status":"Active","substatus":"Accepted","eTag":["\"a\""]}"#,
    ] {
        Sent::put(&[], body).stays("if_match_missing");
    }
    Sent::put(&[], r#"{"eTag":"\"a\"","ETAG":"\"b\""}"#).stays("duplicate_member");
    for (body, code) in [
        ("{,}", "malformed_json"),
        (r#"{"a":1,,}"#, "malformed_json"),
        ("[1,]", "not_an_object"),
        ("", "empty_body"),
    ] {
        let put = Sent::put(&[TAG], body);
        if body == "[1,]" {
            // One fault less is still a fault.
            put.check(&["form:trailing-comma"], Some(TAG), "[1]", &[code]);
        } else {
            put.stays(code);
        }
    }
    Sent::patch(r#"[{"op":"test","path":"/links","value":1}]"#).stays("links_present");
    Sent::patch(r#"[{"op":"copy","from":"/links","path":"/name"}]"#).stays("links_present");
}

#[test]
fn a_body_that_a_header_vouches_for_is_not_changed() {
    for name in [
        "content-md5",
        "content-digest",
        "repr-digest",
        "digest",
        "signature",
        "x-ms-signature",
    ] {
        let vouched = |tags: &[&str], body: &str| {
            let mut put = Sent::put(tags, body);
            put.headers
                .insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
            put
        };
        vouched(&[TAG], r#"{"status":"Active","substatus":"Accepted",}"#).stays("malformed_json");
        vouched(
            &[TAG],
            r#"{"status":"Active","substatus":"Accepted","links":1}"#,
        )
        .stays("links_present");
        vouched(&["a-1"], GOOD).check(&["tag:quote-if-match"], Some(r#""a-1""#), GOOD, &[]);
    }
}

#[test]
fn a_body_that_was_not_read_is_not_mended() {
    let policy = policy();
    let id = ReferralId::parse("r1").expect("an id");
    let mut received = Sent::put(&["a-1"], "").received(&id);
    received.body = Payload::TooLarge { limit: 8, body: () };
    let mut write = received.mend(&policy);
    assert!(write.mending().is_none());
    let Step::Done(judged) = write.judge(STRICT) else {
        panic!("nothing is asked of a body that was not read");
    };
    let codes: Vec<_> = judged
        .verdict()
        .findings()
        .iter()
        .map(|found| found.code)
        .collect();
    assert_eq!(codes, ["body_too_large", "if_match_unquoted"]);
}

#[test]
fn the_length_is_that_of_the_mended_body_and_no_length_is_made_up() {
    let mut put = Sent::put(&[TAG], r#"{"status":"Active","substatus":"Accepted",}"#);
    let (mended, _) = put.mended(&policy()).expect("mended");
    assert!(!mended.headers.contains_key(header::CONTENT_LENGTH));
    put.headers
        .insert(header::CONTENT_LENGTH, put.body.len().into());
    let (mended, _) = put.mended(&policy()).expect("mended");
    let lengths: Vec<_> = mended
        .headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .collect();
    assert_eq!(lengths, [&HeaderValue::from(GOOD.len())]);
}

#[test]
fn only_rules_that_are_to_repair_do() {
    for mode in ["off", "audit", "warn", "enforce"] {
        let text = RULES
            .replacen(
                "mode: repair",
                &format!("mode: {mode}, modes: {{ t: repair }}"),
                1,
            )
            .replace("[PUT, PATCH, POST]", "[PUT]");
        let policy = Policy::parse(&text, "p.yaml").expect("a policy");
        let put = Sent::put(&[TAG], r#"{"status":"Active","substatus":"Accepted",}"#);
        assert!(put.mended(&policy).is_none(), "{mode}");
        assert!(put.mended(policy.of(Some("t"))).is_some(), "{mode}");
        let patch = Sent::patch(r#"{"name":1,}"#);
        assert!(patch.mended(policy.of(Some("t"))).is_none(), "{mode}");
    }
}

/// A body that is nearly one that passes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let member = prop::sample::select(vec![
        r#""status":"Active""#,
        r#""substatus":"Accepted""#,
        r#""Status":"Sold""#,
        r#""links":{"self":[1,],}"#,
        r#""LINKS":null"#,
        r#""lin\u006bs":[]"#,
        r#""lın\u212As":1"#,
        r#""eTag":"\"a-1\"""#,
        r#""etag":"a-1""#,
        r#""eTag":"\\\"a\\\"""#,
        r#""name":",}""#,
        r#"{"op":"add","path":"/links","value":1}"#,
        r#"{"op":"replace","path":"/name","value":{"links":1,}}"#,
        r#"{"op":"test","path":"/links","value":1}"#,
        "",
    ]);
    let brackets = prop::sample::select(vec![("{", "}"), ("[", "]"), ("{", ""), (" {\n", "\n}\n")]);
    let ends = prop::sample::select(vec!["", ",", " , ", ",,"]);
    let nearly = (prop::collection::vec(member, 0..5), brackets, ends);
    prop_oneof![
        9 => nearly.prop_map(|(members, (open, close), end)| {
            format!("{open}{}{end}{close}", members.join(", ")).into_bytes()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = prop::sample::select(vec![Method::Put, Method::Patch, Method::Post]);
    let tag = r#"(\\?"){0,2}(W/)?[*,\\ab0-9é-]{0,6}(\\?"){0,2}"#;
    let tags = prop::collection::vec(
        prop_oneof![
            tag.prop_map(String::into_bytes),
            prop::collection::vec(32u8..=255, 0..8)
        ],
        0..3,
    );
    let other = prop::sample::select(vec![
        "x-other",
        "content-length",
        "content-encoding",
        "digest",
        "content-type",
    ]);
    (method, tags, prop::option::of(other), body()).prop_map(|(method, tags, other, body)| {
        let mut headers = HeaderMap::new();
        for value in tags
            .iter()
            .filter_map(|tag| HeaderValue::from_bytes(tag).ok())
        {
            headers.append(header::IF_MATCH, value);
        }
        if let Some(name) = other {
            let value = match name {
                "content-length" => body.len().into(),
                _ => HeaderValue::from_static("x"),
            };
            headers.insert(HeaderName::from_static(name), value);
        }
        Sent {
            method,
            headers,
            body,
        }
    })
}

proptest! {
    #[test]
    fn a_repair_leaves_nothing_that_its_rule_finds_there_and_changes_nothing_else(sent in sent()) {
        let policy = policy();
        let Some((mended, verdict)) = sent.mended(&policy) else {
            return Ok(());
        };
        let done = |wanted: Repair| mended.repairs.iter().any(|(_, repair)| *repair == wanted);
        let codes = |check: &str| -> Vec<&str> {
            let of_rule = verdict.findings().iter().filter(|found| &*found.rule == check);
            of_rule.map(|found| found.code).collect()
        };
        // Well-formed is more than having no comma too many: that finding must be gone.
        prop_assert!(!done(Repair::TrailingComma) || !codes("form").contains(&"malformed_json"));
        prop_assert!(!done(Repair::StripLinks) || !codes("links").contains(&"links_present"));
        let names_tag = [Repair::QuoteIfMatch, Repair::UnescapeIfMatch, Repair::IfMatchFromBody];
        prop_assert!(!names_tag.into_iter().any(done) || codes("tag").is_empty());
        // At most one of them: the first that succeeds leaves nothing for the next.
        prop_assert!(names_tag.into_iter().filter(|repair| done(*repair)).count() <= 1);

        // The body is what came, without the cuts, one repair after the other.
        let mut body = sent.body.clone();
        for (_, cuts) in &mended.cuts {
            for cut in cuts.iter().rev() {
                body.drain(cut.clone());
            }
        }
        prop_assert_eq!(&body, &mended.body);
        let cutting = [Repair::TrailingComma, Repair::StripLinks].into_iter().filter(|repair| done(*repair));
        prop_assert!(cutting.eq(mended.cuts.iter().map(|(repair, _)| *repair)));

        // So are the header fields, but for the tag and the length.
        let mut headers = mended.headers.clone();
        let mut before = sent.headers.clone();
        if names_tag.into_iter().any(done) {
            prop_assert_eq!(headers.get_all(header::IF_MATCH).iter().count(), 1);
            headers.remove(header::IF_MATCH);
            before.remove(header::IF_MATCH);
        }
        if let Some(length) = headers.remove(header::CONTENT_LENGTH) {
            prop_assert_eq!(length, HeaderValue::from(mended.body.len()));
            before.remove(header::CONTENT_LENGTH);
        }
        prop_assert_eq!(headers, before);
        // Nothing is left to mend.
        let again = Sent { method: sent.method, headers: mended.headers, body: mended.body.to_vec() };
        prop_assert!(again.mended(&policy).is_none());
    }
}
