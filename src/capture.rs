//! One captured request, read from raw HTTP, a `.http` file, a HAR, or a curl command.
//!
//! A capture is judged and shown, never sent, so malformed parts are kept as written: two lines of one header, odd
//! bytes in a value. A capture that two tools would send differently is refused, and the error names the line. No file
//! that a capture names is opened.

use std::{fmt, path::Path};

use memchr::{memchr, memchr_iter};

mod body_file;
mod curl;
mod framing;
mod har;
mod http_file;
mod mask;
mod placeholder;
mod raw;
mod target;
mod words;

#[cfg(test)]
mod tests;

use body_file::BodyFile;

pub use mask::{masked_header_value, masked_target};
pub use placeholder::{Placeholders, placeholders};

/// The largest capture that is read, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// More header lines are refused. A gateway admits far fewer; `explain` is to show that.
const MAX_HEADERS: usize = 1000;

/// A piece of the capture that an error repeats is cut at so many characters.
const MAX_QUOTED: usize = 64;

/// One request as it was captured.
#[derive(Clone, PartialEq, Eq)]
pub struct Captured {
    /// The method as written.
    pub method: String,
    /// Path and query, or `*`.
    pub target: String,
    /// Host and port of an absolute URL. No `Host` header is made of it.
    pub authority: Option<String>,
    /// Whether the request line itself holds the absolute URL, so that the request names its host there too.
    pub is_absolute: bool,
    /// All header lines in order. Values stand without the blanks around them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, its chunks put together.
    pub body: Vec<u8>,
    /// A choice that the reader made, such as the first of several requests, in a sentence for the user.
    pub notice: Option<String>,
}

/// Shows no secret, and of the body only how long it is.
impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name, masked_header_value(name, value)));
        f.debug_struct("Captured")
            .field("method", &self.method)
            .field("target", &masked_target(&self.target))
            .field("authority", &self.authority)
            .field("is_absolute", &self.is_absolute)
            .field("headers", &headers.collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .field("notice", &self.notice)
            .finish()
    }
}

/// A capture that cannot be read. The text names the line, and never repeats a value, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Unreadable {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there, what was expected and how to mend it.
    pub why: String,
}

impl Unreadable {
    fn new(line: usize, why: impl Into<String>) -> Self {
        Self {
            line,
            why: why.into(),
        }
    }
}

/// Reads one request. The form is detected from the text.
///
/// `file` is the name of the file, if there is one: `.http` or `.rest` distinguishes such a file from raw HTTP, which may
/// look the same. `which` names one of several requests: by its number from 1 or, in a `.http` file, by its name.
///
/// # Errors
///
/// When a line cannot be read, or could be read in two ways.
pub fn read(
    bytes: &[u8],
    file: Option<&Path>,
    which: Option<&str>,
) -> Result<Captured, Unreadable> {
    read_with_body(bytes, file, which, None)
}

/// Reads one request as [`read`] does. `body` is what stands in the file that the capture takes its body from.
///
/// # Errors
///
/// Those of [`read`], and when the capture takes its body from no file.
pub fn read_with_body(
    bytes: &[u8],
    file: Option<&Path>,
    which: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Captured, Unreadable> {
    let mut body = BodyFile::of(body);
    let captured = read_shape(bytes, file, which, &mut body)?;
    body.end()?;
    Ok(captured)
}

fn read_shape(
    bytes: &[u8],
    file: Option<&Path>,
    which: Option<&str>,
    body: &mut BodyFile<'_>,
) -> Result<Captured, Unreadable> {
    if let Some(first) = bytes.get(..MAX_BYTES)
        && bytes.len() > MAX_BYTES
    {
        let why = format!("the capture is longer than {MAX_BYTES} bytes; shorten it");
        return Err(Unreadable::new(lines_in(first) + 1, why));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Unreadable::new(1, "UTF-16; save the capture as UTF-8"));
    }
    match Shape::of(bytes, file) {
        Shape::Nothing => Err(Unreadable::new(
            1,
            "there is nothing to read; expected raw HTTP, a .http file, a HAR or a curl command",
        )),
        Shape::Har => har::read(text(bytes)?, which),
        Shape::Curl(lines) => {
            only_one(which)?;
            // What stands before the command has no part in it, but counts as lines.
            let rest = text(bytes)?.get(bytes.len() - lines.rest.len()..);
            curl::read(rest.unwrap_or_default(), lines.number + 1, body)
        }
        Shape::Raw => {
            only_one(which)?;
            raw::read(bytes)
        }
        Shape::HttpFile => http_file::read(text(bytes)?, which, body),
    }
}

