//! What each repair mends and leaves, by tables; that it changes nothing else, by properties.

use std::{
    iter,
    time::{Duration, Instant},
};

use http::HeaderValue;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    policy::IfMatch,
    referral::{Guarded, Member, Members, Spelling, Unreadable},
};

type Mend = fn(&[u8]) -> Option<Mended>;

#[track_caller]
fn check(mend: Mend, body: &str, expected: Option<&str>) {
    let mended = mend(body.as_bytes());
    let text = mended
        .as_ref()
        .map(|mended| String::from_utf8_lossy(&mended.body));
    assert_eq!(text.as_deref(), expected, "{body}");
    holds(body.as_bytes());
}

/// What is true of the repairs of a body whatever its bytes.
#[track_caller]
fn holds(body: &[u8]) {
    let told = String::from_utf8_lossy(body);
    if let Some(mended) = strip_links(body) {
        check_cuts(body, &mended);
        assert!(is_json(body), "{told}");
        match Members::read(&mended.body) {
            Ok(members) => assert_eq!(members.links, Member::Absent, "{told}"),
            Err(why) => {
                assert_eq!(why, Unreadable::NotAnObject, "{told}");
                assert!(!writes_links(&mended.body), "{told}");
            }
        }
        assert_eq!(strip_links(&mended.body), None, "{told}");
    } else if let Ok(members) = Members::read(body) {
        assert!(
            members.links == Member::Absent || members.look_alike.is_some(),
            "{told}"
        );
    }
    if let Some(mended) = trailing_comma(body) {
        check_cuts(body, &mended);
        assert!(!is_json(body) && is_json(&mended.body), "{told}");
        for cut in &mended.cuts {
            assert_eq!(body.get(cut.clone()), Some(&b","[..]), "{told}");
        }
        assert_eq!(trailing_comma(&mended.body), None, "{told}");
    }
}

/// Whether a careless reader of a JSON Patch sees an operation on `links`.
fn writes_links(patch: &[u8]) -> bool {
    let operations: Vec<serde_json::Value> = serde_json::from_slice(patch).unwrap_or_default();
    operations.iter().any(|operation| {
        let path = operation["path"].as_str().unwrap_or_default();
        let name = path.split(['/', '@']).find(|token| !token.is_empty());
        name.is_some_and(|name| path.starts_with('/') && name.eq_ignore_ascii_case("links"))
    })
}

/// Everything outside the cuts is there, byte for byte, and nothing else is.
#[track_caller]
fn check_cuts(body: &[u8], mended: &Mended) {
    let mut ends = iter::once(0).chain(mended.cuts.iter().map(|cut| cut.end));
    assert!(
        !mended.cuts.is_empty()
            && mended
                .cuts
                .iter()
                .all(|cut| ends.next().is_some_and(|end| end <= cut.start) && !cut.is_empty()),
        "{:?}",
        mended.cuts
    );
    let rest: Vec<u8> = body
        .iter()
        .enumerate()
        .filter(|(at, _)| mended.cuts.iter().all(|cut| !cut.contains(at)))
        .map(|(_, byte)| *byte)
        .collect();
    assert_eq!(mended.body, rest);
}

/// Whether every rule that reads a body can read this one, or it is an array.
fn is_json(body: &[u8]) -> bool {
    matches!(Members::read(body), Ok(_) | Err(Unreadable::NotAnObject))
}

#[test]
fn a_name_in_a_document_is_that_of_the_repair() {
    for repair in Repair::ALL {
        let read: Repair =
            serde_json::from_value(repair.as_str().into()).expect("the name of a repair");
        assert_eq!(read, repair);
        assert!(
            schemars::schema_for!(Repair)
                .to_value()
                .to_string()
                .contains(repair.as_str())
        );
    }
    assert!(Repair::ALL.is_sorted());
    let serves = Repair::ALL.map(|repair| (repair.as_str(), repair.serves()));
    assert_eq!(
        serves,
        [
            ("trailing-comma", Check::WellFormed),
            ("strip-links", Check::LinksRemoved),
            ("quote-if-match", Check::IfMatch),
            ("unescape-if-match", Check::IfMatch),
            ("if-match-from-body", Check::IfMatch),
        ]
    );
}

