//! The text of a body: whether it is readable, its depth of nesting, and places in it.

/// Nesting deeper than this is refused: no referral needs it, and readers differ in what they survive.
pub const MAX_DEPTH: usize = 64;

/// Why a body is not one JSON object in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Only white space.
    Empty,
    /// Not UTF-8 from this byte on.
    NotUtf8 {
        /// The offset in bytes, from 0.
        offset: usize,
    },
    /// Not JSON (RFC 8259): the reader's message, with line and column.
    NotJson(String),
    /// JSON, but not an object.
    NotAnObject,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// The text of a body, if it is UTF-8, not empty and not nested too deeply.
pub(super) fn text_of(body: &[u8]) -> Result<&str, Unreadable> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| Unreadable::NotUtf8 {
        offset: valid_up_to(body),
    })?;
    if text.trim_ascii_start().is_empty() {
        return Err(Unreadable::Empty);
    }
    if nests_deeper_than(body, MAX_DEPTH) {
        return Err(Unreadable::TooDeep);
    }
    Ok(text)
}

/// Where a body stops being UTF-8. The reader of good bodies, which is some times as fast, does not tell.
fn valid_up_to(body: &[u8]) -> usize {
    std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len)
}

/// True if brackets nest deeper than `limit`. Counting all of them first is far cheaper than following them, and enough for
/// nearly every body.
pub fn nests_deeper_than(json: &[u8], limit: usize) -> bool {
    if count_brackets(json) <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Counts opening brackets, in pieces whose counts fit into a byte, which compilers turn into vector instructions.
fn count_brackets(json: &[u8]) -> usize {
    let piece = |piece: &[u8]| {
        // `[` and `{` differ in this bit, and no other byte becomes `{` by it.
        let opens = |byte: &u8| u8::from(*byte | 0x20 == b'{');
        usize::from(piece.iter().map(opens).fold(0u8, u8::wrapping_add))
    };
    json.chunks(128).map(piece).sum()
}

/// Line and column, both from 1, of a piece of `body`; the column counts bytes, as the JSON reader does.
pub fn place(body: &[u8], piece: &str) -> (usize, usize) {
    let offset = (piece.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    place_of(body, offset)
}

/// Line and column, both from 1, of a byte of `body`.
pub fn place_of(body: &[u8], offset: usize) -> (usize, usize) {
    let before = body.get(..offset).unwrap_or(body);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    (line, column)
}
