//! Raw HTTP/1.1, with lines that end by CR LF or LF.
//!
//! Not by hyper's parser: it names no line, and what it refuses is here to be shown.

use super::{
    Captured, Lines, Unreadable, add_header,
    framing::Framing,
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
            let why = "a header continues on this line, which readers interpret differently; write it on one line";
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

/// What follows the body: nothing, a line end of an editor, or further requests of the same connection.
fn after(mut lines: Lines<'_>) -> Result<Option<String>, Unreadable> {
    while let Some((number, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if is_request_line(line) {
            let notice = format!("Another request begins in line {number}; the first was read.");
            return Ok(Some(notice));
        }
        let why = "bytes after the end of the body; correct Content-Length, or remove it to take all that follows";
        return Err(Unreadable::new(number, why));
    }
    Ok(None)
}
