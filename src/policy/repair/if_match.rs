//! `quote-if-match`, `unescape-if-match`, `if-match-from-body`: the caller's own tag as a strong entity tag.
//!
//! The characters of the tag are always the caller's. A wrong guess makes the service answer 412; it never lets a write
//! pass that the caller's tag would not let pass.

use http::HeaderValue;

use crate::{policy::IfMatch, referral::Members};

/// Puts the value of the only `If-Match` line between quotes: `abc` becomes `"abc"`.
pub fn quote(value: &[u8]) -> Option<HeaderValue> {
    quoted(value.trim_ascii())
}

/// Decodes the value of the only `If-Match` line, which was copied from JSON text: `"\"abc\""` and `\"abc\"` become
/// `"abc"`.
///
/// One level only: a value that is escaped twice does not come from one JSON text.
pub fn unescape(value: &[u8]) -> Option<HeaderValue> {
    let value = value.trim_ascii();
    let inner = between(value, b"\"").unwrap_or(value);
    quoted(between(inner, b"\\\"")?)
}

/// The missing `If-Match` of a request, from the `eTag` of its body.
///
/// The decoded text is the tag with or without its quotes: the two spellings that `same_etag` accepts, so the result never
/// causes its finding. Anything else (blanks, a weak tag, a second level of escapes) is left alone, and so is an `eTag`
/// that is given twice or stands beside a look-alike of a guarded name.
pub fn from_body(members: &Members<'_>) -> Option<HeaderValue> {
    if members.look_alike.is_some() {
        return None;
    }
    let text = members.e_tag.text()?;
    quoted(between(text.as_bytes(), b"\"").unwrap_or(text.as_bytes()))
}

fn between<'a>(text: &'a [u8], quote: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(quote)?.strip_suffix(quote)
}

/// These letters between quotes, if that is a strong entity tag that every reader reads alike.
///
/// RFC 9110 8.8.3 allows more than is taken here. A backslash is dropped by readers that still take a tag for a quoted
/// string; a comma parts a list; `*` and `W/` mean something else when the quotes get lost; an apostrophe, or a letter
/// outside ASCII (such as a curly quote), was probably meant as the quote that is missing.
fn quoted(letters: &[u8]) -> Option<HeaderValue> {
    let plain = letters.iter().all(|letter| {
        letter.is_ascii_graphic() && !matches!(letter, b'"' | b'\'' | b'\\' | b',' | b'*')
    });
    if !plain || matches!(letters, [b'W' | b'w', b'/', ..]) {
        return None;
    }
    let value = [b"\"", letters, b"\""].concat();
    IfMatch::read(&value).tag()?;
    HeaderValue::try_from(value).ok()
}
