//! `trailing-comma`: a mistake that the service's own PUT example makes.

use super::mended::Mended;
use crate::referral::{Members, Patch};

/// Removes each comma outside strings that is followed by a closing bracket, with or without white space between.
///
/// Only if that makes the body well-formed: one JSON text in UTF-8 within the limit of nesting. So `{"a":1,,}` is not
/// repaired, and neither is `[,]`, in which some readers see an element.
pub fn trailing_comma(body: &[u8]) -> Option<Mended> {
    let mut cuts = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    // The last two bytes outside strings that are not white space, and where the last one stands.
    let (mut before, mut last, mut last_at) = (0, 0, 0);
    // In a text that is no JSON this may take a string's inside for its outside. Then what is left is no JSON either:
    // in a JSON text the strings are found right, and the commas that were cut stood outside of them.
    for (at, byte) in body.iter().copied().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => in_string = true,
            b'}' | b']' if last == b',' && !matches!(before, b'{' | b'[') => {
                cuts.push(last_at..last_at + 1);
            }
            _ => {}
        }
        (before, last, last_at) = (last, byte, at);
    }

    let mended = Mended::cut(body, cuts)?;
    let is_read = match mended.body.trim_ascii_start().first() {
        // Who reads the operations of a JSON Patch is stricter than who passes over an array.
        Some(b'[') => Patch::read(&mended.body).is_ok(),
        _ => Members::read(&mended.body).is_ok(),
    };
    is_read.then_some(mended)
}
