//! Hides secrets in what is printed of a capture.
//!
//! Too much rather than too little: a name that only looks like a secret's costs a value that nobody sees.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

const MASK: &str = "***";

/// A name with one of these in it is a secret's.
const PARTS: [&str; 12] = [
    "apikey",
    "assertion",
    "authorization",
    "cookie",
    "credential",
    "passcode",
    "passphrase",
    "password",
    "secret",
    "session",
    "signature",
    "token",
];

/// A name with one of these between its hyphens and the like is a secret's.
const WORDS: [&str; 9] = [
    "auth", "code", "jwt", "key", "otp", "pass", "passwd", "pwd", "sig",
];

/// Schemes whose credentials are hidden under any name (RFC 9110 11.1).
const SCHEMES: [&str; 4] = ["basic", "bearer", "digest", "negotiate"];

/// The value of a header as it may be printed: secrets hidden, control characters and odd bytes written out.
///
/// Of credentials the scheme stays: `Bearer ***`.
pub fn masked_header_value(name: &str, value: &[u8]) -> String {
    let value = shown(value);
    let is_secret = is_secret(name);
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    let scheme = scheme.filter(|scheme| SCHEMES.contains(&&*scheme.to_ascii_lowercase()));
    match scheme {
        Some(scheme) => format!("{scheme} {MASK}"),
        None if is_secret && !value.is_empty() => MASK.to_owned(),
        None => masked(&value, &['?', '&', ';', '#', ',', ' ']),
    }
}

/// A target as it may be printed: the values of query parameters that look like secrets hidden.
pub fn masked_target(target: &str) -> String {
    let target = shown(target.as_bytes());
    match target
        .find(['?', '#'])
        .and_then(|at| target.split_at_checked(at))
    {
        Some((path, query)) => format!("{path}{}", masked(query, &['?', '&', ';', '#'])),
        None => target,
    }
}

/// Hides the values of `name=value` between separators.
fn masked(text: &str, separators: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(separators) {
        let end = part.find(separators).unwrap_or(part.len());
        let (part, separator) = part.split_at(end);
        match part.split_once('=') {
            Some((name, value)) if hides(name, value) => {
                out.push_str(name);
                out.push('=');
                out.push_str(MASK);
            }
            None if is_jwt(part) => out.push_str(MASK),
            _ => out.push_str(part),
        }
        out.push_str(separator);
    }
    out
}

fn hides(name: &str, value: &str) -> bool {
    if value.is_empty() {
        return false;
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    let value = percent_decode_str(value).decode_utf8_lossy();
    // The value may be a URL with secrets of its own.
    let has_inner = value
        .split(['?', '&', ';', '#'])
        .filter_map(|part| part.split_once('='))
        .any(|(name, value)| !value.is_empty() && is_secret(name));
    is_secret(&name) || has_inner || is_jwt(value.trim_matches('"'))
}

/// Whether a header or a parameter with this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word))
}

/// Whether a text looks like a signed token: three parts, the first a JSON object in base64.
fn is_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.matches('.').count() >= 2
}

/// A text that does nothing to a terminal: what is neither a visible character nor a blank is written out.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\'' | '\\' => text.push(c),
                c => text.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a text cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
