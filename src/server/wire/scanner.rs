//! Follows the framing of HTTP/1.1 requests, to find those that hyper would repair silently or refuse without a cause.

use crate::target;

#[cfg(test)]
mod tests;

/// Follows the framing of the requests on one connection, line by line where there are lines.
///
/// It decides nothing about a request: hyper does. Once hyper refuses the framing, the scanner's result no longer matters.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    part: Part,
    /// The beginning of the current line.
    line: Vec<u8>,
    /// The current line is longer than what is kept of it.
    is_cut: bool,
    /// A line of the header section was seen.
    begun: bool,
    /// The length of the request line so far, in bytes.
    request_line: usize,
    /// The request line has a `#`: a target holds no fragment (RFC 9112 3.2), and hyper would drop it silently.
    has_fragment: bool,
    /// The byte for which the request line is refused.
    stray: Option<u8>,
    /// The number of complete heads.
    heads: usize,
    length: Option<u64>,
    coded: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Lines of a request's head.
    #[default]
    Head,
    /// Bytes of a body or a chunk.
    Data { left: u64, then: After },
    /// The line with a chunk's size.
    Size,
    /// Lines after the last chunk.
    Trailer(At),
    /// Input that cannot be followed.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Head,
    Size,
}

/// Where in the lines after the last chunk. As for hyper, CR LF ends them, and LF alone does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the start of a line.
    Start,
    Line,
    /// Behind the CR of a line.
    Cr,
    /// Behind the CR of an empty line.
    LastCr,
}

/// A longer request line means a target that is too long.
const MAX_REQUEST_LINE: usize = 16 * 1024;
/// The bytes of a line that are kept.
const MAX_LINE: usize = 64;
/// The bytes of a request line that are kept: any target that is not too long, with method and version.
const MAX_FIRST_LINE: usize = target::MAX + 256;
/// The maximum number of digits in a chunk's size; a valid one has at most 16.
const MAX_DIGITS: usize = 32;

impl Scanner {
    /// Whether the head of a request has begun and not ended.
    pub(super) fn is_in_head(&self) -> bool {
        self.part == Part::Head && (self.begun || !self.line.is_empty())
    }

