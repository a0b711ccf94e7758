//! curl commands.

use super::{Captured, plain, read, read_with_body, refused};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// What curl sends with every request, unless it is told otherwise.
const OWN: [(&str, &str); 2] = [("User-Agent", "curl/8.0.0"), ("Accept", "*/*")];

fn headers(captured: &Captured) -> Vec<(&str, &str)> {
    let headers = captured.headers.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), str::from_utf8(value).expect("UTF-8")))
        .collect();
    // Only headers of one name have an order.
    headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    headers
}

/// The command reads as this. [`OWN`] stands elsewhere.
#[track_caller]
fn check(text: &str, method: &str, target: &str, expected: &[(&str, &str)], body: &str) {
    let seen = plain(text);
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    let mut found = headers(&seen);
    found.retain(|header| !OWN.contains(header));
    assert_eq!(
        (&*seen.method, &*seen.target),
        (method, target),
        "for {text}"
    );
    assert_eq!(found, expected, "for {text}");
    assert_eq!(String::from_utf8_lossy(&seen.body), body, "for {text}");
}

#[test]
fn curl_adds_headers_of_its_own() {
    let [agent, any] = OWN;
    for (text, expected) in [
        ("curl h", &[any, agent][..]),
        ("curl -I h", &[any, agent]),
        ("curl -X PUT h -d b", &[any, FORM, agent]),
        (
            "curl h --json {}",
            &[("Accept", "application/json"), JSON, agent],
        ),
        ("curl h -H 'accept: a'", &[("accept", "a"), agent]),
        ("curl h -H 'Accept;'", &[("Accept", ""), agent]),
        ("curl h -H Accept: -H User-Agent:", &[]),
        ("curl h -A ''", &[any]),
        ("curl h -A me", &[any, ("User-Agent", "me")]),
        (
            "curl h -A me -H 'user-agent: you'",
            &[any, ("user-agent", "you")],
        ),
    ] {
        assert_eq!(headers(&plain(text)), expected, "{text}");
    }
}

