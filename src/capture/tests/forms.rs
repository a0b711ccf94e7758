//! What holds for every form: how it is told, its bounds, and properties.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::json;

use super::{Captured, MAX_BYTES, Path, check, plain, read, refused};

#[test]
fn the_form_is_told_by_its_shape() {
    for text in [
        "PUT /a HTTP/1.1\nA: b\n\n{}",
        "PUT /a\nA: b\n\n{}",
        "// c\nPUT http://h/a HTTP/1.1\nA: b\n\n{}",
        "### c\nPUT http://h/a HTTP/1.1\nA: b\n\n{}",
        "@b = {}\nPUT /a\nA: b\n\n{{b}}",
        "curl -X PUT h/a -H A:b -H Content-Type: -d '{}'",
        "#!/bin/sh\n\n\tcurl -X PUT h/a -H A:b -H Content-Type: -d '{}'\n",
        "{\"method\":\"PUT\",\"url\":\"/a\",\"headers\":[{\"name\":\"A\",\"value\":\"b\"}],\"postData\":{\"text\":\"{}\"}}",
    ] {
        let own = [("A", "b"), ("User-Agent", "curl/8.0.0"), ("Accept", "*/*")];
        let headers = match text.contains("curl ") {
            true => &own[..],
            false => &own[..1],
        };
        check(text, "PUT", "/a", headers, "{}");
        let text = format!("\u{feff}\r\n\n{text}");
        check(&text, "PUT", "/a", headers, "{}");
    }
    assert_eq!(plain("curling /a HTTP/1.1\n\n").method, "curling");
}