    /// Follows the next bytes. Returns the number of bytes before a line that must be refused, if there is one.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.part {
                Part::Unknown => return None,
                Part::Data { left, then } => {
                    let skip = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.split_at(skip).1;
                    let left = left - skip as u64;
                    self.part = match (left, then) {
                        (0, After::Head) => Part::Head,
                        (0, After::Size) => Part::Size,
                        _ => Part::Data { left, then },
                    };
                }
                Part::Trailer(at) => rest = self.trailer(at, rest),
                Part::Head | Part::Size => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep(rest);
                        return None;
                    };
                    let (line, after) = rest.split_at(end + 1);
                    let refused = if self.line.is_empty() {
                        self.measure(line);
                        self.is_cut = line.len() > self.room();
                        self.end_line(line)
                    } else {
                        self.keep(line);
                        let mut begun = std::mem::take(&mut self.line);
                        let refused = self.end_line(&begun);
                        begun.clear();
                        begun.shrink_to(MAX_LINE);
                        self.line = begun;
                        refused
                    };
                    self.is_cut = false;
                    if refused {
                        return Some(bytes.len() - rest.len());
                    }
                    rest = after;
                }
            }
        }
        None
    }

    pub(super) fn is_between_requests(&self) -> bool {
        self.part == Part::Head && !self.is_in_head()
    }

    /// The byte for which a request line is refused: by the scanner at its end, or by hyper before. `None` if the request
    /// that is refused is another one than the `begun` requests so far are followed by.
    pub(super) fn stray(&self, begun: usize) -> Option<u8> {
        if self.heads != begun {
            return None;
        }
        let is_first_line = self.part == Part::Head && !self.begun;
        self.stray.or_else(|| {
            let mut words = self.line.split(|byte| *byte == b' ');
            words
                .nth(1)
                .filter(|_| is_first_line)
                .and_then(target::stray)
        })
    }

    /// RFC 9112 3: a request line that is too long is answered 414.
    pub(super) fn target_is_too_long(&self) -> bool {
        self.request_line > MAX_REQUEST_LINE
    }

    fn measure(&mut self, piece: &[u8]) {
        if self.part == Part::Head && !self.begun {
            let is_first = self.line.is_empty();
            let (length, found) = if is_first {
                (0, false)
            } else {
                (self.request_line, self.has_fragment)
            };
            self.request_line = length + piece.len();
            self.has_fragment = found || memchr::memchr(b'#', piece).is_some();
        }
    }

    /// How much is kept of the current line.
    fn room(&self) -> usize {
        match self.part {
            Part::Head if !self.begun => MAX_FIRST_LINE,
            _ => MAX_LINE,
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.measure(piece);
        let room = self.room().saturating_sub(self.line.len());
        self.is_cut |= piece.len() > room;
        self.line
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// A line is complete. Returns whether it must be refused.
    fn end_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.part {
            Part::Head if line.is_empty() => {
                if self.begun {
                    self.end_head();
                }
            }
            // No other field tells a length.
            Part::Head
                if self.begun && !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) => {}
            // The first line is not a field.
            Part::Head if !self.begun => {
                self.begun = true;
                self.stray = target_of(line).and_then(target::stray);
                return self.has_fragment || self.stray.is_some();
            }
            Part::Head => {
                let (length, coded) = (content_length(line), is_coded(line));
                // No valid length is that long, and a part of one is another length.
                if length.is_some() && self.is_cut {
                    return true;
                }
                self.coded |= coded;
                self.length = length.or(self.length);
                return (length.is_some() || coded) && self.length.is_some() && self.coded;
            }
            Part::Size => {
                let digits: Vec<u8> = line
                    .iter()
                    .copied()
                    .take_while(u8::is_ascii_hexdigit)
                    .collect();
                if digits.len() > MAX_DIGITS {
                    return true;
                }
                let size = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok());
                self.part = match size {
                    None => Part::Unknown,
                    Some(0) => Part::Trailer(At::Start),
                    // A line end follows the data.
                    Some(size) => Part::Data {
                        left: size.saturating_add(2),
                        then: After::Size,
                    },
                };
            }
            Part::Trailer(_) | Part::Data { .. } | Part::Unknown => {}
        }
        false
    }

    /// Follows the lines after the last chunk; returns what is left of the bytes.
    fn trailer<'b>(&mut self, at: At, bytes: &'b [u8]) -> &'b [u8] {
        let Some((&byte, rest)) = bytes.split_first() else {
            return bytes;
        };
        let at = match (at, byte) {
            (At::Start, b'\r') => At::LastCr,
            (At::LastCr, b'\n') => {
                self.part = Part::Head;
                return rest;
            }
            (At::Cr, b'\n') => At::Start,
            // hyper refuses it.
            (At::Cr | At::LastCr, _) => {
                self.part = Part::Unknown;
                return rest;
            }
            (At::Line, b'\r') => At::Cr,
            (At::Start | At::Line, _) => {
                let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
                self.part = Part::Trailer(At::Line);
                return rest.split_at(end).1;
            }
        };
        self.part = Part::Trailer(at);
        rest
    }

    fn end_head(&mut self) {
        self.part = match self.length {
            _ if self.coded => Part::Size,
            Some(left) if left > 0 => Part::Data {
                left,
                then: After::Head,
            },
            _ => Part::Head,
        };
        (self.begun, self.length, self.coded) = (false, None, false);
        self.heads += 1;
    }
}

/// What stands between method and version; `None` if hyper refuses the line for something else.
fn target_of(line: &[u8]) -> Option<&[u8]> {
    let mut blanks = memchr::memchr_iter(b' ', line);
    let (first, last) = (blanks.next()?, blanks.next_back()?);
    let target = line.get(first + 1..last)?;
    let is_version = line.get(last + 1..)?.starts_with(b"HTTP/");
    let is_ragged = target.starts_with(b" ") || target.ends_with(b" ");
    (is_version && !is_ragged).then_some(target)
}

/// The value of a `Content-Length` line; `Some(0)` if it is one but no number, which hyper refuses.
fn content_length(line: &[u8]) -> Option<u64> {
    let value = field(line, b"content-length")?;
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Some(number.unwrap_or(0))
}

fn is_coded(line: &[u8]) -> bool {
    field(line, b"transfer-encoding").is_some()
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start
        .eq_ignore_ascii_case(name)
        .then_some(value)?
        .trim_ascii_start()
        .strip_prefix(b":")
}