#[test]
fn a_file_that_is_given_is_sent_as_curl_sends_it() {
    let file = b"a \r\nb\n\0\xff";
    for (options, body) in [
        ("-d @f", &b"a b\xff"[..]),
        ("-d@f", b"a b\xff"),
        ("--data-ascii @-", b"a b\xff"),
        ("-d 1 -d @f -d 2", b"1&a b\xff&2"),
        ("--data-binary @f", file),
        ("--json @f", file),
        ("--json [ --json @f --json ]", b"[a \r\nb\n\0\xff]"),
        ("--data-urlencode @f", b"a+%0D%0Ab%0A%00%FF"),
        ("--data-urlencode n@f", b"n=a+%0D%0Ab%0A%00%FF"),
        ("--data-raw @f -d @f", b"@f&a b\xff"),
    ] {
        let text = format!("curl h -X PUT {options}");
        let seen = read_with_body(text.as_bytes(), None, None, Some(file)).expect(&text);
        assert_eq!(
            seen.body.escape_ascii().to_string(),
            body.escape_ascii().to_string(),
            "{text}"
        );
    }
    for (text, expected) in [
        (
            "curl h -d a --data-raw @b",
            "line 1: the capture does not take its body from a file; remove --body",
        ),
        (
            "curl h \\\n-d @a \\\n-d @b",
            "line 3: the value of -d is a second file, but --body gives only one; write its text here",
        ),
        (
            "curl h -d @a -H @b",
            "line 1: the value of -H is a file, and captures do not include files; write its text here",
        ),
    ] {
        let error = read_with_body(text.as_bytes(), None, None, Some(file)).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn a_command_reads_as_curl_sends_it() {
    for (text, method, target, headers, body) in [
        ("curl https://h/a", "GET", "/a", &[][..], ""),
        ("curl h:1?b", "GET", "/?b", &[], ""),
        ("$ curl.exe 'https://h/a#b' # c", "GET", "/a", &[], ""),
        (
            "# c\n\n  curl \\\n h/a \\\n-X \\\nPUT\n\n# c\n",
            "PUT",
            "/a",
            &[],
            "",
        ),
        ("curl h/a -XPUT", "PUT", "/a", &[], ""),
        ("curl h/a -sSkLvXPUT", "PUT", "/a", &[], ""),
        ("curl --request put --url h/a", "put", "/a", &[], ""),
        ("curl -X PUT -X PATCH -- h/a", "PATCH", "/a", &[], ""),
        ("curl -I h/a", "HEAD", "/a", &[], ""),
        ("curl -I -X GET h/a", "GET", "/a", &[], ""),
        ("curl h/a -d b", "POST", "/a", &[FORM], "b"),
        (
            "curl h/a -db --data-ascii c -d ''",
            "POST",
            "/a",
            &[FORM],
            "b&c&",
        ),
        ("curl h/a -d ''", "POST", "/a", &[FORM], ""),
        ("curl h/a -d b -H 'content-type:'", "POST", "/a", &[], "b"),
        (
            "curl h/a -X PUT -d {} -H 'Content-Type: application/json'",
            "PUT",
            "/a",
            &[JSON],
            "{}",
        ),
        (
            "curl h/a --data-raw @b --data-binary c",
            "POST",
            "/a",
            &[FORM],
            "@b&c",
        ),
        (
            "curl h/a -d $'b\\nc\\r\\n'",
            "POST",
            "/a",
            &[FORM],
            "b\nc\r\n",
        ),
        (
            "curl h/a --json '{\"a\":' --json 1}",
            "POST",
            "/a",
            &[JSON, ("Accept", "application/json")],
            "{\"a\":1}",
        ),
        (
            "curl h/a --json '{}' -H 'accept: b' -H 'content-type: c' -X PUT",
            "PUT",
            "/a",
            &[("accept", "b"), ("content-type", "c")],
            "{}",
        ),
        (
            "curl h/a --data-urlencode 'a b&c' --data-urlencode '=a=b' --data-urlencode 'n=é /~'",
            "POST",
            "/a",
            &[FORM],
            "a+b%26c&a%3Db&n=%C3%A9+%2F~",
        ),
        ("curl -G h/a -d b=1 -d c", "GET", "/a?b=1&c", &[], ""),
        ("curl -G 'h/a?x#y' -d b=1", "GET", "/a?x&b=1", &[], ""),
        ("curl -G 'h/a?' -d b=1", "GET", "/a?b=1", &[], ""),
        (
            "curl -G h --data-urlencode '$filter=a eq 1'",
            "GET",
            "/?$filter=a+eq+1",
            &[],
            "",
        ),
        ("curl -GI h/a -d b", "HEAD", "/a?b", &[], ""),
        (
            "curl h/a -H 'A:b' -H 'C;' -H 'D:' -H 'E: ' -H 'F :  g ' -H 'a: c'",
            "GET",
            "/a",
            &[("A", "b"), ("C", ""), ("F ", "g"), ("a", "c")],
            "",
        ),
        (
            "curl h/a -HA:b --header C:d",
            "GET",
            "/a",
            &[("A", "b"), ("C", "d")],
            "",
        ),
        (
            "curl h/a -u me:pass:word",
            "GET",
            "/a",
            &[("Authorization", "Basic bWU6cGFzczp3b3Jk")],
            "",
        ),
        (
            "curl h/a --oauth2-bearer t -u me:p",
            "GET",
            "/a",
            &[("Authorization", "Bearer t")],
            "",
        ),
        (
            "curl h/a -u me:p -H 'authorization: Bearer t'",
            "GET",
            "/a",
            &[("authorization", "Bearer t")],
            "",
        ),
        (
            "curl h/a -b 'a=1; b=2' --cookie c=3 -A agent -e 'http://r/;auto'",
            "GET",
            "/a",
            &[
                ("Cookie", "a=1; b=2;c=3"),
                ("User-Agent", "agent"),
                ("Referer", "http://r/"),
            ],
            "",
        ),
        (
            "curl h/a -b a=1 -H 'Cookie: b=2' -A x -H User-Agent: -e ''",
            "GET",
            "/a",
            &[("Cookie", "b=2")],
            "",
        ),
        (
            "curl --compressed --http2 -o out.json -w '%{http_code}' --max-time 5 -m 5 h/a | jq .",
            "GET",
            "/a",
            &[],
            "",
        ),
        ("curl -g 'h/a{b}[1-2]'", "GET", "/a{b}[1-2]", &[], ""),
        ("curl 'h/a\\{b\\}\\[\\]\\c'", "GET", "/a{b}[]\\c", &[], ""),
        ("curl 'http://[::1]:4280/a'", "GET", "/a", &[], ""),
        (
            "curl --path-as-is h/a/../%2E/b",
            "GET",
            "/a/../%2E/b",
            &[],
            "",
        ),
        ("curl 'h/a?b/../c'", "GET", "/a?b/../c", &[], ""),
        ("curl h/a;\n", "GET", "/a", &[], ""),
    ] {
        check(text, method, target, headers, body);
    }
}

#[test]
fn words_are_those_of_the_shell() {
    for (word, value) in [
        ("'a b'", "a b"),
        ("a' 'b\"c\"\\ d", "a bc d"),
        ("''", ""),
        ("\"\"", ""),
        ("'it'\\''s'", "it's"),
        ("'\\n\"$x`&'", "\\n\"$x`&"),
        ("\"a\\\"b\\\\c\\$d\\`e\\nf'g\"", "a\"b\\c$d`e\\nf'g"),
        ("\"a\\\nb\"", "ab"),
        ("a\\\nb\\\r\nc", "abc"),
        ("'a\nb'", "a\nb"),
        ("'a\r\nb'", "a\r\nb"),
        ("\"$ $% 5$\"", "$ $% 5$"),
        ("a#b", "a#b"),
        ("{}", "{}"),
        ("[^a]~", "[^a]~"),
        ("a?b*c~!=[x]", "a?b*c~!=[x]"),
        ("$'a\\'b\\\\c\\\"\\?'", "a'b\\c\"?"),
        (
            "$'\\t\\r\\n\\a\\b\\e\\E\\f\\v'",
            "\t\r\n\x07\x08\x1b\x1b\x0c\x0b",
        ),
        ("$'\\x41\\x7aa\\101\\1013\\7'", "AzaAA3\x07"),
        ("$'\\u00e9\\u21\\U1f600\\u0021!'", "é!😀!!"),
        ("$'a\\xc3\\xa9'", "aé"),
        ("\"é\"'ü'ő", "éüő"),
    ] {
        let text = format!("curl h --data-raw {word}");
        assert_eq!(String::from_utf8_lossy(&plain(&text).body), value, "{text}");
        // The same in a file with the line ends of Windows.
        let text = format!("curl \\\r\n  h \\\r\n --data-raw {word}\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(&plain(&text).body), value, "{text}");
    }
}

#[test]
fn a_word_may_hold_bytes_that_are_no_utf_8() {
    let seen = plain("curl h -H $'A: \\xff\\303' --data-raw $'\\x80\\777'");
    assert_eq!(seen.headers[0], ("A".to_owned(), b"\xff\xc3".to_vec()));
    assert_eq!(seen.body, b"\x80\xff");
}

#[test]
fn a_command_of_the_windows_prompt_is_read_too() {
    for (text, headers, body) in [
        // As Chrome copies it.
        (
            "curl ^\"https://h/a?b=^%^20c^&d^\" ^\r\n  -X ^\"PUT^\" ^\r\n  -H ^\"If-Match: ^\\^\"x^\\^\"^\" ^\r\n  -H ^\"Content-Type: application/json^\" ^\r\n  --data-raw ^\"^{^\\^\"a^\\^\":^\\^\"b c^^^\\^\"^}^\"\r\n",
            &[("If-Match", "\"x\""), JSON][..],
            "{\"a\":\"b c^\"}",
        ),
        // A line end in a value.
        (
            "curl ^\"h/a?b=%20c^&d^\" ^\n -X PUT -H ^\"Content-Type:^\" --data-raw ^\"^{^\n\n^}^\"",
            &[],
            "{\n}",
        ),
        // As older browsers copied it.
        (
            "curl \"h/a?b=%20c&d\" ^\r\n -X PUT -H \"Content-Type:\" --data-binary \"{\"\"a\"\":\"\"b^\"\"\"^\r\n\r\n\"}\" | more",
            &[],
            "{\"a\":\"b^\"\n}",
        ),
        // Backslashes count only in front of a quote.
        (
            "curl ^\"h/a?b=%20c^&d^\" -X PUT -H Content-Type: -d ^\"\\a\\\\b\\\\^\"\nrem the end\n:: really\n",
            &[],
            "\\a\\\\b\\",
        ),
    ] {
        check(text, "PUT", "/a?b=%20c&d", headers, body);
    }
}

#[test]
fn what_the_shell_would_change_is_refused() {
    let acts = |sign: &str| {
        format!(
            "line 1: the shell interprets `{sign}`; quote the text around it, or remove what is not part of curl"
        )
    };
    for (text, expected) in [
        ("curl h/a?b=1&c=2", acts("&")),
        ("curl h/a > out", acts(">")),
        ("curl h/a < in", acts("<")),
        ("curl h/referrals(1)", acts("(")),
        ("curl h/a -d {\"a\":1}", acts("{")),
        ("curl h -d {},b}", acts("{")),
        ("curl h -d ~", acts("~")),
        ("curl h/`id`", acts("`")),
        ("curl \"h/`id`\"", acts("`")),
        ("curl ^\"h/a^\" & dir", acts("&")),
        ("curl ^\"h/a^\" > out", acts(">")),
        (
            "curl \"h/a?$filter=s3cret\"",
            "line 1: `$filter` is a shell variable; write its value, or put the text in single quotes if it is meant as it stands".to_owned(),
        ),
        (
            "curl h/a \\\n -H \"Authorization: Bearer $TOKEN\"",
            "line 2: `$TOKEN` is a shell variable; write its value, or put the text in single quotes if it is meant as it stands".to_owned(),
        ),
        (
            "curl h/$(id)",
            "line 1: the shell replaces what begins with `$` here; put the text in single quotes to keep it".to_owned(),
        ),
        (
            "curl h/$[1]",
            "line 1: the shell replaces what begins with `$` here; put the text in single quotes to keep it".to_owned(),
        ),
        (
            "curl h/$\\\n$",
            "line 1: the shell replaces what begins with `$` here; put the text in single quotes to keep it".to_owned(),
        ),
        (
            "curl \"${HOST}/a\"",
            "line 1: the shell replaces what begins with `$` here; put the text in single quotes to keep it".to_owned(),
        ),
        (
            "curl $\"h/a\"",
            "line 1: the shell replaces what begins with `$` here; put the text in single quotes to keep it".to_owned(),
        ),
        (
            "curl h/a\ncurl h/b",
            "line 2: a second command begins here; keep one".to_owned(),
        ),
        (
            "curl h/a ;\n\n curl h/b",
            "line 3: a second command begins here; keep one".to_owned(),
        ),
        (
            "curl h/a; curl h/b",
            "line 1: a second command begins here; keep one".to_owned(),
        ),
        (
            "curl ^\"h/a^\"\ndir",
            "line 2: a second command begins here; keep one".to_owned(),
        ),
    ] {
        refused(text, &expected);
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, expected) in [
        ("curl", "line 1: the curl command has no URL"),
        ("# c\ncurl -s", "line 2: the curl command has no URL"),
        (
            "curl \\\n h/a \\\n h/b",
            "line 3: expected one URL, and this argument is a second one; remove it, or put quotes around a value with blanks",
        ),
        (
            "curl h/a -H Authorization: Bearer s3cret",
            "line 1: expected one URL, and this argument is a second one; remove it, or put quotes around a value with blanks",
        ),
        (
            "curl ftp://h/a",
            "line 1: expected a URL that begins with https://, http:// or /",
        ),
        (
            "curl 'h/\\{\\{a\\}\\}'",
            "line 1: the URL contains an unfilled template such as `{{host}}`; write its value",
        ),
        (
            "curl -G h -d 'a={{b}}'",
            "line 1: the URL contains an unfilled template such as `{{host}}`; write its value",
        ),
        (
            "curl -s 'https://{{host}}/a' \\\n -X PUT",
            "line 1: the URL contains an unfilled template such as `{{host}}`; write its value",
        ),
        (
            "curl https://me:s3cret@h/a",
            "line 1: the URL holds a user name; write an Authorization header instead",
        ),
        (
            "curl 'h/a b'",
            "line 1: a blank or a control character in the URL; write it as %20 or the like",
        ),
        (
            "curl h/a?é",
            "line 1: a letter beyond ASCII in the URL, which curl sends as it is or percent-encoded; write it percent-encoded",
        ),
        (
            "curl -G h/a -d 'b c'",
            "line 1: a blank or a control character in the URL; write it as %20 or the like",
        ),
        (
            "curl 'h/a{b}'",
            "line 1: curl expands braces and brackets into several URLs; add -g to keep them",
        ),
        (
            "curl 'h/a?b[1]'",
            "line 1: curl expands braces and brackets into several URLs; add -g to keep them",
        ),
        (
            "curl h/a/../b",
            "line 1: curl removes `.` and `..` from the path; write the path without them, or add --path-as-is",
        ),
        (
            "curl h/a/.%2e",
            "line 1: curl removes `.` and `..` from the path; write the path without them, or add --path-as-is",
        ),
        (
            "curl h/a -X 'PUT x'",
            "line 1: expected a method such as PUT, without blanks",
        ),
        (
            "curl -I h/a -d b",
            "line 1: curl does not send a body with -I; remove one of the two, or use -X HEAD",
        ),
        (
            "curl h/a -H 'Authorization Bearer s3cret'",
            "line 1: expected a header, `Name: value`, or `Name;` for one without a value",
        ),
        (
            "curl h/a -H ': b'",
            "line 1: expected a header, `Name: value`, or `Name;` for one without a value",
        ),
        (
            "curl h/a -H 'A; '",
            "line 1: expected a header, `Name: value`, or `Name;` for one without a value",
        ),
        ("curl h/a -X", "line 1: -X has no value"),
        ("curl h/a --json", "line 1: --json has no value"),
        (
            "curl h/a \\\n-F 's3cret=@b'",
            "line 2: the option `-F` is not supported; remove it if it does not change the request",
        ),
        (
            "curl h/a -sT b",
            "line 1: the option `-T` is not supported; remove it if it does not change the request",
        ),
        (
            "curl h/a --aws-sigv4=s3cret",
            "line 1: the option `--aws-sigv4` is not supported; remove it if it does not change the request",
        ),
        (
            "curl h/a --next h/b",
            "line 1: the option `--next` is not supported; remove it if it does not change the request",
        ),
        (
            "curl h/a -u me",
            "line 1: curl asks for the password of -u; write `user:password`",
        ),
        (
            "curl h/a -d @b",
            "line 1: the value of -d is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE",
        ),
        (
            "curl h/a --data-binary @b",
            "line 1: the value of --data-binary is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE",
        ),
        (
            "curl h/a --json @b",
            "line 1: the value of --json is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE",
        ),
        (
            "curl h/a --data-urlencode n@b",
            "line 1: the value of --data-urlencode is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE",
        ),
        (
            "curl h/a -H @b",
            "line 1: the value of -H is a file, and captures do not include files; write its text here",
        ),
        (
            "curl h/a -b jar",
            "line 1: the value of -b is a file, and captures do not include files; write its text here",
        ),
        (
            "curl h/a \\\n -d 'b\n c",
            "line 2: the quote that opens here is never closed",
        ),
        (
            "curl \"h/a",
            "line 1: the quote that opens here is never closed",
        ),
        (
            "curl $'h/a\\",
            "line 1: the quote that opens here is never closed",
        ),
        (
            "curl ^\"h/a",
            "line 1: a quote of this word is never closed, or its line ends without `^`",
        ),
        ("curl h/a \\", "line 1: nothing follows the `\\`"),
        (
            "curl h/a -d $'\\q'",
            "line 1: not an escape of `$'..'`; write such a backslash twice",
        ),
        (
            "curl h/a -d $'\\0'",
            "line 1: a NUL, which ends a word in the shell",
        ),
        (
            "curl h/a -d $'\\xg'",
            "line 1: expected two hexadecimal digits after `\\x`",
        ),
        (
            "curl h/a -d $'\\ud83d\\ude00'",
            "line 1: expected the hexadecimal code of one character after `\\u`",
        ),
        (
            "curl h/$'\\xff'",
            "line 1: the URL holds a byte that is not UTF-8",
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn a_command_holds_one_request() {
    assert!(read(b"curl h/a", None, Some("1")).is_ok());
    let error = read(b"curl h/a", None, Some("2")).expect_err("one");
    assert_eq!(
        error.to_string(),
        "line 1: there is no request `2`; a capture of this form holds one"
    );
}
