//! Raw HTTP/1.1, with lines that end by CR LF or LF.
//!
//! Not by hyper's parser: it names no line, and what it refuses is here to be shown.

use super::{
    Captured, Lines, Unreadable, add_header,
    target::{self, Place},
};

pub(super) fn read(bytes: &[u8]) -> Result<Captured, Unreadable> {
    let mut lines = Lines::of(bytes);
    let (method, place) = request_line(&mut lines)?;
    let mut headers = Vec::new();
    let mut framing = Framing::default();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            let why = "a header goes on in a second line, which readers take differently; write it in one line";
            return Err(Unreadable::new(number, why));
        }
        add_header(&mut headers, number, line)?;
        if let Some((name, value)) = headers.last() {
            framing
                .note(name, value)
                .map_err(|why| Unreadable::new(number, why))?;
        }
    }
    let body = framing.body(&mut lines)?;
    Ok(Captured {
        method,
        target: place.target,
        is_absolute: place.authority.is_some(),
        authority: place.authority,
        headers,
        body,
        notice: after(lines)?,
    })
}

/// Whether a line is `METHOD target HTTP/1.1`.
pub(super) fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    words.next().is_some_and(|method| !method.is_empty())
        && words.next_back().is_some_and(|version| {
            version.starts_with(b"HTTP/") && version.get(5).is_some_and(u8::is_ascii_digit)
        })
        && words.next().is_some()
}

fn request_line(lines: &mut Lines<'_>) -> Result<(String, Place), Unreadable> {
    // RFC 9112 2.2: empty lines before it are skipped.
    let (number, line) = loop {
        match lines.next() {
            Some((_, [])) => {}
            Some(next) => break next,
            None => break (1, &b""[..]),
        }
    };
    let cannot = |why: &str| Unreadable::new(number, why);
    let line = str::from_utf8(line).map_err(|_| cannot("the request line is not UTF-8"))?;
    let expected = || cannot("expected a request line such as `PUT /path HTTP/1.1`");
    let (method, rest) = line.split_once(' ').ok_or_else(expected)?;
    let (target, _) = rest.rsplit_once(' ').ok_or_else(expected)?;
    let place = Place::of(target).and_then(Place::plain).map_err(cannot)?;
    Ok((target::method(method).map_err(cannot)?, place))
}

/// What the head says about where the body ends.
#[derive(Debug, Default)]
struct Framing {
    length: Option<usize>,
    is_chunked: bool,
}

impl Framing {
    /// Where readers could disagree about the end there is no telling which body to judge.
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
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

    fn body(&self, lines: &mut Lines<'_>) -> Result<Vec<u8>, Unreadable> {
        let first = lines.number + 1;
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
        // A line end behind the head is the editor's.
        let is_empty = body.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        Ok(if is_empty { Vec::new() } else { body.to_vec() })
    }
}

/// The body of RFC 9112 7.1.
fn chunks(lines: &mut Lines<'_>) -> Result<Vec<u8>, Unreadable> {
    let mut body = Vec::new();
    loop {
        let last = lines.number + 1;
        let (number, line) = lines.next().ok_or_else(|| {
            Unreadable::new(
                last,
                "the body ends without its last chunk, `0` and an empty line",
            )
        })?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = digits(size.trim_ascii_end(), 16)
            .ok_or_else(|| Unreadable::new(number, "expected the size of a chunk, such as `1f`"))?;
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
                let why = "the chunk is shorter than what follows: expected a line end behind it";
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

/// A number without sign, or `None`.
fn digits(text: &[u8], radix: u32) -> Option<usize> {
    let text = str::from_utf8(text).ok()?;
    // `from_str_radix` takes a sign too.
    let is_number = text.chars().all(|c| c.is_digit(radix));
    usize::from_str_radix(text, radix)
        .ok()
        .filter(|_| is_number)
}

/// What stands behind the body: nothing, a line end of an editor, or further requests of the same connection.
fn after(mut lines: Lines<'_>) -> Result<Option<String>, Unreadable> {
    while let Some((number, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if is_request_line(line) {
            let notice = format!("Another request begins in line {number}; the first was read.");
            return Ok(Some(notice));
        }
        let why = "bytes behind the end of the body; correct Content-Length, or remove it to take all that follows";
        return Err(Unreadable::new(number, why));
    }
    Ok(None)
}
