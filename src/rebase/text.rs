//! Finds out whether a host in a JSON text is that of a URL to re-base.
//!
//! It looks back from the host: at the URL's beginning, at the member that holds it, and for `links.*.uri` at the objects
//! around. That is exact in valid JSON: a quote without a backslash before it begins or ends a string, and a colon between
//! two such quotes stands between a name and its value.

use std::ops::Range;

/// What stands around a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A URL to re-base: the range of scheme, host and port.
    Origin(Range<usize>),
    /// Nothing to re-base.
    Nothing,
    /// Perhaps a URL to re-base, but the objects around it begin before the text does.
    OutOfReach,
}

/// Members that hold a URL, whatever stands before the `@` (`OData` JSON Format 4.01, 4.6).
const ANNOTATIONS: [&[u8]; 2] = [b"@odata.nextlink", b"@odata.context"];
/// The longest name of a member that is looked at, in bytes.
const MAX_NAME: usize = 256;

/// What stands around a host of that length at a place in a text.
pub(super) fn url_at(text: &[u8], at: usize, length: usize) -> Found {
    let Some(origin) = origin(text, at, length) else {
        return Found::Nothing;
    };
    // The quote before the URL ends the search for the name.
    let Some(name) = name_before(text, origin.start - 1) else {
        return Found::Nothing;
    };
    let written = text.get(name.clone()).unwrap_or_default();
    if ANNOTATIONS.iter().any(|suffix| ends_with(written, suffix)) {
        return Found::Origin(origin);
    }
    if !written.eq_ignore_ascii_case(b"uri") {
        return Found::Nothing;
    }
    let links = object_around(text, name.start - 1)
        .and_then(|object| name_before(text, object).ok_or(Outside::NoMember))
        .and_then(|link| object_around(text, link.start - 1))
        .and_then(|object| name_before(text, object).ok_or(Outside::NoMember));
    match links {
        Ok(links) => {
            let links = text.get(links).unwrap_or_default();
            match links.eq_ignore_ascii_case(b"links") {
                true => Found::Origin(origin),
                false => Found::Nothing,
            }
        }
        Err(Outside::NoMember) => Found::Nothing,
        Err(Outside::Text) => Found::OutOfReach,
    }
}

fn ends_with(text: &[u8], suffix: &[u8]) -> bool {
    let start = text.len().checked_sub(suffix.len());
    let end = start.and_then(|start| text.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Scheme, host and port of the URL that a string begins with, if its host stands there.
fn origin(text: &[u8], at: usize, length: usize) -> Option<Range<usize>> {
    let rest = text.get(at + length..)?;
    let port = match rest.split_first() {
        Some((b':', digits)) => {
            1 + digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        }
        _ => 0,
    };
    match rest.get(port..)? {
        [b'"' | b'/' | b'?' | b'#', ..] | [b'\\', b'/', ..] => {}
        _ => return None,
    }
    let before = text.get(..at)?;
    let before = slash(slash(before)?)?.strip_suffix(b":")?;
    let schemes: [&[u8]; 2] = [b"https", b"http"];
    let scheme = schemes.iter().find(|scheme| ends_with(before, scheme))?;
    let start = before.len() - scheme.len();
    text.get(..start)?.strip_suffix(b"\"")?;
    Some(start..at + length + port)
}

/// The text before the slash at its end, which JSON may write with a backslash.
fn slash(text: &[u8]) -> Option<&[u8]> {
    let before = text.strip_suffix(b"/")?;
    Some(before.strip_suffix(b"\\").unwrap_or(before))
}

/// The name of the member whose value begins at `value`; without its quotes.
fn name_before(text: &[u8], value: usize) -> Option<Range<usize>> {
    let before = text.get(..value)?.trim_ascii_end();
    let before = before.strip_suffix(b":")?.trim_ascii_end();
    let end = before.strip_suffix(b"\"")?.len();
    let start = string_start(text, end)?;
    (end - start <= MAX_NAME).then_some(start..end)
}

/// The first byte behind the quote that begins a string which ends at `end`.
fn string_start(text: &[u8], end: usize) -> Option<usize> {
    let mut end = end;
    loop {
        let before = text.get(..end)?;
        let quote = memchr::memrchr(b'"', before)?;
        let escapes = before
            .get(..quote)?
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\');
        if escapes.count() % 2 == 0 {
            return Some(quote + 1);
        }
        end = quote;
    }
}

/// Why there is no object around a member.
enum Outside {
    /// It stands in a list or in nothing, or the object is no member's value.
    NoMember,
    /// It begins before the text.
    Text,
}

/// Where the object begins that a name in it, whose first quote stands at `at`, belongs to.
fn object_around(text: &[u8], at: usize) -> Result<usize, Outside> {
    let mut depth = 0;
    let mut at = at;
    while let Some(before) = at.checked_sub(1) {
        at = before;
        match text.get(at) {
            Some(b'"') => {
                let start = string_start(text, at).ok_or(Outside::Text)?;
                at = start - 1;
            }
            Some(b'}' | b']') => depth += 1,
            Some(b'{') if depth == 0 => return Ok(at),
            Some(b'[') if depth == 0 => return Err(Outside::NoMember),
            Some(b'{' | b'[') => depth -= 1,
            _ => {}
        }
    }
    Err(Outside::Text)
}