/// What a capture looks like.
enum Shape<'a> {
    Nothing,
    Har,
    /// Ahead of the line of the command.
    Curl(Lines<'a>),
    Raw,
    HttpFile,
}

impl<'a> Shape<'a> {
    fn of(bytes: &'a [u8], file: Option<&Path>) -> Self {
        match bytes.trim_ascii_start().first() {
            None => return Self::Nothing,
            // No line of the other forms can begin so.
            Some(b'{' | b'[') => return Self::Har,
            Some(_) => {}
        }
        let mut lines = Lines::of(bytes);
        let mut ahead = lines.clone();
        let mut is_first = true;
        while let Some((_, line)) = ahead.next() {
            let line = line.trim_ascii();
            if curl::is_command(line) {
                return Self::Curl(lines);
            }
            if is_first && !line.is_empty() {
                is_first = false;
                if !is_http_file(file) && raw::is_request_line(line) {
                    return Self::Raw;
                }
            }
            if !line.is_empty() && !line.starts_with(b"#") {
                break;
            }
            lines = ahead.clone();
        }
        Self::HttpFile
    }
}

fn is_http_file(file: Option<&Path>) -> bool {
    file.and_then(Path::extension).is_some_and(|extension| {
        extension.eq_ignore_ascii_case("http") || extension.eq_ignore_ascii_case("rest")
    })
}

/// For the forms that hold one request.
fn only_one(which: Option<&str>) -> Result<(), Unreadable> {
    match which {
        None | Some("1") => Ok(()),
        Some(which) => {
            let which = quoted(which);
            let why = format!("there is no request {which}; a capture of this form holds one");
            Err(Unreadable::new(1, why))
        }
    }
}

/// The lines of a text, and what comes after those that were taken.
#[derive(Debug, Clone)]
struct Lines<'a> {
    rest: &'a [u8],
    /// How many lines have been taken.
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            number: 0,
        }
    }

    /// The next line without its end, and its number.
    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let (number, line) = self.next_with_end()?;
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        Some((number, line))
    }

    fn next_with_end(&mut self) -> Option<(usize, &'a [u8])> {
        if self.rest.is_empty() {
            return None;
        }
        let length = memchr(b'\n', self.rest).map_or(self.rest.len(), |at| at + 1);
        let line = self.take(length)?;
        // What ends without a line feed is a line as well.
        self.number += usize::from(!line.ends_with(b"\n"));
        Some((self.number, line))
    }

    /// So many bytes, if there are as many.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.number += lines_in(taken);
        Some(taken)
    }
}

fn lines_in(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let why = "a byte that is not UTF-8; save the capture as UTF-8";
        Unreadable::new(lines_in(before) + 1, why)
    })
}

/// Reads a header line and appends it.
fn add_header(
    headers: &mut Vec<(String, Vec<u8>)>,
    number: usize,
    line: &[u8],
) -> Result<(), Unreadable> {
    let (name, value) = memchr(b':', line)
        .and_then(|at| line.split_at_checked(at))
        .filter(|(name, _)| !name.trim_ascii().is_empty())
        .ok_or_else(|| {
            let why = "expected a header, `Name: value`, or an empty line and then the body";
            Unreadable::new(number, why)
        })?;
    let name = str::from_utf8(name)
        .map_err(|_| Unreadable::new(number, "the header's name is not UTF-8"))?;
    let value = value.strip_prefix(b":").unwrap_or(value);
    push_header(headers, number, name.to_owned(), value)
}

fn push_header(
    headers: &mut Vec<(String, Vec<u8>)>,
    number: usize,
    name: String,
    value: &[u8],
) -> Result<(), Unreadable> {
    if headers.len() == MAX_HEADERS {
        return Err(too_many_headers(number));
    }
    headers.push((name, without_blanks(value).to_vec()));
    Ok(())
}

fn too_many_headers(number: usize) -> Unreadable {
    let why = format!("there are more than {MAX_HEADERS} headers; remove some");
    Unreadable::new(number, why)
}

/// A field value without the blanks around it (RFC 9110 5.5). Other control characters stay and are seen.
fn without_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A piece of the capture as an error repeats it.
fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTED).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("`{}`", quoted.escape_debug())
}
