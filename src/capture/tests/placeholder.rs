//! Templates and masks in the place of values.

use super::{Placeholders, placeholders, plain};

#[track_caller]
fn found(text: &str) -> Placeholders {
    placeholders(&plain(text))
}

#[test]
fn a_placeholder_of_a_value_that_is_judged_is_told() {
    for (head, expected) in [
        (
            "If-Match: {{etag}}",
            "the header `If-Match` contains the unfilled template `{{etag}}`",
        ),
        (
            "If-Match: \"{{ my.tag-1 }}\"",
            "the header `If-Match` contains the unfilled template `{{ my.tag-1 }}`",
        ),
        ("If-Match: ••••", "the header `If-Match` contains a mask"),
        (
            "If-Match: \"0x8D••••\"",
            "the header `If-Match` contains a mask",
        ),
        (
            "if-match: W/\"***\"",
            "the header `if-match` contains a mask",
        ),
        (
            "If-Match: <redacted>",
            "the header `If-Match` contains a mask",
        ),
        (
            "If-Match: <your etag>",
            "the header `If-Match` contains a mask",
        ),
        (
            "If-Match: [ETAG REDACTED]",
            "the header `If-Match` contains a mask",
        ),
        (
            "If-Match: REDACTED",
            "the header `If-Match` contains a mask",
        ),
        (
            "Content-Type: …",
            "the header `Content-Type` contains a mask",
        ),
    ] {
        let found = found(&format!("PUT / HTTP/1.1\n{head}\n\n"));
        let expected = format!("{expected}; write the value that was sent, or remove the header");
        assert_eq!(found.judged, [expected], "{head}");
        assert!(found.other.is_empty(), "{head}");
    }
    for target in [
        "/referrals/***",
        "/referrals/%E2%80%A2%E2%80%A2",
        "/a?b=***&c",
    ] {
        let found = found(&format!("PUT {target} HTTP/1.1\n\n"));
        let expected = "the URL contains a mask; write the value that was sent";
        assert_eq!(found.judged, [expected], "{target}");
    }
}

#[test]
fn a_placeholder_of_a_credential_does_not_hinder() {
    for (head, what) in [
        (
            "Authorization: Bearer {{token}}",
            "the unfilled template `{{token}}`",
        ),
        ("Authorization: Bearer ••••••", "a mask"),
        ("authorization: ***", "a mask"),
        ("Cookie: <redacted>", "a mask"),
        ("X-Api-Key: [token]", "a mask"),
    ] {
        let found = found(&format!("PUT / HTTP/1.1\n{head}\n\n"));
        let name = head.split(':').next().expect("a name");
        let expected = format!(
            "The header `{name}` contains {what}, so it names no tenant and no application."
        );
        assert_eq!(found.other, [expected], "{head}");
        assert!(found.judged.is_empty(), "{head}");
    }
    assert_eq!(
        found("PUT /a?sig=***&access_token=*** HTTP/1.1\n\n"),
        Placeholders::default()
    );
}

#[test]
fn a_placeholder_in_a_body_is_told_with_its_line_and_member() {
    for (body, judged, other) in [
        (
            "{\n\"status\" : \"{{status}}\"}",
            Some("line 2 of the body contains the unfilled template `{{status}}` as `status`"),
            None,
        ),
        (
            "{\"a\": {},\n\"status\":{{status}}}",
            Some("line 2 of the body contains the unfilled template `{{status}}`"),
            None,
        ),
        (
            "{\"eTag\":\"\\u2022\\u2022\"}",
            Some("line 1 of the body contains a mask as `eTag`"),
            None,
        ),
        (
            "[{\"op\":\"replace\",\"path\":\"/{{member}}\"}]",
            Some("line 1 of the body contains the unfilled template `{{member}}` as `path`"),
            None,
        ),
        (
            "{\"email\":\n\"<redacted>\"}",
            None,
            Some("Line 2 of the body contains a mask as `email`"),
        ),
        (
            "{\"notes\":\"Dear {{name}}\"}",
            None,
            Some("Line 1 of the body contains the unfilled template `{{name}}` as `notes`"),
        ),
        (
            "{\"status\":\"Active\", \"notes\":\"• one\\n• two, 5 * 3 [see below] <b>token</b> {{}} {{a{b}}\"}",
            None,
            None,
        ),
        ("{{not json", None, None),
        ("\"{{\\", None, None),
        ("", None, None),
    ] {
        let found = found(&format!("PUT / HTTP/1.1\nA: b\n\n{body}"));
        let judged: Vec<_> = judged
            .map(|what| format!("{what}; write the value that was sent"))
            .into_iter()
            .collect();
        let other: Vec<_> = other
            .map(|what| format!("{what}. A rule that reads this member gives no reliable verdict."))
            .into_iter()
            .collect();
        assert_eq!((found.judged, found.other), (judged, other), "{body}");
    }
}

#[test]
fn values_that_only_look_alike_are_none() {
    for head in [
        "If-Match: *",
        "If-Match: \"a\"",
        "Accept: */*",
        "Accept: text/*, */*",
        "Link: <https://h/a>; rel=next",
        "X: [1, 2]",
        "X: (token",
        "X: {a}",
        "X: {{}}",
        "Authorization: Bearer eyJ0eXAi...",
    ] {
        let found = found(&format!("PUT /a{{b}}/*/c?d=* HTTP/1.1\n{head}\n\n"));
        assert_eq!(found, Placeholders::default(), "{head}");
    }
}

#[test]
fn many_placeholders_are_told_in_few_sentences_and_little_time() {
    let masks = "{\"status\":\"***\",\n\"a\":\"***\"},".repeat(100_000);
    let found = found(&format!("PUT / HTTP/1.1\n\n[{masks}]"));
    assert_eq!((found.judged.len(), found.other.len()), (9, 9));
}
