//! The rules on PUT: what is refused, with which words, and that what passes is untouched.

use crate::support::{Answer, Gateway, ID, ITEM, TAG, Upstream, body, referral, reply};

const RULES: [&str; 7] = [
    "well-formed",
    "if-match",
    "links-removed",
    "substatus",
    "transition",
    "same-id",
    "same-etag",
];

/// The document as shipped, but every rule in `mode`, save those named.
fn document(mode: &str, other: &[(&str, &str)]) -> String {
    let rules: String = RULES
        .iter()
        .map(|id| {
            let mode = other
                .iter()
                .find(|(rule, _)| rule == id)
                .map_or(mode, |(_, mode)| mode);
            format!(
                "  - {{ id: {id}, check: {}, on: [PUT], mode: {mode} }}\n",
                id.replace('-', "_")
            )
        })
        .collect();
    format!(
        "name: custom
rules:
{rules}states:
  New:    {{ next: [New, Active, Closed], substatus: [Pending, Received] }}
  Active: {{ next: [Active, Closed], substatus: [Accepted] }}
  Closed: {{ next: [Closed], substatus: [Won, Lost, Declined, Expired], substatus_may_change: false }}
"
    )
}

/// A body whose members are exactly these.
fn members(text: &str) -> String {
    format!("{{{text}}}")
}

const GOOD: &str = r#""status":"Active","substatus":"Accepted""#;

