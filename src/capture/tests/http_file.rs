//! `.http` and `.rest` files.

use super::{Path, check, check_as, plain, read, read_with_body, refused, refused_as};

/// The file's one request reads as a PUT of this target, header and body.
#[track_caller]
fn put(text: &str, target: &str, headers: &[(&str, &str)], body: &str) {
    check_as(Some("a.http"), text, "PUT", target, headers, body);
}

#[test]
fn a_request_line_has_many_forms() {
    for (line, method, authority, target) in [
        ("PUT https://h/a HTTP/1.1", "PUT", Some("h"), "/a"),
        ("put  https://h/a\thttp/2", "put", Some("h"), "/a"),
        ("  PUT\thttps://h:1/a?b#c  ", "PUT", Some("h:1"), "/a?b"),
        ("https://h", "GET", Some("h"), "/"),
        ("/a?b", "GET", None, "/a?b"),
        ("OPTIONS *", "OPTIONS", None, "*"),
        ("M-SEARCH /a", "M-SEARCH", None, "/a"),
        (
            "GET /a?$filter=status eq 'Új'",
            "GET",
            None,
            "/a?$filter=status%20eq%20'%C3%9Aj'",
        ),
        (
            "GET https://h/a\n  /b\n  # a comment\n  ?c=1\n  &d=2 3 HTTP/1.1",
            "GET",
            Some("h"),
            "/a/b?c=1&d=2%203",
        ),
        ("GET /a\r\n?c=1\r\n&d=2\r\n", "GET", None, "/a?c=1&d=2"),
    ] {
        let seen = read(line.as_bytes(), Some(Path::new("x/y.REST")), None).expect(line);
        let seen = (&*seen.method, seen.authority.as_deref(), &*seen.target);
        assert_eq!(seen, (method, authority, target), "{line}");
    }
}

#[test]
fn comments_and_blank_lines_are_no_part_of_a_request() {
    put(
        "# c\r\n// c\r\n\r\nPUT /a\r\n# c\r\nA: b\r\n  // c\r\nC: d\r\n\t\r\n{\r\n# c\r\n  // c\r\n}\r\n\r\n# c\r\n \r\n",
        "/a",
        &[("A", "b"), ("C", "d")],
        "{\r\n}",
    );
    put("PUT /a\n\n\n{ } \n", "/a", &[], "\n{ } ");
    put("PUT /a\nA: b", "/a", &[("A", "b")], "");
    put("\u{feff}PUT /a\n\n", "/a", &[], "");
    put("PUT /a\n\nline\n\n\nlast", "/a", &[], "line\n\n\nlast");
}

#[test]
fn a_body_in_chunks_is_decoded() {
    for end in ["\r\n", "\n"] {
        let lines = [
            "# raw HTTP behind a comment, so it is read as a .http file",
            "PUT /a HTTP/1.1",
            "A: b",
            "transfer-encoding: Chunked",
            "",
            "4",
            "{{a}",
            "2;x=y",
            "//",
            "0",
            "",
            "### the next one",
            "GET /b",
        ];
        let text = lines.join(end);
        let headers = [("A", "b"), ("transfer-encoding", "Chunked")];
        put(&text, "/a", &headers, "{{a}//");
        check(&text, "PUT", "/a", &headers, "{{a}//");
    }
}

