//! HTTP archives.

use super::{check, plain, read, refused};

const REQUEST: &str = r#"{"method":"PUT","url":"https://h/r/1?a=b#c","httpVersion":"h2","queryString":[{"name":"x","value":"y"}],
  "headers":[{"name":":authority","value":"h"},{"name":":method","value":"PUT"},
             {"name":"If-Match","value":" \"a\" "},{"name":"if-match","value":"\"é\"","comment":"c"}],
  "postData":{"mimeType":"application/json","text":"{\"a\":\"ü\"}"},"headersSize":-1,"bodySize":10}"#;

#[test]
fn a_whole_archive_an_entry_and_a_request_read_the_same() {
    let headers = [("If-Match", "\"a\""), ("if-match", "\"é\"")];
    for text in [
        REQUEST.to_owned(),
        format!(
            "\u{feff} {{\"startedDateTime\":\"x\",\"request\":{REQUEST},\"response\":{{\"status\":412}}}}"
        ),
        format!(
            r#"{{"log":{{"version":"1.2","creator":{{}},"entries":[{{"request":{REQUEST}}}]}}}}"#
        ),
    ] {
        check(&text, "PUT", "/r/1?a=b", &headers, "{\"a\":\"ü\"}");
        let seen = plain(&text);
        assert_eq!(seen.authority.as_deref(), Some("h"));
        assert_eq!(seen.notice, None);
    }
}

#[test]
fn a_body_may_stand_in_base64_or_be_left_out() {
    for (data, body) in [
        (r#""postData":{"text":"e30=","encoding":"base64"}"#, "{}"),
        (r#""postData":{"text":"{}","encoding":null}"#, "{}"),
        (r#""postData":{"text":"{}","params":[{"name":"{}"}]}"#, "{}"),
        (r#""postData":null,"bodySize":null"#, ""),
        (r#""bodySize":-1"#, ""),
        (r#""bodySize":0.0"#, ""),
    ] {
        let text = format!(r#"{{"method":"PUT","url":"http://h/a",{data}}}"#);
        check(&text, "PUT", "/a", &[], body);
    }
}

fn archive(requests: &[(&str, &str)]) -> String {
    let entries: Vec<String> = requests
        .iter()
        .map(|(method, url)| {
            format!("{{\"request\":\n{{\"method\":\"{method}\",\"url\":\"{url}\"}}}}")
        })
        .collect();
    format!("{{\"log\":{{\"entries\":[{}]}}}}", entries.join(","))
}

#[test]
fn of_several_entries_the_first_write_to_a_referral_is_read_and_said_to_be() {
    for (requests, number, reason) in [
        (
            &[
                ("GET", "https://h/referrals/1"),
                ("POST", "https://h/telemetry"),
                ("PATCH", "https://h/v1.0/engagements/Referrals/1"),
                ("PUT", "https://h/referrals/2"),
            ][..],
            3,
            "the first that writes to a referral",
        ),
        (
            &[("GET", "https://h/a"), ("PUT", "https://h/b")],
            1,
            "the first, since none writes to a referral",
        ),
    ] {
        let seen = plain(&archive(requests));
        let (method, url) = requests[number - 1];
        assert_eq!(seen.method, method);
        assert!(url.ends_with(&seen.target), "{}", seen.target);
        let count = requests.len();
        let notice = format!("The HAR has {count} requests; number {number} was read, {reason}.");
        assert_eq!(seen.notice, Some(notice));
    }
}

#[test]
fn an_entry_can_be_asked_for_by_its_number() {
    let text = archive(&[("GET", "https://h/a"), ("PUT", "https://h/referrals/b")]);
    let seen = read(text.as_bytes(), None, Some("1")).expect("reads");
    assert_eq!((&*seen.target, seen.notice), ("/a", None));
    for which in ["0", "3", "a", "-1"] {
        let error = read(text.as_bytes(), None, Some(which)).expect_err(which);
        assert_eq!(
            error.to_string(),
            format!("line 1: there is no request `{which}`; give a number from 1 to 2")
        );
    }
    let error = read(REQUEST.as_bytes(), None, Some("2")).expect_err("one");
    assert_eq!(
        error.to_string(),
        "line 1: there is no request `2`; a capture of this form holds one"
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, expected) in [
        (
            "[]",
            "line 1: expected an object, such as one entry of a HAR",
        ),
        (
            "{\n\"status\": \"New\"}",
            "line 1: JSON, but no HAR (`log`, or `request`, or `method` and `url`); give a request with its method, URL and headers, and its body by --body FILE",
        ),
        ("{\n\"a\": nope}", "line 2: not JSON: expected ident"),
        ("{\"a\": 1", "line 1: not JSON: EOF while parsing an object"),
        (
            "{\"log\":{\"entries\":[]}}",
            "line 1: the HAR has no entries",
        ),
        (
            "{\n\"log\":\n{\"entries\":\n{}}}",
            "line 4: the HAR has something else here: expected a sequence",
        ),
        (
            "{\n\"log\":{\n\"entries\":[\n{\"request\":\n{\n\"method\":\"PUT\"}}]}}",
            "line 6: the HAR lacks something, or has it twice: missing field `url`",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"https://h/a\",\n\"url\":\"https://h/b\"}",
            "line 2: the HAR lacks something, or has it twice: duplicate field `url`",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"https://h/a\",\n\"headers\":\"s3cret, expected s3cret\"}",
            "line 2: the HAR has something else here: expected a sequence",
        ),
        (
            "{\"request\":\n{\"method\":\"PUT\",\"url\":\"blob:https://h/a\"}}",
            "line 2: expected a URL that begins with https://, http:// or /",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"https://h/a b\"}",
            "line 1: a blank or a control character in the URL; write it as %20 or the like",
        ),
        (
            "{\"method\":\"\",\"url\":\"https://h/a\"}",
            "line 1: expected a method such as PUT, without blanks",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"/a\",\"headers\":[{\"name\":\"\",\"value\":\"s3cret\"}]}",
            "line 1: a header of this request has no name",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"/a\",\"bodySize\":7}",
            "line 1: the HAR does not contain the body of this request; capture it again",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"/a\",\"postData\":{\"text\":\"\",\"params\":[{}]}}",
            "line 1: postData has the fields of a form and not the text that was sent",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"/a\",\"postData\":{\"text\":\"{}\",\"encoding\":\"base64\"}}",
            "line 1: postData.text is not base64, as its encoding says",
        ),
        (
            "{\"method\":\"PUT\",\"url\":\"/a\",\"postData\":{\"text\":\"{}\",\"encoding\":\"gzip\"}}",
            "line 1: expected no encoding of postData but base64",
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn nesting_has_a_bound() {
    // What is not looked at may nest as it likes; what is looked at is bounded by the JSON reader.
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(500_000), close.repeat(500_000));
        format!("{{\"method\":\"PUT\",\"url\":\"/a\",\"x\":{open}{close}}}")
    };
    check(&deep("[", "]"), "PUT", "/a", &[], "");
    let nested = "{\"request\":".repeat(500);
    refused(&nested, "line 1: not JSON: EOF while parsing a value");
}