#[tokio::test]
async fn a_put_without_a_usable_if_match_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases: [(&[&str], &str, &str); 17] = [
        (&[], "if_match_missing", ""),
        (&[""], "if_match_empty", ""),
        (&["   "], "if_match_empty", ""),
        (&["*"], "if_match_wildcard", "*"),
        (&[r#"W/"abc""#], "if_match_weak", "abc"),
        (&["abc"], "if_match_unquoted", "abc"),
        (
            &["0a00b1c2-0000-0100-0000-65f01d420000"],
            "if_match_unquoted",
            "0a00b1c2-0000-0100-0000-65f01d420000",
        ),
        (&[r#"\"abc\""#], "if_match_escaped", "abc"),
        (&[r#""\"abc\"""#], "if_match_escaped", "abc"),
        (&[r#""abc"#], "if_match_malformed", "abc"),
        (&[r#"abc""#], "if_match_malformed", "abc"),
        (&[r#""a b""#], "if_match_malformed", "a b"),
        (&[r#""abc" x"#], "if_match_malformed", "abc"),
        (&[r#""a", "b""#], "if_match_several", ""),
        (&[r#""a","b""#], "if_match_several", ""),
        (&[TAG, TAG], "if_match_repeated", ""),
        (&[TAG, "*"], "if_match_repeated", ""),
    ];

    for (tags, code, shown) in cases {
        let call = tags.iter().fold(
            gateway.put(ITEM, body("Active", "Accepted")),
            |call, tag| call.if_match(tag),
        );
        let answer = call.send().await;

        assert_eq!(answer.status, 428, "{tags:?}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{tags:?}");
        assert_eq!(problem.findings(), [code], "{tags:?}");
        let finding = problem.finding(code);
        assert_eq!(finding["rule"], "if-match");
        let fix = finding["fix"].as_str().unwrap();
        assert!(
            fix.contains('"') || fix.contains("eTag"),
            "{tags:?}: the right form is not shown: {fix}"
        );
        let words = finding.to_string();
        assert!(
            words.contains(shown),
            "{tags:?}: the value received is not shown: {words}"
        );
    }

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn the_order_of_two_if_match_lines_does_not_matter() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for names in [["If-Match", "if-match"], ["IF-MATCH", "If-Match"]] {
        let call = gateway
            .put(ITEM, body("Active", "Accepted"))
            .header(names[0], "")
            .header(names[1], TAG);
        assert_eq!(call.send().await.problem().code, "if_match_repeated");
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_one_plain_json_object_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let deep = |depth: usize| {
        format!(
            r#"{{{GOOD},"x":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let utf16: Vec<u8> = body("Active", "Accepted")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut bad_utf8 = members(&format!("{GOOD},\"x\":\"?\"")).into_bytes();
    let at = bad_utf8.iter().position(|byte| *byte == b'?').unwrap();
    bad_utf8[at] = 0xff;
    let mut overlong = bad_utf8.clone();
    overlong.splice(at..=at, [0xc0, 0xaf]);

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "trailing comma",
            members(&format!("{GOOD},")).into(),
            "malformed_json",
        ),
        (
            "comma in an array",
            members(&format!(r#"{GOOD},"x":[1,]"#)).into(),
            "malformed_json",
        ),
        (
            "line comment",
            format!("// hi\n{{{GOOD}}}").into(),
            "malformed_json",
        ),
        (
            "block comment",
            members(&format!("{GOOD}/* hi */")).into(),
            "malformed_json",
        ),
        (
            "single quotes",
            b"{'status':'Active','substatus':'Accepted'}".to_vec(),
            "malformed_json",
        ),
        (
            "bare name",
            b"{status:\"Active\",\"substatus\":\"Accepted\"}".to_vec(),
            "malformed_json",
        ),
        (
            "NaN",
            members(&format!(r#"{GOOD},"x":NaN"#)).into(),
            "malformed_json",
        ),
        (
            "Infinity",
            members(&format!(r#"{GOOD},"x":-Infinity"#)).into(),
            "malformed_json",
        ),
        (
            "hexadecimal",
            members(&format!(r#"{GOOD},"x":0x10"#)).into(),
            "malformed_json",
        ),
        (
            "leading zero",
            members(&format!(r#"{GOOD},"x":01"#)).into(),
            "malformed_json",
        ),
        (
            "truncated",
            br#"{"status":"Active","substatus":"Acc"#.to_vec(),
            "malformed_json",
        ),
        (
            "two objects",
            format!("{{{GOOD}}}{{{GOOD}}}").into(),
            "malformed_json",
        ),
        (
            "something after",
            format!("{{{GOOD}}} x").into(),
            "malformed_json",
        ),
        (
            "a raw line end in a string",
            members(&format!("{GOOD},\"x\":\"a\nb\"")).into(),
            "malformed_json",
        ),
        (
            "unknown escape",
            members(&format!(r#"{GOOD},"x":"\q""#)).into(),
            "malformed_json",
        ),
        (
            "byte order mark",
            [b"\xef\xbb\xbf".as_slice(), members(GOOD).as_bytes()].concat(),
            "malformed_json",
        ),
        ("bad UTF-8", bad_utf8, "invalid_utf8"),
        ("overlong UTF-8", overlong, "invalid_utf8"),
        ("empty", Vec::new(), "empty_body"),
        ("array", format!("[{{{GOOD}}}]").into(), "not_an_object"),
        ("string", b"\"Active\"".to_vec(), "not_an_object"),
        ("number", b"1".to_vec(), "not_an_object"),
        ("null", b"null".to_vec(), "not_an_object"),
        ("deep", deep(200).into(), "nested_too_deep"),
        ("a little too deep", deep(64).into(), "nested_too_deep"),
        ("very deep", deep(100_000).into(), "nested_too_deep"),
        (
            "status twice",
            members(&format!(r#"{GOOD},"status":"Closed""#)).into(),
            "duplicate_member",
        ),
        (
            "status twice, alike",
            members(&format!(r#"{GOOD},"status":"Active""#)).into(),
            "duplicate_member",
        ),
        (
            "two spellings",
            members(&format!(r#"{GOOD},"Status":"Closed""#)).into(),
            "duplicate_member",
        ),
        (
            "shouted",
            members(&format!(r#"{GOOD},"SUBSTATUS":"Won""#)).into(),
            "duplicate_member",
        ),
        (
            "escaped",
            members(&format!(r#"{GOOD},"st\u0061tus":"Closed""#)).into(),
            "duplicate_member",
        ),
        (
            "escaped and shouted",
            members(&format!(r#"{GOOD},"\u0053TATUS":"Closed""#)).into(),
            "duplicate_member",
        ),
        (
            "id twice",
            members(&format!(r#"{GOOD},"id":"{ID}","ID":"x""#)).into(),
            "duplicate_member",
        ),
        (
            "eTag twice",
            members(&format!(r#"{GOOD},"eTag":"\"a\"","etag":"\"b\"""#)).into(),
            "duplicate_member",
        ),
        (
            "links twice",
            members(&format!(r#"{GOOD},"links":{{}},"Links":{{}}"#)).into(),
            "duplicate_member",
        ),
        (
            "long s",
            members(&format!(r#"{GOOD},"ſtatus":"Closed""#)).into(),
            "ambiguous_member",
        ),
        (
            "long s, escaped",
            members(&format!(r#"{GOOD},"\u017ftatus":"Closed""#)).into(),
            "ambiguous_member",
        ),
        (
            "Kelvin sign",
            members(&format!("{GOOD},\"lin\u{212a}s\":{{}}")).into(),
            "ambiguous_member",
        ),
        (
            "Kelvin sign, escaped",
            members(&format!(r#"{GOOD},"LIN\u212aS":{{}}"#)).into(),
            "ambiguous_member",
        ),
    ];

    for (name, body, code) in cases {
        let answer = gateway.put(ITEM, &body).if_match(TAG).send().await;

        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{name}: {:#}", problem.value);
        assert_eq!(problem.finding(code)["rule"], "well-formed", "{name}");
        if matches!(code, "malformed_json" | "duplicate_member") {
            let words = problem.finding(code)["message"]
                .as_str()
                .unwrap()
                .to_lowercase();
            assert!(
                words.contains("line ") && words.contains("column "),
                "{name}: no place in {words}"
            );
        }
    }
    // What looks like another encoding is refused under whichever name.
    let answer = gateway.put(ITEM, &utf16).if_match(TAG).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    answer.problem();

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn the_place_of_a_mistake_is_named() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let text = "{\n  \"status\": \"Active\",\n  \"substatus\": \"Accepted\",\n}";
    let problem = gateway.put(ITEM, text).if_match(TAG).send().await.problem();

    let message = problem.finding("malformed_json")["message"]
        .as_str()
        .unwrap()
        .to_lowercase();
    assert!(
        message.contains("line 4, column 1") || message.contains("line 4 column 1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_judged_write_in_another_encoding_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases = [
        ("Content-Encoding", "gzip", "content_encoding_unsupported"),
        ("Content-Encoding", "br", "content_encoding_unsupported"),
        (
            "Content-Encoding",
            "deflate, gzip",
            "content_encoding_unsupported",
        ),
        (
            "Content-Encoding",
            "x-unknown",
            "content_encoding_unsupported",
        ),
        (
            "Content-Type",
            "application/json; charset=utf-16",
            "charset_unsupported",
        ),
        (
            "Content-Type",
            "application/json;charset=\"iso-8859-1\"",
            "charset_unsupported",
        ),
        (
            "Content-Type",
            "application/json; CHARSET=utf-7",
            "charset_unsupported",
        ),
        (
            "Content-Type",
            "multipart/form-data; boundary=x",
            "media_type_unsupported",
        ),
        (
            "Content-Type",
            "multipart/mixed; boundary=x",
            "media_type_unsupported",
        ),
        (
            "Content-Type",
            "application/x-www-form-urlencoded",
            "media_type_unsupported",
        ),
        ("Content-Type", "application/xml", "media_type_unsupported"),
        ("Content-Type", "text/plain", "media_type_unsupported"),
    ];

    for (name, value, code) in cases {
        let answer = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .set(name, value)
            .send()
            .await;

        assert_eq!(answer.status, 415, "{name}: {value}: {}", answer.text());
        assert_eq!(answer.problem().code, code, "{name}: {value}");
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn two_content_types_do_not_bring_a_put_past_the_rules() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for types in [
        ["application/json", "text/plain"],
        ["application/json", "application/json; charset=utf-16"],
    ] {
        let call = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .without("Content-Type");
        let answer = types
            .iter()
            .fold(call, |call, value| call.header("Content-Type", value))
            .send()
            .await;
        assert!(
            matches!(answer.status, 400 | 415),
            "{types:?}: {}",
            answer.status
        );
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn the_usual_ways_to_say_json_pass() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for value in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
        "application/json;odata.metadata=minimal",
    ] {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let call = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .set("Content-Type", value);
        assert_eq!(call.send().await.status, 200, "{value}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_declared_or_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { max_judged_body: 1KiB }")
        .start(&upstream)
        .await;
    let padded = |length: usize| {
        let start = format!("{{{GOOD},\"x\":\"");
        format!("{start}{}\"}}", "x".repeat(length - start.len() - 2))
    };

    let declared = gateway.put(ITEM, padded(1025)).if_match(TAG).send().await;
    assert_eq!(
        (declared.status, declared.problem().code.as_str()),
        (413, "body_too_large")
    );

    let chunked = gateway
        .put(ITEM, format!("401\r\n{}\r\n0\r\n\r\n", padded(1025)))
        .if_match(TAG)
        .header("Transfer-Encoding", "chunked")
        .send()
        .await;
    assert_eq!(
        (chunked.status, chunked.problem().code.as_str()),
        (413, "body_too_large")
    );
    assert_eq!(upstream.count("PUT"), 0);

    let at_the_limit = gateway.put(ITEM, padded(1024)).if_match(TAG).send().await;
    assert_eq!(at_the_limit.status, 200);
    assert_eq!(upstream.only("PUT").body, padded(1024).as_bytes());
}

#[tokio::test]
async fn a_body_with_links_or_with_a_wrong_status_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases = [
        (format!(r#"{GOOD},"links":{{}}"#), "links_present"),
        (format!(r#"{GOOD},"links":null"#), "links_present"),
        (format!(r#"{GOOD},"links":[]"#), "links_present"),
        (format!(r#"{GOOD},"links":false"#), "links_present"),
        (
            format!(r#"{GOOD},"Links":{{"self":{{}}}}"#),
            "links_present",
        ),
        (format!(r#"{GOOD},"LINKS":{{}}"#), "links_present"),
        (format!(r#"{GOOD},"\u006cinks":{{}}"#), "links_present"),
        (format!(r#"{GOOD},"\u004CINK\u0053":{{}}"#), "links_present"),
        (r#""substatus":"Accepted""#.to_owned(), "status_missing"),
        (
            r#""status":null,"substatus":"Accepted""#.to_owned(),
            "status_not_a_string",
        ),
        (
            r#""status":1,"substatus":"Accepted""#.to_owned(),
            "status_not_a_string",
        ),
        (
            r#""status":["Active"],"substatus":"Accepted""#.to_owned(),
            "status_not_a_string",
        ),
        (
            r#""status":{"x":"Active"},"substatus":"Accepted""#.to_owned(),
            "status_not_a_string",
        ),
        (
            r#""status":true,"substatus":"Accepted""#.to_owned(),
            "status_not_a_string",
        ),
        (
            r#""status":"Open","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":"active","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":" Active ","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":"1","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":"","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":"None","substatus":"None""#.to_owned(),
            "status_unknown",
        ),
        (
            r#""status":"Active,Closed","substatus":"Accepted""#.to_owned(),
            "status_unknown",
        ),
        (r#""status":"Active""#.to_owned(), "substatus_missing"),
        (
            r#""status":"Active","substatus":null"#.to_owned(),
            "substatus_not_a_string",
        ),
        (
            r#""status":"Active","substatus":3"#.to_owned(),
            "substatus_not_a_string",
        ),
        (
            r#""status":"Active","substatus":"accepted""#.to_owned(),
            "substatus_unknown",
        ),
        (
            r#""status":"Active","substatus":"Error""#.to_owned(),
            "substatus_unknown",
        ),
        (
            r#""status":"Active","substatus":"None""#.to_owned(),
            "substatus_unknown",
        ),
        (
            r#""status":"Active","substatus":"Won""#.to_owned(),
            "substatus_not_allowed",
        ),
        (
            r#""status":"Active","substatus":"Pending""#.to_owned(),
            "substatus_not_allowed",
        ),
        (
            r#""status":"New","substatus":"Accepted""#.to_owned(),
            "substatus_not_allowed",
        ),
        (
            r#""status":"Closed","substatus":"Accepted""#.to_owned(),
            "substatus_not_allowed",
        ),
        (
            r#""status":"Closed","substatus":"Received""#.to_owned(),
            "substatus_not_allowed",
        ),
        (
            format!(r#"{GOOD},"id":"5f1c2d3e-0001-4a4a-9b9b-00000000a002""#),
            "id_mismatch",
        ),
        (
            format!(r#"{GOOD},"ID":"5f1c2d3e-0001-4a4a-9b9b-00000000a002""#),
            "id_mismatch",
        ),
        (format!(r#"{GOOD},"id":null"#), "id_mismatch"),
        (format!(r#"{GOOD},"id":7"#), "id_mismatch"),
    ];

    for (text, code) in cases {
        let answer = gateway.put(ITEM, members(&text)).if_match(TAG).send().await;

        assert_eq!(answer.status, 422, "{text}: {}", answer.text());
        let problem = answer.problem();
        assert!(
            problem.findings().contains(&code),
            "{text}: {:#}",
            problem.value
        );
        assert_eq!(problem.code, code, "{text}");
        assert!(
            problem.finding(code)["fix"]
                .as_str()
                .is_some_and(|fix| !fix.is_empty()),
            "{text}"
        );
    }

    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn an_unknown_value_is_answered_with_the_nearest_known_one() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (status, substatus, code, nearest) in [
        ("closed", "Won", "status_unknown", "Closed"),
        ("Actve", "Accepted", "status_unknown", "Active"),
        (" New ", "Pending", "status_unknown", "New"),
        ("Closed", "won", "substatus_unknown", "Won"),
        ("Closed", "Expird", "substatus_unknown", "Expired"),
    ] {
        let answer = gateway
            .put(ITEM, body(status, substatus))
            .if_match(TAG)
            .send()
            .await;
        let problem = answer.problem();
        let fix = problem.finding(code)["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains(nearest), "{status}/{substatus}: {fix}");
    }
}

#[tokio::test]
async fn a_name_that_only_contains_a_guarded_one_is_not_guarded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for text in [
        format!(r#"{GOOD},"linksto":1,"_links":2,"link":3," links":4"#),
        format!(r#"{GOOD},"details":{{"links":{{}},"status":"x","status":"y"}}"#),
        format!(r#"{GOOD},"statusReason":"links","statusReason":"status""#),
        format!(r#"{GOOD},"team":[{{"id":"other"}}],"target":[{{"id":1}}]"#),
    ] {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let answer = gateway.put(ITEM, members(&text)).if_match(TAG).send().await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_passes_is_untouched_to_the_last_byte() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let bodies = [
        body("Active", "Accepted"),
        format!(
            "\r\n\t {{ \"substatus\" :\"Accepted\",\n\n\"status\"\t:\"Active\" , \"eTag\": {} }} \r\n",
            serde_json::to_string(TAG).unwrap()
        ),
        members(&format!(
            r#"{GOOD},"dealValue":50000.00,"big":1e400,"small":-0.0E-10,"long":123456789012345678901234567890.10"#
        )),
        members(&format!(
            r#"{GOOD},"updatedDateTime":"2018-11-06T18:40:42.6178337Z","createdDateTime":"2024-03-12T09:15:46.04217Z""#
        )),
        members(&format!(
            r#""zeta":1,{GOOD},"alpha":{{"b":[],"a":{{}}}},"@odata.context":"x","":0"#
        )),
        members(&format!(
            r#"{GOOD},"x":1,"x":2,"X":3,"details":{{"y":1,"y":2}}"#
        )),
        members(&format!(
            r#"{GOOD},"text":"\u00e9é\ud83d\ude00\/😀\t","\u0065xtra":true"#
        )),
        members(r#""st\u0061tus":"Act\u0069ve","Substatus":"Accepted""#),
        members(&format!(r#"{GOOD},"id":"{ID}""#)),
        members(&format!(r#"{GOOD},"id":"{}""#, ID.to_uppercase())),
        members(&format!(
            r#"{GOOD},"deep":{}{}"#,
            "[".repeat(60),
            "]".repeat(60)
        )),
    ];

    for (number, body) in bodies.iter().enumerate() {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let answer = gateway.put(ITEM, body).if_match(TAG).send().await;

        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert!(!answer.is_ours());
        let puts: Vec<_> = upstream
            .seen()
            .into_iter()
            .filter(|seen| seen.method == "PUT")
            .collect();
        assert_eq!(puts.len(), number + 1);
        assert_eq!(String::from_utf8_lossy(&puts[number].body), *body);
        assert_eq!(puts[number].target(), ITEM);
    }
}

#[tokio::test]
async fn an_entity_tag_passes_character_for_character() {
    let upstream =
        Upstream::with(|seen| async move { (seen.method == "PUT").then(|| reply(200, "{}")) })
            .await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    let tags = [
        TAG,
        "\"\"",
        "\"!#$%&'()*+,-./:;<=>?@[]^_`{|}~\"",
        "\"a,b\"",
        "\"é\"",
        "\"W/x\"",
        "\"*\"",
        "\"ABCdef\"",
    ];

    for (number, tag) in tags.into_iter().enumerate() {
        let answer = gateway.put(ITEM, members(GOOD)).if_match(tag).send().await;

        assert_eq!(answer.status, 200, "{tag}: {}", answer.text());
        assert_eq!(
            upstream.seen()[number].header("if-match").as_deref(),
            Some(tag)
        );
    }
}

const SEED_SHAPE: &str = r#" {
    "id": "49d90c72-0000-4f61-aacc-2cb57970448c",
    "engagementId": "37ef26aa-0000-4533-9f93-a69bd33ab1e5",
    "createdDateTime": "2018-11-06T18:40:42.6178337Z",
    "updatedDateTime": "2018-11-06T18:40:42.6178337Z",
    "status": "Closed",
    "substatus": "Won",
    "statusReason": "Customer engagement was a success!",
    "type": "Independent",
    "consent": {
        "consentToToShareInfoWithOthers": true,
        "consentToContact": true
    },
    "details": {
        "dealValue": 50000,
        "currency": "USD"
    },
    "team": [],
    "eTag": "\"2500ec5a-0000-0000-0000-5bf4967d0000\"",

}
"#;

#[tokio::test]
async fn the_documented_example_is_refused_with_both_its_faults_and_passes_when_they_are_mended() {
    let id = "49d90c72-0000-4f61-aacc-2cb57970448c";
    let tag = "\"2500ec5a-0000-0000-0000-5bf4967d0000\"";
    let path = format!("/v1.0/engagements/referrals/{id}");
    let upstream = Upstream::start().await;
    upstream.hold(id, "Active", "Accepted", tag);
    let gateway = Gateway::start(&upstream).await;

    let refused = gateway.put(&path, SEED_SHAPE).send().await;
    assert_eq!(refused.status, 400);
    let problem = refused.problem();
    assert_eq!(problem.code, "malformed_json");
    assert_eq!(problem.findings(), ["malformed_json", "if_match_missing"]);
    assert!(upstream.seen().is_empty());

    let mended = SEED_SHAPE.replace("\",\n\n}", "\"\n}");
    let passed = gateway.put(&path, &mended).if_match(tag).send().await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(upstream.only("PUT").body, mended.as_bytes());
}

#[tokio::test]
async fn every_finding_is_reported_and_the_first_rule_decides_the_status() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let text = r#""id":"other","links":{},"status":"Open","substatus":"Won""#;
    let answer = gateway.put(ITEM, members(text)).send().await;
    assert_eq!(answer.status, 428);
    let problem = answer.problem();
    assert_eq!(
        problem.findings(),
        [
            "if_match_missing",
            "links_present",
            "status_unknown",
            "id_mismatch"
        ]
    );
    let rules: Vec<_> = problem
        .findings()
        .iter()
        .map(|code| problem.finding(code)["rule"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(rules, ["if-match", "links-removed", "substatus", "same-id"]);
    assert!(upstream.seen().is_empty());

    let text = r#""id":"other","links":{},"status":"Active","substatus":"Won""#;
    let answer = gateway.put(ITEM, members(text)).if_match(TAG).send().await;
    assert_eq!(answer.status, 422);
    let problem = answer.problem();
    assert_eq!(problem.code, "links_present");
    assert!(
        problem.findings().ends_with(&["id_mismatch"]),
        "{:?}",
        problem.findings()
    );
    assert!(problem.findings().contains(&"substatus_not_allowed"));
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_caller_that_asks_for_problem_json_gets_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let call = gateway.put(ITEM, body("Active", "Accepted"));

    for (accept, expected) in [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/problem+json", "application/problem+json"),
        (
            "application/problem+json, application/json;q=0.5",
            "application/problem+json",
        ),
    ] {
        let answer = call.clone().header("Accept", accept).send().await;
        answer.problem();
        assert!(
            answer.header("content-type").unwrap().starts_with(expected),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn a_tag_in_the_body_that_differs_is_a_warning_by_default() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let sent = referral::of(ID, "Active", "Accepted", "\"another\"");
    let answer = gateway.put(ITEM, &sent).if_match(TAG).send().await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let warning = answer.header("warning").expect("a Warning");
    assert!(
        warning.starts_with("299 referral-gateway \"etag_mismatch: "),
        "{warning}"
    );
    assert_eq!(upstream.only("PUT").body, sent.as_bytes());
    assert_eq!(upstream.only("PUT").header("warning"), None);
}

#[tokio::test]
async fn a_rule_that_is_switched_to_enforce_refuses() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&document("enforce", &[]))
        .start(&upstream)
        .await;

    let sent = referral::of(ID, "Active", "Accepted", "\"another\"");
    let answer = gateway.put(ITEM, sent).if_match(TAG).send().await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (412, "etag_mismatch")
    );
    assert_eq!(upstream.count("PUT"), 0);
}

/// One PUT for each rule that it alone finds fault with.
fn faults() -> Vec<(
    &'static str,
    &'static str,
    u16,
    Vec<(&'static str, &'static str)>,
    String,
)> {
    vec![
        (
            "well-formed",
            "malformed_json",
            400,
            vec![("If-Match", TAG)],
            members(&format!("{GOOD},")),
        ),
        (
            "if-match",
            "if_match_missing",
            428,
            vec![],
            body("Active", "Accepted"),
        ),
        (
            "links-removed",
            "links_present",
            422,
            vec![("If-Match", TAG)],
            members(&format!(r#"{GOOD},"links":{{}}"#)),
        ),
        (
            "substatus",
            "substatus_not_allowed",
            422,
            vec![("If-Match", TAG)],
            body("Active", "Won"),
        ),
        (
            "transition",
            "transition_not_allowed",
            409,
            vec![("If-Match", TAG)],
            body("New", "Pending"),
        ),
        (
            "same-id",
            "id_mismatch",
            422,
            vec![("If-Match", TAG)],
            members(&format!(r#"{GOOD},"id":"x""#)),
        ),
        (
            "same-etag",
            "etag_mismatch",
            412,
            vec![("If-Match", TAG)],
            referral::of(ID, "Active", "Accepted", "\"x\""),
        ),
    ]
}

async fn offer(gateway: &Gateway, headers: &[(&str, &str)], body: &str) -> Answer {
    headers
        .iter()
        .fold(gateway.put(ITEM, body), |call, (name, value)| {
            call.header(name, value)
        })
        .send()
        .await
}

#[tokio::test]
async fn each_rule_refuses_alone_when_all_others_are_off() {
    for (rule, code, status, headers, body) in faults() {
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document("off", &[(rule, "enforce")]))
            .start(&upstream)
            .await;

        let answer = offer(&gateway, &headers, &body).await;

        assert_eq!(answer.status, status, "{rule}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.findings(), [code], "{rule}");
        assert_eq!(problem.finding(code)["mode"], "enforce");
        assert_eq!(upstream.count("PUT"), 0, "{rule}");
    }
}

#[tokio::test]
async fn a_rule_that_is_off_finds_nothing() {
    for (rule, code, _, headers, body) in faults() {
        if rule == "well-formed" {
            continue; // Without a body that can be read no other rule can be sure: such a body is refused.
        }
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document("enforce", &[(rule, "off")]))
            .start(&upstream)
            .await;

        let answer = offer(&gateway, &headers, &body).await;

        assert!(!answer.is_ours(), "{rule}: {}", answer.text());
        assert_eq!(answer.header("warning"), None, "{rule}");
        assert_eq!(upstream.only("PUT").body, body.as_bytes(), "{rule}");
        assert!(!answer.text().contains(code));
    }
}

#[tokio::test]
async fn under_audit_and_warn_all_is_forwarded_and_counted() {
    for mode in ["audit", "warn"] {
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document(mode, &[])).start(&upstream).await;
        for (number, (rule, code, _, headers, body)) in faults().into_iter().enumerate() {
            upstream.hold(ID, "Active", "Accepted", TAG);
            let before = gateway
                .metric("policy_decisions_total", &[("rule", rule), ("mode", mode)])
                .await;

            let answer = offer(&gateway, &headers, &body).await;

            assert!(!answer.is_ours(), "{mode} {rule}: {}", answer.text());
            let puts: Vec<_> = upstream
                .seen()
                .into_iter()
                .filter(|seen| seen.method == "PUT")
                .collect();
            assert_eq!(puts.len(), number + 1, "{mode} {rule}");
            assert_eq!(puts[number].body, body.as_bytes(), "{mode} {rule}");
            let warned = answer
                .head
                .all("warning")
                .iter()
                .any(|text| text.contains(&format!("\"{code}: ")));
            assert_eq!(warned, mode == "warn", "{mode} {rule}: {:?}", answer.head);
            let after = gateway
                .metric("policy_decisions_total", &[("rule", rule), ("mode", mode)])
                .await;
            assert!(after > before, "{mode} {rule}: {before} -> {after}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_body_is_refused_as_long_as_any_rule_on_the_body_is_enforced() {
    for rule in ["links-removed", "substatus", "transition", "same-id"] {
        let upstream = Upstream::start().await;
        let document = document("off", &[(rule, "enforce"), ("well-formed", "audit")]);
        let gateway = Gateway::policy(&document).start(&upstream).await;

        let answer = gateway
            .put(ITEM, members(&format!(r#"{GOOD},"links":{{}},"#)))
            .if_match(TAG)
            .send()
            .await;

        assert!(answer.is_ours(), "{rule}: {}", answer.text());
        assert_eq!(upstream.count("PUT"), 0, "{rule}");
    }
}

#[tokio::test]
async fn a_rule_may_answer_with_a_status_of_its_own() {
    let upstream = Upstream::start().await;
    let document = document("enforce", &[]).replace(
        "check: if_match, on: [PUT], mode: enforce",
        "check: if_match, on: [PUT], mode: enforce, status: 412",
    );
    let gateway = Gateway::policy(&document).start(&upstream).await;

    let answer = gateway.put(ITEM, body("Active", "Accepted")).send().await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (412, "if_match_missing")
    );
}

#[tokio::test]
async fn the_tables_of_states_come_from_the_document() {
    let upstream = Upstream::start().await;
    let document = document("enforce", &[])
        .replace("next: [Active, Closed]", "next: [Active]")
        .replace("substatus: [Accepted]", "substatus: [Accepted, Engaged]");
    let gateway = Gateway::policy(&document).start(&upstream).await;

    let closing = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(
        (closing.status, closing.problem().code.as_str()),
        (409, "transition_not_allowed")
    );

    let engaged = gateway
        .put(ITEM, body("Active", "Engaged"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(engaged.status, 200, "{}", engaged.text());
}

#[tokio::test]
async fn the_substatus_of_a_closed_referral_may_change_when_the_document_says_so() {
    let document = document("enforce", &[])
        .replace("substatus_may_change: false", "substatus_may_change: true");
    for (document, status) in [(Some(document), 200), (None, 409)] {
        let upstream = Upstream::start().await;
        upstream.hold(ID, "Closed", "Won", TAG);
        let gateway = match &document {
            Some(document) => Gateway::policy(document).start(&upstream).await,
            None => Gateway::start(&upstream).await,
        };

        let answer = gateway
            .put(ITEM, body("Closed", "Lost"))
            .if_match(TAG)
            .send()
            .await;

        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 409 {
            assert_eq!(answer.problem().code, "closed_substatus_change");
        }
    }
}

#[tokio::test]
async fn every_transition_is_judged_against_the_state_at_the_named_tag() {
    let states = [
        ("New", "Pending"),
        ("Active", "Accepted"),
        ("Closed", "Won"),
    ];
    let allowed = [
        ("New", "New"),
        ("New", "Active"),
        ("New", "Closed"),
        ("Active", "Active"),
        ("Active", "Closed"),
        ("Closed", "Closed"),
    ];
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (from, substatus) in states {
        for (to, new) in states {
            let id = format!("5f1c2d3e-0001-4a4a-9b9b-{:06}{:06}", from.len(), to.len());
            upstream.hold(&id, from, substatus, TAG);
            let path = format!("/v1.0/engagements/referrals/{id}");
            let before = upstream.count("PUT");

            let answer = gateway
                .put(&path, referral::of(&id, to, new, TAG))
                .if_match(TAG)
                .send()
                .await;

            if allowed.contains(&(from, to)) {
                assert_eq!(answer.status, 200, "{from} -> {to}: {}", answer.text());
            } else {
                assert_eq!(answer.status, 409, "{from} -> {to}: {}", answer.text());
                assert_eq!(answer.problem().code, "transition_not_allowed");
                assert_eq!(upstream.count("PUT"), before, "{from} -> {to}");
            }
        }
    }
}

#[tokio::test]
async fn a_put_with_trailers_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let text = body("Active", "Accepted");

    let answer = gateway
        .put(
            ITEM,
            format!(
                "{:x}\r\n{text}\r\n0\r\nIf-Match: \"other\"\r\n\r\n",
                text.len()
            ),
        )
        .if_match(TAG)
        .header("Transfer-Encoding", "chunked")
        .header("Trailer", "If-Match")
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (400, "trailers_on_judged_write")
    );
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_put_in_chunks_passes_with_the_same_bytes() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let text = body("Closed", "Won");
    let (one, two) = text.split_at(17);

    let answer = gateway
        .put(
            ITEM,
            format!(
                "{:X}\r\n{one}\r\n{:x};ext=1\r\n{two}\r\n0\r\n\r\n",
                one.len(),
                two.len()
            ),
        )
        .if_match(TAG)
        .header("Transfer-Encoding", "chunked")
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.only("PUT").body, text.as_bytes());
}

#[tokio::test]
async fn a_refusal_names_no_state_to_a_credential_that_is_not_proven() {
    let upstream = Upstream::with(|seen| async move {
        seen.header("authorization")
            .is_some_and(|value| value.contains("forged"))
            .then(|| reply(401, "no"))
    })
    .await;
    upstream.hold(ID, "Closed", "Declined", TAG);
    let gateway = Gateway::start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let answer = gateway
        .put(ITEM, body("Active", "Accepted"))
        .if_match(TAG)
        .bearer("forged")
        .send()
        .await;

    assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    assert!(!answer.text().contains("Declined"));
}
