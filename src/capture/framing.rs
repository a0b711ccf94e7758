//! Where the body of a captured message ends (RFC 9112 6).

use super::{Lines, Unreadable};

/// What the header section says about where the body ends.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Option<usize>,
    is_chunked: bool,
}

impl Framing {
    /// Notes a header. It is an error where readers could disagree about the end.
    pub(super) fn note(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        let name = name.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = digits(value, 10).ok_or("Content-Length is not a number of bytes")?;
            if self.length.is_some_and(|other| other != length) {
                return Err("a second Content-Length with another value; keep the right one");
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("expected no Transfer-Encoding but `chunked`, once");
            }
            self.is_chunked = true;
        }
        if self.is_chunked && self.length.is_some() {
            return Err("both Content-Length and Transfer-Encoding; keep one of them");
        }
        Ok(())
    }

    /// The body, which begins at the next line.
    pub(super) fn body(&self, lines: &mut Lines<'_>) -> Result<Vec<u8>, Unreadable> {
        let first = next_line(lines);
        if self.is_chunked {
            return chunks(lines);
        }
        if let Some(length) = self.length {
            let there = lines.rest.len();
            let body = lines.take(length).ok_or_else(|| {
                let why = format!("Content-Length promises {length} bytes, and {there} follow; correct it, or remove it to take all that follows");
                Unreadable::new(first, why)
            })?;
            return Ok(body.to_vec());
        }
        let body = lines.take(lines.rest.len()).unwrap_or_default();
        // Only a line end after the head: the editor added it.
        let is_empty = body.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        Ok(if is_empty { Vec::new() } else { body.to_vec() })
    }
}

/// A body in the chunked coding (RFC 9112 7.1), decoded.
pub(super) fn chunks(lines: &mut Lines<'_>) -> Result<Vec<u8>, Unreadable> {
    let mut body = Vec::new();
    loop {
        let last = next_line(lines);
        let (number, line) = lines.next().ok_or_else(|| {
            Unreadable::new(
                last,
                "the body ends without its last chunk, `0` and an empty line",
            )
        })?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = digits(size.trim_ascii_end(), 16).ok_or_else(|| {
            let why = "expected the size of a chunk, such as `1f`; remove Transfer-Encoding if the body is not in chunks";
            Unreadable::new(number, why)
        })?;
        if size == 0 {
            break;
        }
        let chunk = lines
            .take(size)
            .ok_or_else(|| Unreadable::new(number, "the chunk is longer than what follows"))?;
        body.extend_from_slice(chunk);
        match lines.next() {
            Some((_, [])) => {}
            _ => {
                let why = "the chunk is shorter than what follows: expected a line end after it";
                return Err(Unreadable::new(number, why));
            }
        }
    }
    match lines.next() {
        None | Some((_, [])) => Ok(body),
        Some((number, _)) => {
            let why = "expected an empty line after the last chunk; trailers are not read";
            Err(Unreadable::new(number, why))
        }
    }
}

/// The number of the next line; of the last one at the end of the text.
fn next_line(lines: &Lines<'_>) -> usize {
    match lines.rest {
        [] => lines.number,
        _ => lines.number + 1,
    }
}

/// A number without sign, or `None`.
fn digits(text: &[u8], radix: u32) -> Option<usize> {
    let text = str::from_utf8(text).ok()?;
    // `from_str_radix` takes a sign too.
    let is_number = text.chars().all(|c| c.is_digit(radix));
    usize::from_str_radix(text, radix)
        .ok()
        .filter(|_| is_number)
}
