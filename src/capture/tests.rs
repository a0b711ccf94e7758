//! What each form reads as, what it refuses, and properties that hold for all four.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails here says so by stopping"
)]

use std::path::Path;

use super::{Captured, MAX_BYTES, Placeholders, placeholders, read, read_with_body};

mod curl;
mod forms;
mod har;
mod http_file;
mod mask;
mod placeholder;
mod raw;

/// The capture reads as this.
#[track_caller]
fn check(text: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str) {
    check_as(None, text, method, target, headers, body);
}

#[track_caller]
fn check_as(
    file: Option<&str>,
    text: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) {
    let seen = read(text.as_bytes(), file.map(Path::new), None);
    let seen = seen.unwrap_or_else(|error| panic!("{error}\nfor {text}"));
    let seen_headers: Vec<(&str, String)> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.escape_ascii().to_string()))
        .collect();
    let headers: Vec<(&str, String)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes().escape_ascii().to_string()))
        .collect();
    assert_eq!(
        (&*seen.method, &*seen.target),
        (method, target),
        "for {text}"
    );
    assert_eq!(seen_headers, headers, "for {text}");
    assert_eq!(String::from_utf8_lossy(&seen.body), body, "for {text}");
}

/// The capture is refused with this text.
#[track_caller]
fn refused(text: &str, expected: &str) {
    refused_as(None, text, expected);
}

#[track_caller]
fn refused_as(file: Option<&str>, text: &str, expected: &str) {
    match read(text.as_bytes(), file.map(Path::new), None) {
        Ok(captured) => panic!("reads as {captured:?}\nfor {text}"),
        Err(error) => assert_eq!(error.to_string(), expected, "for {text}"),
    }
}

#[track_caller]
fn plain(text: &str) -> Captured {
    read(text.as_bytes(), None, None).unwrap_or_else(|error| panic!("{error}\nfor {text}"))
}
