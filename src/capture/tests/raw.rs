//! Raw HTTP.

use super::{check, plain, read, refused};

#[test]
fn lines_may_end_either_way_and_even_mixed() {
    for text in [
        "PUT /r/1?a=b HTTP/1.1\r\nHost: h\r\nIf-Match: \"x\"\r\n\r\n{}",
        "PUT /r/1?a=b HTTP/1.1\nHost: h\nIf-Match: \"x\"\n\n{}",
        "PUT /r/1?a=b HTTP/1.1\r\nHost:h\nIf-Match:\t \"x\" \t\r\n\n{}",
        "\u{feff}\r\n\nPUT /r/1?a=b HTTP/1.1\r\nHost: h\r\nIf-Match: \"x\"\r\n\r\n{}",
        "PUT /r/1?a=b HTTP/2\nHost: h\nIf-Match: \"x\"\n\n{}",
    ] {
        let headers = [("Host", "h"), ("If-Match", "\"x\"")];
        check(text, "PUT", "/r/1?a=b", &headers, "{}");
    }
}

#[test]
fn what_is_malformed_stays_as_it_was_written() {
    let text = b"pUt /a//../b;x=1?\xc3\xa9#f HTTP/1.1\r\n\
        If-Match: \"a\"\r\nif-match: \"b\"\r\nIf-Match : \x01\xff\x80\r\nX: a\rb\r\nEmpty:\r\n\r\n\x00\xff";
    let seen = read(text, None, None).expect("reads");
    assert_eq!(seen.method, "pUt");
    assert_eq!(seen.target, "/a//../b;x=1?é#f");
    let headers: Vec<(&str, &[u8])> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    let expected: [(&str, &[u8]); 5] = [
        ("If-Match", b"\"a\""),
        ("if-match", b"\"b\""),
        ("If-Match ", b"\x01\xff\x80"),
        ("X", b"a\rb"),
        ("Empty", b""),
    ];
    assert_eq!(headers, expected);
    assert_eq!(seen.body, b"\x00\xff");
}

#[test]
fn an_absolute_target_is_split() {
    for (target, authority, path) in [
        ("/a", None, "/a"),
        ("*", None, "*"),
        ("https://host:444/a?b", Some("host:444"), "/a?b"),
        ("HTTP://[::1]:80?b", Some("[::1]:80"), "/?b"),
        ("http://host", Some("host"), "/"),
    ] {
        let seen = plain(&format!("PUT {target} HTTP/1.1\n\n"));
        assert_eq!(seen.authority.as_deref(), authority, "{target}");
        assert_eq!(seen.is_absolute, authority.is_some(), "{target}");
        assert_eq!(seen.target, path, "{target}");
    }
}

#[test]
fn the_body_ends_where_the_head_says() {
    for (head, rest, body) in [
        ("", "", ""),
        ("", "\r\n\n", ""),
        ("", "{}\n", "{}\n"),
        ("", " \n", " \n"),
        ("Content-Length: 2\r\n", "{}", "{}"),
        ("Content-Length: 2\r\n", "{}\r\n\n", "{}"),
        ("Content-Length: 0\r\n", "\n", ""),
        ("Content-Length: 2\r\ncontent-length: 2\r\n", "{}", "{}"),
        (
            "Transfer-Encoding: Chunked\r\n",
            "1\r\n{\r\n001;a=b\n}\n0\n\n",
            "{}",
        ),
        ("Transfer-Encoding: chunked\n", "3\r\na\nb\r\n0\r\n", "a\nb"),
        ("Transfer-Encoding: chunked\n", "0\r\n\r\n", ""),
    ] {
        let text = format!("PUT / HTTP/1.1\r\n{head}\r\n{rest}");
        let seen = plain(&text);
        assert_eq!(String::from_utf8_lossy(&seen.body), body, "for {text}");
        assert_eq!(seen.notice, None, "for {text}");
    }
    let seen = plain("PUT / HTTP/1.1\r\nX: y");
    assert_eq!((seen.headers.len(), seen.body.len()), (1, 0));
}