#[test]
fn a_body_may_be_a_file_that_is_given() {
    let text = "PUT /a\nA: b\n\n< ./body.json\n\n> ./script.js\n";
    let file = b"\xff{}\r\n";
    let seen = read_with_body(text.as_bytes(), None, None, Some(file)).expect("reads");
    assert_eq!(seen.body, file);

    for (text, expected) in [
        (
            "PUT /a\n\n< a\n< b\n",
            "line 4: a file is a part of the body here; write its text in its place",
        ),
        (
            "PUT /a\n\n{}\n",
            "line 1: the capture does not take its body from a file; remove --body",
        ),
        (
            "PUT /a HTTP/1.1\n\n{}\n",
            "line 1: the capture does not take its body from a file; remove --body",
        ),
    ] {
        let error = read_with_body(text.as_bytes(), None, None, Some(file)).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn the_length_of_a_body_is_the_editors_to_say() {
    let text = "PUT /a HTTP/1.1\nContent-Length: 99\nA: b\n\n{}\n";
    put(text, "/a", &[("A", "b")], "{}");
}

#[test]
fn a_repeated_header_stays_repeated() {
    let headers = [("If-Match", "\"a\""), ("if-match", "\"b\"")];
    put(
        "PUT /a\nIf-Match: \"a\"\nif-match:\"b\"\n",
        "/a",
        &headers,
        "",
    );
}

#[test]
fn variables_are_put_in_wherever_they_stand() {
    put(
        "@host = h:1\n@base=https://{{host}}/v1\n\nPUT {{base}}/{{ id }}\nA: {{id}}{{id}}\n\n###\n@id = 7",
        "/v1/7",
        &[("A", "77")],
        "",
    );
}

#[test]
fn braces_that_name_no_variable_are_text() {
    put(
        "PUT /a\n\n{\"a\":{\"b\":{}}} {{\n}}",
        "/a",
        &[],
        "{\"a\":{\"b\":{}}} {{\n}}",
    );
}

#[test]
fn what_is_done_with_the_answer_is_no_part_of_the_body() {
    for rest in [
        "> {% client.test(\"x\", () => {}); %}\n",
        "> ./handler.js\n",
        ">> answer.json\n",
        ">>! answer.json\n",
        "<> 2024.200.json\n",
    ] {
        put(&format!("PUT /a\n\n{{}}\n\n{rest}"), "/a", &[], "{}");
        put(&format!("PUT /a\nA: b\n{rest}"), "/a", &[("A", "b")], "");
    }
    put("PUT /a\n\n<a>\n</a>\n", "/a", &[], "<a>\n</a>");
}

const SEVERAL: &str = "@id = 1\n### first\nPUT /a/{{id}}\n\n{}\n\n### \n# @name = second\nPATCH /b\n\n[]\n#### third\n\
    # only a comment\n###\n\n// @name fourth\nGET {{unknown}}\n### 1\nGET /one\n###\n";

#[test]
fn of_several_requests_the_one_that_is_named_is_read() {
    for (which, target) in [
        ("first", "/a/1"),
        ("second", "/b"),
        ("2", "/b"),
        // A name comes before a number.
        ("1", "/one"),
        ("4", "/one"),
    ] {
        let seen = read(SEVERAL.as_bytes(), None, Some(which)).expect(which);
        assert_eq!((&*seen.target, seen.notice), (target, None), "{which}");
    }
    for (which, expected) in [
        (
            "fourth",
            "line 17: the variable `unknown` is not defined in this file; define it by `@name = value`",
        ),
        (
            "third",
            "line 1: there is no request `third`; give a name, or a number from 1 to 4",
        ),
        (
            "0",
            "line 1: there is no request `0`; give a name, or a number from 1 to 4",
        ),
        (
            "5",
            "line 1: there is no request `5`; give a name, or a number from 1 to 4",
        ),
        (
            "",
            "line 1: there is no request ``; give a name, or a number from 1 to 4",
        ),
    ] {
        let error = read(SEVERAL.as_bytes(), None, Some(which)).expect_err(which);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn of_several_requests_the_first_is_read_and_said_to_be() {
    let seen = plain(SEVERAL);
    assert_eq!(seen.target, "/a/1");
    let notice = "The file has 4 requests; the first was read, of line 3.";
    assert_eq!(seen.notice.as_deref(), Some(notice));
}

#[test]
fn a_name_given_twice_is_refused() {
    let text = "### a\nGET /a\n###\n# @name a\nGET /b\n";
    let error = read(text.as_bytes(), None, Some("a")).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "line 5: a second request is named `a`; give its number"
    );
}

#[test]
fn the_name_of_the_file_tells_it_from_raw_http() {
    let text = "PUT /a HTTP/1.1\nContent-Length: 2\n\n{}\n###\nGET /b\n";
    check_as(Some("a.http"), text, "PUT", "/a", &[], "{}");
    refused_as(
        Some("a.txt"),
        text,
        "line 5: bytes after the end of the body; correct Content-Length, or remove it to take all that follows",
    );
    // Without a name, a comment or a variable tells it as well.
    check(
        "# c\nPUT /a HTTP/1.1\n\n{}\n###\nGET /b\n",
        "PUT",
        "/a",
        &[],
        "{}",
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, expected) in [
        (
            "hello\nworld\n",
            "line 1: expected a request line such as `PUT https://host/path`: expected a URL that begins with https://, http:// or /",
        ),
        (
            "\n###\n@ no\n",
            "line 3: expected a request line such as `PUT https://host/path`: expected a URL that begins with https://, http:// or /",
        ),
        (
            "# only\n// comments\n###\n",
            "line 1: there is no request in the file; expected a line such as `PUT https://host/path`",
        ),
        (
            "PUT /a\nAuthorization Bearer s3cret\n",
            "line 2: expected a header, `Name: value`, or an empty line and then the body",
        ),
        (
            "PUT /a\nA: b,\n  c\n",
            "line 3: an indented line, which some editors take for a part of the line above; write it there, or without indent",
        ),
        (
            "PUT /a HTTP/1.1\n  ?b=c\n",
            "line 2: the URL continues after the HTTP version; move the version to its end",
        ),
        (
            "PUT /a\n\n< ./body.json\n",
            "line 3: the body is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE",
        ),
        (
            "PUT /a\n\n{\n}\n< ./body.json\n",
            "line 5: a file is a part of the body here; write its text in its place",
        ),
        (
            "PUT /a\n\n<@latin1 body.json\n",
            "line 3: a script, or a file that the editor changes before it is sent; write the text that is sent",
        ),
        (
            "PUT /a\nTransfer-Encoding: chunked\n\n{}\n",
            "line 4: expected the size of a chunk, such as `1f`; remove Transfer-Encoding if the body is not in chunks",
        ),
        (
            "PUT /a\nTransfer-Encoding: chunked\n\n9\n{}\n",
            "line 4: the chunk is longer than what follows",
        ),
        (
            "PUT /a\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\nmore\n",
            "line 8: bytes after the last chunk; remove them, or begin the next request by `###`",
        ),
        (
            "###\n< {% request.variables.set('a', 'b') %}\nPUT /a\n",
            "line 2: a script or a file before the request; a capture may hold only what is sent",
        ),
        (
            "PUT /a\nIf-Match: {{tag}}\n",
            "line 2: the variable `tag` is not defined in this file; define it by `@name = value`",
        ),
        (
            "PUT /a\n\n{\n\"id\": \"{{$guid}}\"\n}\n",
            "line 4: the variable `$guid` is not defined in this file; define it by `@name = value`",
        ),
        (
            "@b = {{a}}\n@a = 1\nPUT /{{b}}\n",
            "line 1: the variable `a` is not defined in this file; define it by `@name = value`",
        ),
        (
            "@a = {{a}}\nPUT /{{a}}\n",
            "line 1: the variable `a` is not defined in this file; define it by `@name = value`",
        ),
        (
            "@a = 1\n@a = 2\nPUT /{{a}}\n",
            "line 2: `a` is defined a second time; keep one",
        ),
        (
            "@tag = \"\\\"x\\\"\"\nPUT /a\nIf-Match: {{tag}}\n",
            "line 1: a backslash in a variable, which editors read differently; write the text where it is used",
        ),
    ] {
        refused_as(Some("a.http"), text, expected);
    }
}

#[test]
fn a_variable_that_cannot_be_told_matters_only_where_it_is_used() {
    put(
        "@a = {{login.token}}\n@b = \\n\n@c = 1\n@c = 2\nPUT /a\n",
        "/a",
        &[],
        "",
    );
}

#[test]
fn variables_cannot_grow_without_end() {
    let mut text = String::from("@a0 = 0123456789\n");
    for level in 1..64 {
        let below = level - 1;
        text += &format!("@a{level} = {{{{a{below}}}}}{{{{a{below}}}}}\n");
    }
    refused(
        &format!("{text}PUT /{{{{a63}}}}\n"),
        "line 19: the variables of the file make more than 4194304 bytes",
    );
    put(
        &format!("{text}PUT /{{{{a1}}}}\n"),
        "/01234567890123456789",
        &[],
        "",
    );
}
