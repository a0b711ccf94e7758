//! What a judged body must be before any rule can look into it, and that it is sent as it came.

use crate::support::{Gateway, ID, ITEM, TAG, Upstream, body, referral::text};

#[tokio::test]
async fn a_body_that_is_not_one_plain_json_object_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases = [
        ("{@,}", "malformed_json"),
        (r#"{@,"x":[1,]}"#, "malformed_json"),
        ("// hi\n{@}", "malformed_json"),
        ("{@/* hi */}", "malformed_json"),
        ("{@ # hi\n}", "malformed_json"),
        (
            "{'status':'Active','substatus':'Accepted'}",
            "malformed_json",
        ),
        (
            r#"{status:"Active","substatus":"Accepted"}"#,
            "malformed_json",
        ),
        (r#"{@,"x":NaN}"#, "malformed_json"),
        (r#"{@,"x":-Infinity}"#, "malformed_json"),
        (r#"{@,"x":0x10}"#, "malformed_json"),
        (r#"{@,"x":01}"#, "malformed_json"),
        (r#"{@,"x":+1}"#, "malformed_json"),
        (r#"{@,"x":.5}"#, "malformed_json"),
        (r#"{@,"x":True}"#, "malformed_json"),
        (r#"{"status":"Active","substatus":"Acc"#, "malformed_json"),
        ("{@", "malformed_json"),
        ("{@}{@}", "malformed_json"),
        ("{@} x", "malformed_json"),
        ("{@}\0", "malformed_json"),
        ("{@,\"x\":\"a\nb\"}", "malformed_json"),
        (r#"{@,"x":"\q"}"#, "malformed_json"),
        (r#"{@,"x":"\u12"}"#, "malformed_json"),
        ("\u{feff}{@}", "malformed_json"),
        ("{@,\u{a0}\"x\":1}", "malformed_json"),
        ("", "empty_body"),
        ("[{@}]", "not_an_object"),
        ("\"Active\"", "not_an_object"),
        ("1", "not_an_object"),
        ("null", "not_an_object"),
        (r#"{@,"status":"Closed"}"#, "duplicate_member"),
        (r#"{@,"status":"Active"}"#, "duplicate_member"),
        (r#"{@,"Status":"Closed"}"#, "duplicate_member"),
        (r#"{@,"SUBSTATUS":"Won"}"#, "duplicate_member"),
        (r#"{@,"st\u0061tus":"Closed"}"#, "duplicate_member"),
        (r#"{@,"\u0053TATUS":"Closed"}"#, "duplicate_member"),
        (r#"{@,"id":"x","ID":"y"}"#, "duplicate_member"),
        (r#"{@,"eTag":"\"a\"","etag":"\"b\""}"#, "duplicate_member"),
        (r#"{@,"links":{},"Links":{}}"#, "duplicate_member"),
        (
            r#"{"ſtatus":"Active","substatus":"Accepted"}"#,
            "ambiguous_member",
        ),
        (
            r#"{"\u017ftatus":"Active","substatus":"Accepted"}"#,
            "ambiguous_member",
        ),
        ("{@,\"lin\u{212a}s\":{}}", "ambiguous_member"),
        (r#"{@,"LIN\u212aS":{}}"#, "ambiguous_member"),
    ];

    for (form, code) in cases {
        let answer = gateway.put(ITEM, text(form)).if_match(TAG).send().await;

        assert_eq!(answer.status, 400, "{form}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{form}: {:#}", problem.value);
        let finding = problem.finding(code);
        assert_eq!(finding["rule"], "well-formed", "{form}");
        if matches!(code, "malformed_json" | "duplicate_member") {
            let words = finding["message"].as_str().unwrap().to_lowercase();
            let is_placed = words.contains("line ") && words.contains("column ");
            assert!(is_placed, "{form}: no place in {words}");
        }
    }

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn a_body_in_bytes_that_are_no_utf_8_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let form = text(r#"{@,"x":"?"}"#);
    let (before, after) = form.split_once('?').unwrap();
    for wrong in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
    ] {
        let bytes = [before.as_bytes(), wrong, after.as_bytes()].concat();
        let problem = gateway
            .put(ITEM, bytes)
            .if_match(TAG)
            .send()
            .await
            .problem();
        assert_eq!(problem.code, "invalid_utf8", "{wrong:?}");
    }
    let utf16: Vec<u8> = form.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
    for bytes in [utf16, marked] {
        let answer = gateway.put(ITEM, bytes).if_match(TAG).send().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.problem();
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_may_be_nested_64_deep_and_no_deeper() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    // The object itself is the first level.
    let deep = |levels: usize, open: &str, close: &str| {
        let inner = levels - 1;
        text(&format!(
            r#"{{@,"x":{}1{}}}"#,
            open.repeat(inner),
            close.repeat(inner)
        ))
    };

    for (levels, status) in [(64, 200), (65, 400), (1000, 400), (300_000, 400)] {
        for (open, close) in [("[", "]"), (r#"{"y":"#, "}")] {
            if levels * open.len() > 1_000_000 {
                continue;
            }
            upstream.hold(ID, "Active", "Accepted", TAG);
            let answer = gateway
                .put(ITEM, deep(levels, open, close))
                .if_match(TAG)
                .send()
                .await;
            assert_eq!(answer.status, status, "{levels} {open}: {}", answer.text());
            if status == 400 {
                assert_eq!(answer.problem().code, "nested_too_deep");
            }
        }
    }
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
async fn an_empty_content_type_is_named_as_empty() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let put = gateway.put(ITEM, body("Active", "Accepted")).if_match(TAG);
    for value in ["", " \t"] {
        let answer = put.clone().set("Content-Type", value).send().await;

        assert_eq!(answer.status, 415, "{}", answer.text());
        let problem = answer.problem();
        let finding = problem.finding("media_type_unsupported");
        assert_eq!(finding["message"], "The Content-Type is empty.");
    }
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
        let short = text(r#"{@,"x":""}"#);
        short.replace(
            r#""x":""#,
            &format!(r#""x":"{}"#, "x".repeat(length - short.len())),
        )
    };

    let declared = gateway.put(ITEM, padded(1025)).if_match(TAG).send().await;
    let chunks = format!("401\r\n{}\r\n0\r\n\r\n", padded(1025));
    let chunked = gateway
        .put(ITEM, chunks)
        .if_match(TAG)
        .header("Transfer-Encoding", "chunked");
    for answer in [declared, chunked.send().await] {
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert_eq!(answer.problem().code, "body_too_large");
    }
    assert_eq!(upstream.count("PUT"), 0);

    let at_the_limit = gateway.put(ITEM, padded(1024)).if_match(TAG).send().await;
    assert_eq!(at_the_limit.status, 200);
    assert_eq!(upstream.only("PUT").body, padded(1024).as_bytes());
}

#[tokio::test]
async fn what_passes_is_untouched_to_the_last_byte() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let deep = format!(r#"{{@,"deep":{}{}}}"#, "[".repeat(60), "]".repeat(60));
    let forms = [
        &body("Active", "Accepted"),
        "\r\n\t { \"substatus\" :\"Accepted\",\n\n\"status\"\t:\"Active\" } \r\n",
        r#"{@,"dealValue":50000.00,"big":1e400,"small":-0.0E-10}"#,
        r#"{@,"long":123456789012345678901234567890.10,"digits":9007199254740993}"#,
        r#"{@,"updatedDateTime":"2018-11-06T18:40:42.6178337Z"}"#,
        r#"{"zeta":1,@,"alpha":{"b":[],"a":{}},"@odata.context":"x","":0}"#,
        r#"{@,"x":1,"x":2,"X":3,"details":{"y":1,"y":2,"id":3,"Id":4}}"#,
        r#"{@,"text":"\u00e9é\ud83d\ude00\/😀\t","\u0065xtra":true}"#,
        r#"{"st\u0061tus":"Act\u0069ve","Substatus":"Accepted"}"#,
        r#"{@,"id":"5f1c2d3e-0001-4a4a-9b9b-00000000a001"}"#,
        r#"{@,"id":"5F1C2D3E-0001-4A4A-9B9B-00000000A001"}"#,
        &deep,
    ];

    for (number, form) in forms.into_iter().enumerate() {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let sent = text(form);
        let answer = gateway.put(ITEM, &sent).if_match(TAG).send().await;

        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        assert!(!answer.is_ours());
        let mut seen = upstream.seen();
        seen.retain(|seen| seen.method == "PUT");
        assert_eq!(seen.len(), number + 1);
        assert_eq!(String::from_utf8_lossy(&seen[number].body), sent);
        assert_eq!(seen[number].target(), ITEM);
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
async fn a_rule_that_looks_into_the_body_wants_json_though_well_formed_only_watches() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("")
        .policy(
            "name: p\nrules:\n  - { id: form, check: well_formed, on: [PUT], mode: audit }\n  \
             - { id: links, check: links_removed, on: [PUT], mode: enforce }\n\
             states: { Active: { next: [Active], substatus: [Accepted] } }\n",
        )
        .start(&upstream)
        .await;
    for (media_type, code) in [
        (
            "application/x-www-form-urlencoded",
            "media_type_unsupported",
        ),
        ("text/plain", "media_type_unsupported"),
        ("application/json; charset=utf-7", "charset_unsupported"),
    ] {
        let answer = gateway
            .put(ITEM, r#"{"status":"Active","x":"&links=1&y="}"#)
            .if_match(TAG)
            .set("Content-Type", media_type)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (415, code),
            "{media_type}"
        );
    }
    assert_eq!(upstream.count("PUT"), 0);
}
