//! A capture is refused with its line, or it is one request that reads back as the same when it is written out.
#![no_main]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use referral_gateway::capture::{
    self, Captured, MAX_BYTES, Unreadable, masked_header_value, masked_target,
};

/// More than any capture takes here, where every branch is counted and others share the processor.
const MAX_TIME: Duration = Duration::from_secs(4);
const MAX_HEADERS: usize = 1000;
/// So many headers curl adds by itself.
const OWN_HEADERS: usize = 6;

fn read(bytes: &[u8], file: Option<&str>, which: Option<&str>) -> Result<Captured, Unreadable> {
    let start = Instant::now();
    let read = capture::read(bytes, file.map(Path::new), which);
    let time = start.elapsed();
    assert!(time < MAX_TIME, "{time:?} for {} bytes", bytes.len());
    read
}

fn check_error(bytes: &[u8], error: &Unreadable) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!((1..=lines + 1).contains(&error.line), "{error}");
    assert!(
        !error.why.is_empty() && error.why.chars().count() <= 1024,
        "{error}"
    );
    assert!(!error.why.contains(char::is_control), "{error:?}");
}

/// What a terminal shows of it does nothing to the terminal.
fn check_shown(captured: &Captured) {
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control());
    assert!(is_plain(&masked_target(&captured.target)), "{captured:?}");
    for (name, value) in &captured.headers {
        assert!(is_plain(&masked_header_value(name, value)), "{captured:?}");
        let hidden = masked_header_value("Authorization", value);
        let credentials = value
            .split(|byte| *byte == b' ')
            .next_back()
            .unwrap_or_default();
        if let Ok(credentials) = std::str::from_utf8(credentials)
            && credentials.len() > "negotiate ***".len()
        {
            assert!(!hidden.contains(credentials), "{hidden}");
        }
    }
    assert!(is_plain(&format!("{captured:?}")));
}

fn check(captured: &Captured, bytes: &[u8]) {
    let is_blank = |text: &str| text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    assert!(!captured.method.is_empty() && !is_blank(&captured.method));
    assert!(captured.target.starts_with('/') || captured.target == "*");
    assert!(!is_blank(&captured.target), "{captured:?}");
    assert!(captured.headers.len() <= MAX_HEADERS + OWN_HEADERS);
    assert!(captured.body.len() <= bytes.len().min(MAX_BYTES) * 3 + MAX_BYTES);
    if let Some(authority) = &captured.authority {
        assert!(!is_blank(authority) && !authority.contains('@') && !authority.is_empty());
    }
    for (name, value) in &captured.headers {
        assert!(!name.trim().is_empty());
        let is_trimmed = |end: Option<&u8>| !matches!(end, Some(b' ' | b'\t'));
        assert!(
            is_trimmed(value.first()) && is_trimmed(value.last()),
            "{captured:?}"
        );
    }
}

/// The request as raw HTTP; nothing if a line cannot hold what it has, or says another length, or if the method is none
/// and may look like another form.
fn written(captured: &Captured) -> Option<Vec<u8>> {
    http::Method::from_bytes(captured.method.as_bytes()).ok()?;
    let place = match &captured.authority {
        Some(authority) => format!("http://{authority}{}", captured.target),
        None => captured.target.clone(),
    };
    let mut raw = format!("{} {place} HTTP/1.1\r\n", captured.method).into_bytes();
    for (name, value) in &captured.headers {
        let is_framing = ["content-length", "transfer-encoding"]
            .iter()
            .any(|framing| name.trim().eq_ignore_ascii_case(framing));
        let is_line = !value.contains(&b'\n')
            && !value.ends_with(b"\r")
            && !name.contains([':', '\n'])
            && !name.starts_with([' ', '\t']);
        if is_framing || !is_line {
            return None;
        }
        raw.extend_from_slice(name.as_bytes());
        raw.extend_from_slice(b": ");
        raw.extend_from_slice(value);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(format!("Content-Length: {}\r\n\r\n", captured.body.len()).as_bytes());
    raw.extend_from_slice(&captured.body);
    (raw.len() <= MAX_BYTES && captured.headers.len() < MAX_HEADERS).then_some(raw)
}

/// All forms come to the same request.
fn check_written(captured: Captured) {
    let Some(raw) = written(&captured) else {
        return;
    };
    let mut wanted = captured;
    let length = wanted.body.len().to_string().into_bytes();
    wanted.headers.push(("Content-Length".to_owned(), length));
    wanted.is_absolute = wanted.authority.is_some();
    wanted.notice = None;
    let again = read(&raw, None, None);
    assert!(again.as_ref() == Ok(&wanted), "{again:?} is not {wanted:?}");
}

// A tilde at the end stands for a hundred times what is before it.
fuzz_target!(|data: &[u8]| {
    let repeated = data.strip_suffix(b"~").map(|data| data.repeat(100));
    let bytes = repeated.as_deref().unwrap_or(data);
    for file in [None, Some("requests.http")] {
        for which in [None, Some("1"), Some("2"), Some("a")] {
            match read(bytes, file, which) {
                Ok(captured) => {
                    check(&captured, bytes);
                    check_shown(&captured);
                    check_written(captured);
                }
                Err(error) => check_error(bytes, &error),
            }
        }
    }
});