#[test]
fn what_has_no_form_is_refused() {
    let nothing = "line 1: there is nothing to read; expected raw HTTP, a .http file, a HAR or a curl command";
    for text in ["", "\u{feff}", " \r\n\t\n"] {
        refused(text, nothing);
    }
    for bytes in [&b"\xff\xfec\0u\0r\0l\0"[..], b"\xfe\xff\0c"] {
        let error = read(bytes, None, None).expect_err("UTF-16");
        assert_eq!(
            error.to_string(),
            "line 1: UTF-16; save the capture as UTF-8"
        );
    }
    for bytes in [&b"curl h\n\xff"[..], b"PUT /a\n\xff\n", b"{\n\xff}"] {
        let error = read(bytes, None, None).expect_err("not UTF-8");
        let text = "line 2: a byte that is not UTF-8; save the capture as UTF-8";
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_capture_has_a_largest_size() {
    let head = "PUT / HTTP/1.1\n\n";
    let largest = format!("{head}{}", "a".repeat(MAX_BYTES - head.len()));
    assert_eq!(plain(&largest).body.len(), MAX_BYTES - head.len());
    refused(
        &format!("{largest}a"),
        "line 3: the capture is longer than 4194304 bytes; shorten it",
    );
}

#[test]
fn a_capture_has_a_largest_number_of_headers() {
    let lines = |count: usize| "A: b\n".repeat(count);
    let options = |count: usize| " -H A:b".repeat(count);
    let members = |count: usize| vec![json!({"name": "A", "value": "b"}); count];
    let har = |count: usize| json!({"method": "PUT", "url": "/", "headers": members(count)});
    let all = |count: usize| {
        [
            format!("PUT / HTTP/1.1\n{}\n", lines(count)),
            format!("PUT /\n{}\n", lines(count)),
            format!("curl h{}", options(count)),
            har(count).to_string(),
        ]
    };
    // curl adds two of its own.
    for (text, count) in all(1000).iter().zip([1000, 1000, 1002, 1000]) {
        assert_eq!(plain(text).headers.len(), count);
    }
    for (text, line) in all(1001).iter().zip([1002, 1002, 1, 1]) {
        let expected = format!("line {line}: there are more than 1000 headers; remove some");
        refused(text, &expected);
    }
    // Headers that are only taken away count as well.
    let text = format!("curl h{}", " -H A:".repeat(1001));
    refused(
        &text,
        "line 1: there are more than 1000 headers; remove some",
    );
}

#[test]
fn reading_takes_time_in_proportion_to_the_size() {
    let most = MAX_BYTES / 4;
    let filled = |start: &str, piece: &str| start.to_owned() + &piece.repeat(most / piece.len());
    for text in [
        filled("PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n", "1\na\n"),
        filled("PUT / HTTP/1.1\n", "A:b\n"),
        filled("PUT /a\n", "?\n"),
        filled("PUT /a\n", " /a HTTP\n"),
        filled("PUT /a\n\n", "{{a\n"),
        filled("@a=\n", "{{a}}"),
        filled("", "@a=b\n"),
        filled("", "###\n/a\n"),
        filled("curl", " -s"),
        filled("curl h", " -d a"),
        filled("curl h/", "\\"),
        filled("curl ^\"h/", "^\\"),
        filled("curl h -d $'", "\\x41"),
        filled("{\"log\":{\"entries\":[", "{\"request\":{}},"),
        filled("{", "\"a\":1,"),
    ] {
        // A quadratic reader would need hours.
        let _ = read(text.as_bytes(), None, None);
    }
}

#[test]
fn a_printed_capture_holds_no_secret() {
    let text = "PUT /a?sig=s3cret HTTP/1.1\nAuthorization: Bearer s3cret\nCookie: s3cret\n\ns3cret";
    let shown = format!("{:?}", plain(text));
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("Bearer ***"), "{shown}");
}

/// A request that each form can hold.
fn request() -> impl Strategy<Value = Captured> {
    let value = prop_oneof![
        "[!-~é](?:[ -~é]{0,12}[!-~é])?",
        Just("\"0x8D-\\\"'$`^%&|<>\"".to_owned()),
    ];
    let headers = prop::collection::vec(("X-[A-Za-z][A-Za-z-]{0,6}", value), 0..5);
    (
        "[A-Z]{3,7}",
        "/[!-\"$-z|~é]{0,20}",
        headers,
        prop::option::of(".{0,20}"),
    )
        .prop_filter_map(
            "braces that a .http file fills in",
            |(method, path, headers, text)| {
                // The body is JSON: one line, that is no comment.
                let body = text.map(|text| json!({"é": text, "status": "New"}).to_string());
                let json = ("Content-Type".to_owned(), "application/json".to_owned());
                let headers: Vec<_> = std::iter::once(json).chain(headers).collect();
                let braces = headers.iter().any(|(_, value)| value.contains("{{"))
                    || body.as_ref().is_some_and(|body| body.contains("{{"));
                let target = path.replace('é', "%C3%A9");
                (!braces).then(|| Captured {
                    method,
                    target,
                    authority: Some("h:1".to_owned()),
                    is_absolute: false,
                    headers: headers
                        .into_iter()
                        .map(|(name, value)| (name, value.into_bytes()))
                        .collect(),
                    body: body.unwrap_or_default().into_bytes(),
                    notice: None,
                })
            },
        )
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn as_raw(request: &Captured, end: &str, chunked: bool) -> Vec<u8> {
    let Captured { method, target, .. } = request;
    let mut text = format!("{method} http://h:1{target} HTTP/1.1{end}").into_bytes();
    for (name, value) in &request.headers {
        text.extend(format!("{name}: ").bytes());
        text.extend(value);
        text.extend(end.bytes());
    }
    if chunked {
        text.extend(format!("Transfer-Encoding: chunked{end}{end}").bytes());
        for chunk in request.body.chunks(7) {
            text.extend(format!("{:X}{end}", chunk.len()).bytes());
            text.extend(chunk);
            text.extend(end.bytes());
        }
        text.extend(format!("0{end}{end}").bytes());
    } else {
        text.extend(end.bytes());
        text.extend(&request.body);
    }
    text
}

fn as_http_file(request: &Captured, end: &str) -> String {
    let raw = string(&as_raw(request, end, false));
    format!("# c{end}@x = 1{end}### name{end}{raw}{end}{end}###{end}")
}

fn as_har(request: &Captured, base64: bool) -> String {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| json!({"name": name, "value": string(value)}))
        .collect();
    let data = match base64 {
        true => json!({"text": STANDARD.encode(&request.body), "encoding": "base64"}),
        false => json!({"text": string(&request.body)}),
    };
    let url = format!("http://h:1{}", request.target);
    let request =
        json!({"method": request.method, "url": url, "headers": headers, "postData": data});
    json!({"log": {"entries": [{"request": request}]}}).to_string()
}

fn as_curl(request: &Captured, start: &str, quote: fn(&[u8]) -> String) -> String {
    let url = format!("http://h:1{}", request.target);
    let mut text = format!("curl {start} -g --path-as-is {}", quote(url.as_bytes()));
    text += &format!(" -X {}", quote(request.method.as_bytes()));
    for (name, value) in &request.headers {
        let header = [name.as_bytes(), b": ", value].concat();
        text += &format!(" -H {}", quote(&header));
    }
    if !request.body.is_empty() {
        text += &format!(" --data-raw {}", quote(&request.body));
    }
    text
}

fn single(text: &[u8]) -> String {
    format!("'{}'", string(text).replace('\'', "'\\''"))
}

fn double(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for c in string(text).chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

fn bare(text: &[u8]) -> String {
    string(text).chars().flat_map(|c| ['\\', c]).collect()
}

fn ansi(text: &[u8]) -> String {
    let bytes: String = text.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("$'{bytes}'")
}

/// As the C runtime wants it, and then each character as the prompt does.
fn windows(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for c in string(text).chars() {
        if c == '"' {
            quoted += &"\\".repeat(backslashes + 1);
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        quoted.push(c);
    }
    quoted += &"\\".repeat(backslashes);
    quoted.push('"');
    quoted.chars().flat_map(|c| ['^', c]).collect()
}

#[track_caller]
fn same(text: &[u8], file: Option<&str>, request: &Captured) {
    let mut seen = read(text, file.map(Path::new), None)
        .unwrap_or_else(|error| panic!("{error}\nfor {}", text.escape_ascii()));
    // Chunks were put together, and curl says its own name.
    let own = ["Transfer-Encoding", "User-Agent", "Accept"];
    seen.headers.retain(|(name, _)| !own.contains(&&**name));
    assert_eq!(&seen, request, "for {}", text.escape_ascii());
}

proptest! {
    #[test]
    fn a_request_reads_the_same_in_each_form(request in request()) {
        let absolute = Captured { is_absolute: true, ..request.clone() };
        for end in ["\n", "\r\n"] {
            same(&as_raw(&request, end, false), None, &absolute);
            same(&as_raw(&request, end, true), None, &absolute);
            same(as_http_file(&request, end).as_bytes(), Some("a.http"), &request);
        }
        same(as_har(&request, false).as_bytes(), None, &request);
        same(as_har(&request, true).as_bytes(), None, &request);
        for quote in [single, double, bare, ansi] {
            same(as_curl(&request, "-s \\\n", quote).as_bytes(), None, &request);
        }
        same(as_curl(&request, "^\r\n -s", windows).as_bytes(), None, &request);
    }

    #[test]
    fn any_body_reads_the_same_where_bytes_can_be_written(
        mut request in request(),
        body in prop::collection::vec(1..=u8::MAX, 0..60),
    ) {
        request.body = body;
        let is_line_ends = request.body.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let absolute = Captured { is_absolute: true, ..request.clone() };
        same(&as_raw(&request, "\r\n", true), None, &absolute);
        same(as_har(&request, true).as_bytes(), None, &request);
        same(as_curl(&request, "", ansi).as_bytes(), None, &request);
        if !is_line_ends {
            same(&as_raw(&request, "\n", false), None, &absolute);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(start in start(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for file in [None, Some(Path::new("a.http"))] {
            for which in [None, Some("2")] {
                let _ = read(&[start.as_bytes(), &bytes].concat(), file, which);
                let _ = read(&bytes, file, which);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic_and_an_error_names_a_line_of_it(
        start in start(),
        pieces in prop::collection::vec(piece(), 0..30),
    ) {
        let text = start.to_owned() + &pieces.concat();
        if let Err(error) = read(text.as_bytes(), None, None) {
            let lines = text.matches('\n').count() + 1;
            prop_assert!((1..=lines).contains(&error.line), "{error} for {text:?}");
            prop_assert!(error.why.len() < 500, "{error}");
        }
    }

    #[test]
    fn an_error_repeats_no_value(
        start in start(),
        pieces in prop::collection::vec(prop_oneof![3 => piece(), 1 => Just(": s3cret ")], 1..20),
    ) {
        let text = start.to_owned() + &pieces.concat();
        if let Err(error) = read(text.as_bytes(), None, None) {
            // The secret may stand where a name is repeated.
            let names = ["the variable ", "the option ", "the shell puts ", "`"];
            let repeats_a_name = names.iter().any(|start| error.why.starts_with(start));
            prop_assert!(repeats_a_name || !error.why.contains("s3cret"), "{error} for {text:?}");
        }
    }

    #[test]
    fn a_hidden_value_is_nowhere_in_what_is_printed(text in "[ -~]{0,20}", more in "[!-~]{0,20}") {
        let value = format!("{text}s3cret{more}");
        let seen = crate::capture::masked_header_value("Authorization", value.as_bytes());
        prop_assert!(!seen.contains("s3cret"));
    }
}

/// How a capture may begin, so that random text gets past the first look.
fn start() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "PUT / HTTP/1.1\r\n",
        "PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n",
        "PUT /a\n",
        "PUT /a\n\n",
        "@a = b\n",
        "curl ",
        "curl h -H ",
        "curl h -d $'",
        "curl ^\"",
        "{\"log\":{\"entries\":[",
        "{\"method\":\"PUT\",\"url\":\"/\",",
    ])
}

/// Pieces that mean something to one of the readers.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "###",
        "#",
        "//",
        "@",
        "a",
        "=",
        "{{",
        "}}",
        "{{a}}",
        "A: b",
        ":",
        "?",
        "&",
        "/",
        "<",
        "> ",
        "< ",
        "<> ",
        "'",
        "\"",
        "$'",
        "$",
        "\\",
        "^",
        "|",
        ";",
        "-X",
        "-H",
        "-d",
        "-G",
        "-I",
        "--json",
        "--data-urlencode",
        "-u",
        "-b",
        "--",
        "é",
        "\0",
        "\u{feff}",
        "HTTP/1.1",
        "curl",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"request\":",
        "\"url\":",
        "\"headers\":",
        "\"name\":",
        "\"value\":",
        "1",
        "0",
        "\\x4",
        "\\u",
        "\\ud800",
        "%",
        "Content-Length: 1",
        "%2e",
        "..",
    ])
}