#[test]
fn links_go_with_one_comma_and_the_white_space_that_nobody_needs() {
    for (body, expected) in [
        // First, in the middle, last, alone; on one line.
        (r#"{"links":{},"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"links":{},"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"links":{}}"#, r#"{"a":1}"#),
        (r#"{"links":{}}"#, "{}"),
        (r#"{ "links": {}, "a": 1 }"#, r#"{ "a": 1 }"#),
        (
            r#"{ "a": 1, "links": {}, "b": 2 }"#,
            r#"{ "a": 1, "b": 2 }"#,
        ),
        (r#"{ "a": 1, "links": {} }"#, r#"{ "a": 1 }"#),
        (r#"{ "links": {} }"#, "{ }"),
        // The same, each member on its own line.
        ("{\n  \"links\": {},\n  \"a\": 1\n}", "{\n  \"a\": 1\n}"),
        (
            "{\n  \"a\": 1,\n  \"links\": {\n    \"self\": 0\n  },\n  \"b\": 2\n}\n",
            "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
        ),
        (
            "{\r\n\t\"a\": 1,\r\n\t\"links\": {}\r\n}",
            "{\r\n\t\"a\": 1\r\n}",
        ),
        ("{\n  \"links\": {}\n}", "{\n}"),
        // The comma at the beginning of the line.
        (
            "{ \"a\": 1\n, \"links\": 2\n, \"b\": 3\n}",
            "{ \"a\": 1\n, \"b\": 3\n}",
        ),
        ("{ \"a\": 1\n, \"links\": 2\n}", "{ \"a\": 1\n}"),
        // More than once: each goes, with one comma each.
        (r#"{"links":1,"Links":2,"a":3}"#, r#"{"a":3}"#),
        (r#"{"a":3,"links":1,"Links":2}"#, r#"{"a":3}"#),
        (
            r#"{"links":1,"a":3,"Links":2,"b":4,"LINKS":5}"#,
            r#"{"a":3,"b":4}"#,
        ),
        (r#"{"links":1,"links":2}"#, "{}"),
        // In every spelling that counts as links.
        (r#"{"a":1,"\u006cin\u006Bs":2}"#, r#"{"a":1}"#),
        (r#"{"links@odata.bind":2,"a":1}"#, r#"{"a":1}"#),
        (r#"{"LINKS@odata.bind":2,"a":1}"#, r#"{"a":1}"#),
        // Whatever its value; whatever its value holds.
        (r#"{"links":null,"a":1}"#, r#"{"a":1}"#),
        (r#"{"links":"},\"a\":2","a":1}"#, r#"{"a":1}"#),
        (r#"{"links":[[{"x":"]}"}],2],"a":1}"#, r#"{"a":1}"#),
        // What stays is not written anew.
        (
            r#" {"v" :50000.00,"t":"2018-11-06T18:40:42.6178337Z" , "links":0 , "e":-0.0E+2,"s":"\u0041\/" } "#,
            r#" {"v" :50000.00,"t":"2018-11-06T18:40:42.6178337Z" , "e":-0.0E+2,"s":"\u0041\/" } "#,
        ),
        (
            r#"{"links":0,"status":1,"status":2}"#,
            r#"{"status":1,"status":2}"#,
        ),
    ] {
        check(strip_links, body, Some(expected));
    }
}

#[test]
fn what_are_not_links_of_the_referral_stays() {
    for body in [
        "{}",
        r#"{"a":1}"#,
        r#"{"details":{"links":{}},"list":[{"links":1}]}"#,
        r#"{"link":1,"linkss":2,"@odata.links":3,"a":"links"}"#,
        // Some readers see links, others do not.
        r#"{"a":1,"links ":2}"#,
        "{\"a\":1,\"lin\u{212a}s\":2,\"links\":3}",
        r#"{"a":1,"l\u0000inks":2,"links":3}"#,
        // Not what it should be.
        "",
        "null",
        "\"links\"",
        r#"{"links":1,}"#,
        r#"{"links":1,"a":01}"#,
        r#"{"links":1}{}"#,
        r#"{"links":1,"\ud800":2}"#,
        "\u{feff}{\"links\":1}",
        "\u{c}{\"links\":1}",
    ] {
        check(strip_links, body, None);
    }
    assert_eq!(strip_links(b"{\"links\":\"\xff\"}"), None);
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"links":1,"a":{open}{close}}}"#)
    };
    assert!(strip_links(nested(63).as_bytes()).is_some());
    check(strip_links, &nested(64), None);
}

#[test]
fn a_patch_loses_its_operations_on_links_and_no_others() {
    let other = r#"{"op":"replace","path":"/status","value":"Closed"}"#;
    for operation in [
        r#"{"op":"replace","path":"/links","value":{}}"#,
        r#"{"op":"add","path":"/links/self","value":null}"#,
        r#"{"op":"remove","path":"/links/self/uri"}"#,
        r#"{ "value": 1, "path": "/LINKS/-", "op": "add", "note": "x" }"#,
        r#"{"op":"add","path":"\/l\u0069nks","value":1}"#,
        r#"{"op":"add","path":"/links@odata.bind","value":1}"#,
        r#"{"\u006fp":"add","path":"/links/~0~1","value":1}"#,
        // No longer than a name that counts once it is decoded.
        r#"{"op":"remove","path":"/links@~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1"}"#,
    ] {
        for (body, expected) in [
            (format!("[{operation},{other}]"), format!("[{other}]")),
            (format!("[{other},{operation}]"), format!("[{other}]")),
            (
                format!("[\n {other},\n {operation},\n {operation},\n {other}\n]"),
                format!("[\n {other},\n {other}\n]"),
            ),
            (
                format!("[\n {other},\n {operation}\n]"),
                format!("[\n {other}\n]"),
            ),
            (format!("[ {operation} ]"), "[ ]".to_owned()),
        ] {
            check(strip_links, &body, Some(&expected));
        }
    }
}

#[test]
fn a_patch_that_the_cut_could_change_or_that_is_none_stays() {
    let links = r#"{"op":"remove","path":"/links"}"#;
    for operation in [
        // It guards the others, or writes what only the service knows.
        r#"{"op":"test","path":"/links/self","value":1}"#,
        r#"{"op":"move","from":"/links/self","path":"/name"}"#,
        r#"{"op":"copy","from":"/Links","path":"/name"}"#,
        r#"{"op":"copy","from":"/name","path":"/links"}"#,
        r#"{"op":"move","from":"/a","path":""}"#,
        r#"{"op":"replace","path":"","value":{"Links":1}}"#,
        // Some readers see links, others do not.
        "{\"op\":\"add\",\"path\":\"/lin\u{212a}s\",\"value\":1}",
        r#"{"op":"add","path":"/links ","value":1}"#,
        r#"{"op":"add","path":"links","value":1}"#,
        r#"{"op":"add","path":"//links","value":1}"#,
        r#"{"op":"add","path":"/links","path":"/name","value":1}"#,
        r#"{"op":"add","path":"/name","Path":"/links","value":1}"#,
        "{\"op\":\"add\",\"path\":\"/name\",\"\u{ff50}ath\":\"/links\",\"value\":1}",
        // No operation.
        r#"{"op":"Add","path":"/name","value":1}"#,
        r#"{"op":"merge","path":"/name","value":1}"#,
        r#"{"op":"add","path":"/name"}"#,
        r#"{"op":"add","path":"/links"}"#,
        r#"{"op":"copy","path":"/name"}"#,
        r#"{"op":"add","value":1}"#,
        r#"{"path":"/name","value":1}"#,
        r#"{"op":"add","path":["/name"],"value":1}"#,
        r#"{"op":"add","path":"/~2","value":1}"#,
        r#"{"op":"add","path":"/~","value":1}"#,
        "1",
        "[]",
    ] {
        check(strip_links, &format!("[{links},{operation}]"), None);
    }
    for operation in [
        r#"{"op":"test","path":"/status","value":"New"}"#,
        r#"{"op":"copy","from":"/name","path":"/details/links"}"#,
        r#"{"op":"move","from":"/a","path":"/b"}"#,
        r#"{"op":"replace","path":"","value":{"status":"New"}}"#,
        r#"{"op":"replace","path":"","value":null}"#,
        r#"{"op":"add","path":"/~1links","value":1}"#,
        r#"{"op":"add","path":"/","value":1}"#,
    ] {
        check(strip_links, &format!("[{operation}]"), None);
        check(
            strip_links,
            &format!("[{links},{operation}]"),
            Some(&format!("[{operation}]")),
        );
    }
    check(strip_links, "[]", None);
}

#[test]
fn a_comma_before_a_closing_bracket_goes_alone() {
    for (body, expected) in [
        (r#"{"a":1,}"#, Some(r#"{"a":1}"#)),
        ("{\"a\":1 ,\r\n\t }\n", Some("{\"a\":1 \r\n\t }\n")),
        (
            r#"{"a":[1,2,],"b":{"c":"x",},}"#,
            Some(r#"{"a":[1,2],"b":{"c":"x"}}"#),
        ),
        (
            r#"[{"op":"remove","path":"/a",},]"#,
            Some(r#"[{"op":"remove","path":"/a"}]"#),
        ),
        (r#"{"a":"x","b":[],}"#, Some(r#"{"a":"x","b":[]}"#)),
        // In a string it is text.
        (
            r#"{"a":",}","b":"\",]\\",}"#,
            Some(r#"{"a":",}","b":"\",]\\"}"#),
        ),
        (r#"{"a":",}","b":"\",]\\"}"#, None),
        (r#"{"a":1}"#, None),
        // Nobody knows what was meant.
        (r#"{"a":1,,}"#, None),
        (r#"{"a":1, ,}"#, None),
        ("{,}", None),
        ("[,]", None),
        ("{\"a\":[ , ],}", None),
        (r#"{"a":,}"#, None),
        (r#"{"a",}"#, None),
        (r#"{,"a":1}"#, None),
        (r#"{"a":1,}}"#, None),
        (r#"{"a":1,]"#, None),
        (r#"{"a":1},"#, None),
        (r#"{"a":1,"#, None),
        // A comma is not all that is wrong.
        (r#"{'a':1,}"#, None),
        (r#"{"a":1, /* none */ }"#, None),
        ("{\"a\":1,} // \"", None),
        (r#"{"a":NaN,}"#, None),
        (r#"{"\ud800":1,}"#, None),
        (r#"[{"\ud800":1},]"#, None),
        ("[1e999,]", None),
        ("\u{feff}{\"a\":1,}", None),
        ("{\"a\":1,\u{a0}}", None),
        ("", None),
        (",", None),
    ] {
        check(trailing_comma, body, expected);
    }
    assert_eq!(trailing_comma(b"{\"a\":\"\xff\",}"), None);
    let nested = |levels| format!("{}1{}", "[".repeat(levels), ",]".repeat(levels));
    assert!(trailing_comma(nested(64).as_bytes()).is_some());
    check(trailing_comma, &nested(65), None);
}

/// The shape of the example on the service's PUT page: a blank in front, a comma and an empty line at the end.
const SEED_SHAPE: &str = r#" {
    "id": "49d90c72-0000-4f61-aacc-2cb57970448c",
    "updatedDateTime": "2018-11-06T18:40:42.6178337Z",
    "status": "Closed",
    "substatus": "Won",
    "details": {
        "dealValue": 50000,
        "ids": []
    },
    "eTag": "\"2500ec5a-0000-0000-0000-5bf4967d0000\"",

}
"#;

#[test]
fn the_documented_example_becomes_a_guarded_put() {
    let mended = trailing_comma(SEED_SHAPE.as_bytes()).expect("a mended body");
    check_cuts(SEED_SHAPE.as_bytes(), &mended);
    assert_eq!(mended.cuts.len(), 1);
    let members = Members::read(&mended.body).expect("an object");
    assert_eq!(members.status.text().as_deref(), Some("Closed"));
    let tag = from_body(&members).expect("a tag");
    assert_eq!(tag, "\"2500ec5a-0000-0000-0000-5bf4967d0000\"");
}

/// What `quote` and what `unescape` makes of a value.
#[track_caller]
fn check_value(value: &str, by_quote: Option<&str>, by_unescape: Option<&str>) {
    let mended = (quote(value.as_bytes()), unescape(value.as_bytes()));
    let text = |value: &Option<HeaderValue>| {
        value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    assert_eq!(text(&mended.0).as_deref(), by_quote, "{value}");
    assert_eq!(text(&mended.1).as_deref(), by_unescape, "{value}");
    for strong in [mended.0, mended.1].into_iter().flatten() {
        assert!(IfMatch::read(strong.as_bytes()).tag().is_some(), "{value}");
    }
}

#[test]
fn if_match_is_quoted_or_unescaped_only_where_one_tag_can_be_meant() {
    let tag = "\"2500ec5a-0000-0000-0000-5bf4967d0000\"";
    check_value("2500ec5a-0000-0000-0000-5bf4967d0000", Some(tag), None);
    check_value(" abc\t", Some("\"abc\""), None);
    check_value(
        "a!#$%&()+-./:;<=>?@[]^_`{|}~",
        Some("\"a!#$%&()+-./:;<=>?@[]^_`{|}~\""),
        None,
    );
    check_value("aW/b", Some("\"aW/b\""), None);
    check_value(
        r#"\"2500ec5a-0000-0000-0000-5bf4967d0000\""#,
        None,
        Some(tag),
    );
    check_value(
        r#""\"2500ec5a-0000-0000-0000-5bf4967d0000\"""#,
        None,
        Some(tag),
    );
    check_value(r#" \"a\" "#, None, Some("\"a\""));
    for value in [
        // Strong already.
        tag,
        // Nothing, or any version.
        "",
        " ",
        r#""""#,
        r#"\"\""#,
        r#""\"\"""#,
        "*",
        r#""*""#,
        r#"\"*\""#,
        "a*",
        // Weak, or weak when the quotes get lost.
        "W/a",
        "w/a",
        r#"W/"a""#,
        r#"W/\"a\""#,
        r#"\"W/a\""#,
        r#""W/\"a\"""#,
        // More than one.
        "a,b",
        r#""a", "b""#,
        r#"\"a\", \"b\""#,
        r#"\"a,b\""#,
        "a b",
        // Other quotes.
        "'abc'",
        r#"\"'abc'\""#,
        "\u{201c}abc\u{201d}",
        "\u{e9}",
        // Half a form, or more than one level.
        "\"a",
        "a\"",
        r#"\"a"#,
        r#"a\""#,
        r#"\"a""#,
        r#""\"a\""#,
        r#"\"a\"""#,
        r#""\"a""#,
        r#"""a"""#,
        r#"\\"a\\""#,
        r#"\\\"a\\\""#,
        r#""\\\"a\\\"""#,
        r#"\"\"a\"\""#,
        "a\\",
        "\\",
        "a\u{7f}",
    ] {
        check_value(value, None, None);
    }
    let long = "a".repeat(254);
    check_value(&long, Some(&format!("\"{long}\"")), None);
    check_value(&format!("{long}a"), None, None);
    check_value(&format!("\\\"{long}a\\\""), None, None);
    assert_eq!(quote(b"a\xffb"), None);
}

#[test]
fn if_match_comes_from_the_etag_of_the_body_only() {
    for (body, expected) in [
        (r#"{"eTag":"\"abc\""}"#, Some("\"abc\"")),
        (r#"{"ETAG":"\u0022abc\u0022"}"#, Some("\"abc\"")),
        (r#"{"eTag":"abc"}"#, Some("\"abc\"")),
        (r#"{"eTag":"\\\"abc\\\""}"#, None),
        (r#"{"eTag":"\"abc"}"#, None),
        (r#"{"eTag":"\""}"#, None),
        (r#"{"eTag":" abc"}"#, None),
        (r#"{"eTag":"\"abc\" "}"#, None),
        (r#"{"eTag":"W/\"abc\""}"#, None),
        (r#"{"eTag":"*"}"#, None),
        (r#"{"eTag":"\"*\""}"#, None),
        (r#"{"eTag":"\"a\",\"b\""}"#, None),
        (r#"{"eTag":"a\r\nX: y"}"#, None),
        (r#"{"eTag":"é"}"#, None),
        (r#"{"eTag":""}"#, None),
        (r#"{"eTag":"\"\""}"#, None),
        (r#"{"eTag":null}"#, None),
        (r#"{"eTag":7}"#, None),
        (r#"{"eTag":["abc"]}"#, None),
        (r#"{"eTag":"abc","etag":"abc"}"#, None),
        ("{\"e\u{200b}Tag\":\"abc\"}", None),
        ("{\"eTag\":\"abc\",\"lin\u{212a}s\":1}", None),
        (r#"{"id":"abc"}"#, None),
        (r#"{"details":{"eTag":"abc"}}"#, None),
    ] {
        let members = Members::read(body.as_bytes()).expect("an object");
        let expected = expected.map(HeaderValue::from_static);
        assert_eq!(from_body(&members), expected, "{body}");
    }
}

#[test]
fn a_hostile_megabyte_takes_its_length_and_no_more() {
    const SIZE: usize = 1 << 20;
    let filled = |open: &str, piece: &str, close: &str| {
        format!("{open}{}{close}", piece.repeat(SIZE / piece.len()))
    };
    for (body, links, comma) in [
        (filled("", ",", ""), None, None),
        (filled("", "[", ""), None, None),
        (filled("", "{\"a\":", ""), None, None),
        (filled("", "\\", ""), None, None),
        (filled("{\"", "\\\\", "\":1}"), None, None),
        (
            filled("{\"links\":1,\"", "\\u006c", "\":1,\"a\":1}"),
            Some(1),
            None,
        ),
        (filled("{\"", "\\\\", ""), None, None),
        (filled("[", "1,],[", ""), None, None),
        (filled("[", "[1,],", "1]"), None, Some(SIZE / 5)),
        (filled("[", ",]", ""), None, None),
        (filled("{", "\"links\":1,", "\"a\":1}"), Some(1), None),
        (
            filled("{", "\"a\":1,\"\\u006cinks\":1,", "\"a\":1}"),
            Some(SIZE / 21),
            None,
        ),
        (filled("{", "\"a\":1,", "\"links\":1,}"), None, Some(1)),
        (
            filled(
                "[",
                "{\"op\":\"remove\",\"path\":\"/links\"},",
                "{\"op\":\"remove\",\"path\":\"/a\"}]",
            ),
            Some(1),
            None,
        ),
        (
            filled("[{\"op\":\"remove\",\"path\":\"/", "~1", "\"}]"),
            None,
            None,
        ),
        (
            filled("[{\"op\":\"remove\",\"path\":\"", "/links", "\"}]"),
            Some(1),
            None,
        ),
        (
            filled(
                "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"a\":\"",
                "\\\"",
                "\"}}]",
            ),
            None,
            None,
        ),
    ] {
        let begun = Instant::now();
        let cuts = |mended: Option<Mended>| mended.map(|mended| mended.cuts.len());
        let told: String = body.chars().take(40).collect();
        assert_eq!(cuts(strip_links(body.as_bytes())), links, "{told}");
        assert_eq!(cuts(trailing_comma(body.as_bytes())), comma, "{told}");
        assert_eq!(quote(body.as_bytes()), None, "{told}");
        assert_eq!(unescape(body.as_bytes()), None, "{told}");
        // What grows with the square of a million does not end within a minute.
        assert!(begun.elapsed() < Duration::from_secs(20), "{told}");
    }
}

/// A JSON text before its white space is chosen.
#[derive(Debug, Clone)]
enum Json {
    Atom(&'static str),
    Array(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

/// Writes a JSON text with this white space and these trailing commas, over and over.
struct Writer<B, C> {
    text: String,
    blanks: B,
    commas: C,
}

impl<B: Iterator<Item = &'static str>, C: Iterator<Item = bool>> Writer<B, C> {
    fn blank(&mut self) {
        self.text.extend(self.blanks.next());
    }

    fn value(&mut self, json: &Json) {
        match json {
            Json::Atom(text) => self.text.push_str(text),
            Json::Array(items) => self.list('[', items, ']', Self::value),
            Json::Object(members) => self.list('{', members, '}', |writer, (name, value)| {
                writer.text.push_str(name);
                writer.blank();
                writer.text.push(':');
                writer.blank();
                writer.value(value);
            }),
        }
    }

    fn list<T>(&mut self, open: char, items: &[T], close: char, write: impl Fn(&mut Self, &T)) {
        self.text.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.blank();
            write(self, item);
            self.blank();
        }
        if !items.is_empty() && self.commas.next().unwrap_or_default() {
            self.text.push(',');
        }
        self.blank();
        self.text.push(close);
    }
}

fn write(json: &Json, blanks: &[&'static str], commas: &[bool]) -> String {
    let mut writer = Writer {
        text: String::new(),
        blanks: blanks.iter().copied().cycle(),
        commas: commas.iter().copied().cycle(),
    };
    writer.blank();
    writer.value(json);
    writer.blank();
    writer.text
}

fn blanks() -> impl Strategy<Value = Vec<&'static str>> {
    let blank = prop::sample::select(vec!["", " ", "\n  ", "\t", "\r\n"]);
    prop::collection::vec(blank, 0..7)
}

/// The text of a name and whether it is one of `links`, if all readers agree.
const NAMES: [(&str, Option<bool>); 16] = [
    (r#""links""#, Some(true)),
    (r#""Links""#, Some(true)),
    (r#""l\u0069nks""#, Some(true)),
    (r#""links@odata.bind""#, Some(true)),
    (r#""lin k s""#, None),
    ("\"lin\u{212a}s\"", None),
    (r#""status""#, Some(false)),
    (r#""eTag""#, Some(false)),
    (r#""a""#, Some(false)),
    (r#""b""#, Some(false)),
    (r#""""#, Some(false)),
    ("\"\u{e9}\"", Some(false)),
    (r#"",}""#, Some(false)),
    (r#""\",]\\""#, Some(false)),
    (r#""linkss""#, Some(false)),
    (r#""@links""#, Some(false)),
];

fn atom() -> impl Strategy<Value = Json> {
    let atoms = vec![
        "null",
        "true",
        "0",
        "50000.00",
        "-0.0",
        "1E5",
        r#""""#,
        r#"",}""#,
        r#""\",]\\""#,
        r#""\"""#,
        "\"\u{e9}\"",
        r#""2018-11-06T18:40:42.6178337Z""#,
        r#""links""#,
        "{}",
        "[]",
    ];
    prop::sample::select(atoms).prop_map(Json::Atom)
}

fn name() -> impl Strategy<Value = &'static str> {
    let all = NAMES.map(|(name, _)| name);
    let sure: Vec<_> = NAMES
        .iter()
        .filter(|(_, is_links)| is_links.is_some())
        .map(|(name, _)| *name)
        .collect();
    // Look-alikes spoil the whole body, so they are rare.
    prop_oneof![20 => prop::sample::select(sure), 1 => prop::sample::select(all.to_vec())]
}

fn members() -> impl Strategy<Value = Vec<(&'static str, Json)>> {
    let json = atom().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((name(), inner), 0..4).prop_map(Json::Object),
        ]
    });
    prop::collection::vec((name(), json), 0..6)
}

fn tree(text: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_str(text).expect("an object")
}

/// An operation of a patch, and whether it goes; nothing if it spoils the document.
const OPERATIONS: [(&str, Option<bool>); 9] = [
    (r#"{"op":"add","path":"/links","value":[1,2]}"#, Some(true)),
    (r#"{ "op": "remove", "path": "/Links/self" }"#, Some(true)),
    (
        r#"{"path":"/links@odata.bind","value":"]","op":"replace"}"#,
        Some(true),
    ),
    (
        r#"{"op":"add","path":"/team/-","value":{"links":1}}"#,
        Some(false),
    ),
    (
        r#"{"op":"test","path":"/status","value":"New"}"#,
        Some(false),
    ),
    (r#"{"op":"copy","from":"/a~1b","path":"/c"}"#, Some(false)),
    (
        r#"{"op":"replace","path":"","value":{"status":"New"}}"#,
        Some(false),
    ),
    (r#"{"op":"test","path":"/links","value":1}"#, None),
    (r#"{"op":"add","path":"/linkſ","value":1}"#, None),
];

fn operation() -> impl Strategy<Value = (&'static str, Option<bool>)> {
    let sure: Vec<_> = OPERATIONS
        .into_iter()
        .filter(|(_, goes)| goes.is_some())
        .collect();
    prop_oneof![20 => prop::sample::select(sure), 1 => prop::sample::select(OPERATIONS.to_vec())]
}

/// A place, what happens there (a byte comes, changes or goes), and the byte.
type Change = (Index, u8, u8);

fn changes(bytes: &'static [u8]) -> impl Strategy<Value = Vec<Change>> {
    let change = (any::<Index>(), 0..3u8, prop::sample::select(bytes));
    prop::collection::vec(change, 0..4)
}

fn change(body: &mut Vec<u8>, changes: Vec<Change>) {
    for (at, what, byte) in changes {
        let at = at.index(body.len() + 1);
        let end = if what == 0 {
            at
        } else {
            body.len().min(at + 1)
        };
        body.splice(at..end, (what < 2).then_some(byte));
    }
}

proptest! {
    #[test]
    fn stripping_agrees_with_removal_from_a_tree(members in members(), blanks in blanks()) {
        let is_links = |name: &str| NAMES.iter().find(|(known, _)| *known == name).and_then(|(_, is)| *is);
        let text = write(&Json::Object(members.clone()), &blanks, &[]);
        holds(text.as_bytes());
        let mended = strip_links(text.as_bytes());

        let spoilt = members.iter().any(|(name, _)| is_links(name).is_none());
        let any = members.iter().any(|(name, _)| is_links(name) == Some(true));
        prop_assert_eq!(mended.is_some(), any && !spoilt);
        if let Some(mended) = mended {
            let mended = String::from_utf8_lossy(&mended.body);
            let mut expected = tree(&text);
            expected.retain(|name, _| !matches!(Guarded::of(name), Some((Guarded::Links, Spelling::Plain))));
            prop_assert_eq!(tree(&mended), expected);
            // The members that stay keep their own text, and the brackets what stands around them.
            let kept = Json::Object(members.into_iter().filter(|(name, _)| is_links(name) == Some(false)).collect());
            let squeezed = |text: &str| text.split_ascii_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&mended), squeezed(&write(&kept, &[], &[])));
            let (before, _) = text.split_once('{').unwrap_or_default();
            let (_, after) = text.rsplit_once('}').unwrap_or_default();
            prop_assert_eq!(mended.split_once('{').map(|(piece, _)| piece), Some(before));
            prop_assert_eq!(mended.rsplit_once('}').map(|(_, piece)| piece), Some(after));
        }
    }

    #[test]
    fn stripping_a_patch_keeps_the_other_operations(
        operations in prop::collection::vec(operation(), 0..8),
        blanks in blanks(),
    ) {
        let array = |goes: &dyn Fn(Option<bool>) -> bool| {
            Json::Array(operations.iter().filter(|(_, is)| !goes(*is)).map(|(text, _)| Json::Atom(text)).collect())
        };
        let text = write(&array(&|_| false), &blanks, &[]);
        holds(text.as_bytes());
        let mended = strip_links(text.as_bytes());

        let any = operations.iter().any(|(_, is)| *is == Some(true));
        let spoilt = operations.iter().any(|(_, is)| is.is_none());
        prop_assert_eq!(mended.is_some(), any && !spoilt);
        if let Some(mended) = mended {
            let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
            let kept = write(&array(&|is| is == Some(true)), &[], &[]);
            prop_assert_eq!(read(&mended.body), read(kept.as_bytes()));
        }
    }

    #[test]
    fn trailing_commas_are_gone_as_if_they_had_never_been_written(
        members in members(),
        blanks in blanks(),
        commas in prop::collection::vec(any::<bool>(), 1..6),
    ) {
        let json = Json::Object(members);
        let plain = write(&json, &blanks, &[]);
        let with_commas = write(&json, &blanks, &commas);
        holds(with_commas.as_bytes());
        prop_assert_eq!(trailing_comma(plain.as_bytes()), None);
        let mended = trailing_comma(with_commas.as_bytes());
        let expected = (plain != with_commas).then_some(plain);
        prop_assert_eq!(mended.map(|mended| String::from_utf8_lossy(&mended.body).into_owned()), expected);
    }

    #[test]
    fn what_is_nearly_json_is_mended_rightly_or_not_at_all(
        members in members(),
        blanks in blanks(),
        commas in prop::collection::vec(any::<bool>(), 0..3),
        in_array in any::<bool>(),
        changes in changes(b"{}[],:\"\\ \nlinksLx0\xff\xc5\xbf"),
    ) {
        let json = Json::Object(members);
        let json = if in_array { Json::Array(vec![json.clone(), json]) } else { json };
        let mut body = write(&json, &blanks, &commas).into_bytes();
        change(&mut body, changes);
        holds(&body);
    }

    #[test]
    fn what_is_nearly_a_patch_is_mended_rightly_or_not_at_all(
        operations in prop::collection::vec(operation(), 1..4),
        blanks in blanks(),
        changes in changes(b"{}[],:\"\\/~ linksop\xff"),
    ) {
        let json = Json::Array(operations.iter().map(|(text, _)| Json::Atom(text)).collect());
        let mut body = write(&json, &blanks, &[]).into_bytes();
        change(&mut body, changes);
        holds(&body);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&body);
        let _ = (quote(&body), unescape(&body));
    }

    #[test]
    fn no_brackets_panic(body in r#"[\[\]{}",:\\ \nlinks01]{0,40}"#) {
        holds(body.as_bytes());
    }

    #[test]
    fn a_mended_if_match_guards_with_the_letters_of_the_caller(value in r#"(\\?"){0,2}(W/)?['*,\\ a-c0-9é!~-]{0,8}(\\?"){0,2}"#) {
        let trimmed = value.trim();
        let letters = |text: &str| text.replace(['\\', '"'], "");
        let (by_quote, by_unescape) = (quote(value.as_bytes()), unescape(value.as_bytes()));
        prop_assert!(by_quote.is_none() || by_unescape.is_none());
        let form = IfMatch::read(trimmed.as_bytes());
        prop_assert!(by_quote.is_none() || matches!(form, IfMatch::Unquoted(_)));
        prop_assert!(by_unescape.is_none() || matches!(form, IfMatch::Escaped(_)));
        if let Some(mended) = by_quote.or(by_unescape) {
            prop_assert!(matches!(IfMatch::read(mended.as_bytes()), IfMatch::Strong(_)));
            let mended = mended.to_str().expect("ASCII");
            prop_assert_eq!(mended, format!("\"{}\"", letters(trimmed)));
            prop_assert!(quote(mended.as_bytes()).is_none() && unescape(mended.as_bytes()).is_none());
        }
    }

    #[test]
    fn an_if_match_from_the_body_is_its_etag_to_the_letter(text in r#"(\\?"){0,2}(W/)?['*,\\ a-c0-9é\n-]{0,8}(\\?"){0,2}"#) {
        let body = serde_json::json!({ "eTag": text }).to_string();
        let members = Members::read(body.as_bytes()).expect("an object");
        if let Some(value) = from_body(&members) {
            prop_assert!(matches!(IfMatch::read(value.as_bytes()), IfMatch::Strong(_)));
            let quoted = format!("\"{text}\"");
            prop_assert!(value == text || value == quoted);
        }
    }
}