#[test]
fn of_several_requests_the_first_is_read_and_said_to_be() {
    for (head, body) in [
        ("Content-Length: 2", "{}"),
        ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
    ] {
        let text = format!("PUT /a HTTP/1.1\r\n{head}\r\n\r\n{body}PUT /b HTTP/1.1\r\n\r\n");
        let seen = plain(&text);
        assert_eq!((&*seen.target, &*seen.body), ("/a", &b"{}"[..]), "{text}");
        let line = text.lines().count() - 1;
        let notice = format!("Another request begins in line {line}; the first was read.");
        assert_eq!(seen.notice, Some(notice), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, expected) in [
        (
            "PUT http HTTP/1.1\n\n",
            "line 1: expected a URL that begins with https://, http:// or /",
        ),
        (
            "\r\nPUT /a b HTTP/1.1\n\n",
            "line 2: a blank or a control character in the URL; write it as %20 or the like",
        ),
        (
            "PUT {{baseUrl}}/a HTTP/1.1\n\n",
            "line 1: the URL contains an unfilled template such as `{{host}}`; write its value",
        ),
        (
            "PUT https:///a HTTP/1.1\n\n",
            "line 1: expected a host name in the URL",
        ),
        (
            "PUT https://me:s3cret@host/a HTTP/1.1\n\n",
            "line 1: the URL holds a user name; write an Authorization header instead",
        ),
        (
            "P\tT / HTTP/1.1\n\n",
            "line 1: expected a method such as PUT, without blanks",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: h\r\nAuthorization Bearer s3cret\r\n\r\n",
            "line 3: expected a header, `Name: value`, or an empty line and then the body",
        ),
        (
            "PUT / HTTP/1.1\r\n : x\r\n\r\n",
            "line 2: a header continues on this line, which readers interpret differently; write it on one line",
        ),
        (
            "PUT / HTTP/1.1\r\n: x\r\n\r\n",
            "line 2: expected a header, `Name: value`, or an empty line and then the body",
        ),
        (
            "PUT / HTTP/1.1\r\nIf-Match: \"a\",\r\n\t\"b\"\r\n\r\n",
            "line 3: a header continues on this line, which readers interpret differently; write it on one line",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: +1\n\na",
            "line 2: Content-Length is not a number of bytes",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 1, 1\n\na",
            "line 2: Content-Length is not a number of bytes",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 99999999999999999999\n\na",
            "line 2: Content-Length is not a number of bytes",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 1\nContent-Length : 2\n\na",
            "line 3: a second Content-Length with another value; keep the right one",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\na",
            "line 3: both Content-Length and Transfer-Encoding; keep one of them",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 1\n\na",
            "line 3: both Content-Length and Transfer-Encoding; keep one of them",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\na",
            "line 2: expected no Transfer-Encoding but `chunked`, once",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 9\n\n{}",
            "line 4: Content-Length promises 9 bytes, and 2 follow; correct it, or remove it to take all that follows",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 1",
            "line 2: Content-Length promises 1 bytes, and 0 follow; correct it, or remove it to take all that follows",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked",
            "line 2: the body ends without its last chunk, `0` and an empty line",
        ),
        (
            "PUT / HTTP/1.1\nContent-Length: 3\n\n{\n}\n}",
            "line 6: bytes after the end of the body; correct Content-Length, or remove it to take all that follows",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n+1\na\n0\n\n",
            "line 4: expected the size of a chunk, such as `1f`; remove Transfer-Encoding if the body is not in chunks",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n\n",
            "line 4: expected the size of a chunk, such as `1f`; remove Transfer-Encoding if the body is not in chunks",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n1\nab\n0\n\n",
            "line 4: the chunk is shorter than what follows: expected a line end after it",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\nff\nab\n0\n\n",
            "line 4: the chunk is longer than what follows",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n1\na\n",
            "line 5: the body ends without its last chunk, `0` and an empty line",
        ),
        (
            "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\nX: y\n\n",
            "line 5: expected an empty line after the last chunk; trailers are not read",
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn only_the_value_of_a_header_may_be_no_utf_8() {
    for (text, expected) in [
        (
            &b"PUT /\xff HTTP/1.1\n\n"[..],
            "line 1: the request line is not UTF-8",
        ),
        (
            &b"PUT / HTTP/1.1\nA\xff: b\n\n"[..],
            "line 2: the header's name is not UTF-8",
        ),
    ] {
        let error = read(text, None, None).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}
