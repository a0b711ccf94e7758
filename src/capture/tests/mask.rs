//! What is hidden when a capture is printed.

use crate::capture::{masked_header_value, masked_target};

#[test]
fn secrets_are_hidden_and_all_else_is_shown() {
    for (name, value, expected) in [
        ("Authorization", "Bearer abc.def", "Bearer ***"),
        ("authorization", "basic YTpi", "basic ***"),
        (
            "Authorization",
            "Digest username=\"a\", response=\"b\"",
            "Digest ***",
        ),
        ("Authorization", "abc", "***"),
        ("Authorization", "Custom abc", "***"),
        ("Authorization", "", ""),
        ("Proxy-Authorization", "Basic YTpi", "Basic ***"),
        ("Cookie", "a=b; c=d", "***"),
        ("set-cookie", "a=b", "***"),
        ("X-Api-Key", "abc", "***"),
        ("apikey", "abc", "***"),
        ("Ocp-Apim-Subscription-Key", "abc", "***"),
        ("x-functions-key", "abc", "***"),
        ("X-MS-TOKEN-AAD", "abc", "***"),
        ("X-Auth", "abc", "***"),
        ("X-Client-Secret", "abc", "***"),
        ("X-Anything", "Bearer abc", "Bearer ***"),
        ("X-Anything", "eyJhbGciOi.eyJ0aWQi.c2ln", "***"),
        ("X-Anything", "a, eyJhbGciOi.eyJ0aWQi.c2ln", "a, ***"),
        (
            "Referer",
            "https://h/a?code=b&c=d#access_token=e",
            "https://h/a?code=***&c=d#access_token=***",
        ),
        ("Prefer", "wait=5; token=b, c=d", "wait=5; token=***, c=d"),
        ("If-Match", "\"ab-cd\"", "\"ab-cd\""),
        ("If-Match", "W/\"\\\"x\\\"\"", "W/\"\\\"x\\\"\""),
        (
            "Content-Type",
            "application/json; charset=utf-8",
            "application/json; charset=utf-8",
        ),
        ("Accept-Encoding", "gzip", "gzip"),
        ("client-request-id", "0a1b", "0a1b"),
    ] {
        let seen = masked_header_value(name, value.as_bytes());
        assert_eq!(seen, expected, "{name}: {value}");
    }
}

#[test]
fn what_would_act_on_a_terminal_is_written_out() {
    let seen = masked_header_value("X", b"a\x1b[2J\r\n\xff\xc3\xa9\xe2\x80\xae'\"\\");
    assert_eq!(seen, "a\\u{1b}[2J\\r\\n\\xffé\\u{202e}'\"\\");
    assert_eq!(masked_target("/a\u{1b}?b=\u{7}"), "/a\\u{1b}?b=\\u{7}");
}

#[test]
fn query_parameters_that_look_like_secrets_are_hidden() {
    for (target, expected) in [
        ("/key=1/code?a=b", "/key=1/code?a=b"),
        ("/a?sig=b&c=d", "/a?sig=***&c=d"),
        ("/a?CODE=b&Token=c;key=d", "/a?CODE=***&Token=***;key=***"),
        ("/a?access_token=b", "/a?access_token=***"),
        ("/a?x=1&to%6ben=b", "/a?x=1&to%6ben=***"),
        (
            "/a?api-key=b&apiKey=c&client_secret=d",
            "/a?api-key=***&apiKey=***&client_secret=***",
        ),
        ("/a?sig=", "/a?sig="),
        ("/a?sig", "/a?sig"),
        ("/a?back=https%3A%2F%2Fh%2F%3Ftoken%3Db", "/a?back=***"),
        ("/a?b=eyJhbGciOi.eyJ0aWQi.c2ln", "/a?b=***"),
        (
            "/a?$filter=status%20eq%20'New'&$top=1",
            "/a?$filter=status%20eq%20'New'&$top=1",
        ),
        ("/a#id_token=b", "/a#id_token=***"),
        ("*", "*"),
    ] {
        assert_eq!(masked_target(target), expected, "{target}");
    }
}
