//! Words of a POSIX shell, and bash's `$'..'`.

use super::{Input, Word, operator};
use crate::capture::{MAX_QUOTED, Unreadable};

#[derive(Debug)]
pub(in crate::capture) struct Posix<'a> {
    input: Input<'a>,
}

impl<'a> Posix<'a> {
    pub(super) fn of(input: Input<'a>) -> Self {
        Self { input }
    }

    pub(super) fn next(&mut self) -> Result<Option<Word>, Unreadable> {
        loop {
            match self.input.peek() {
                None => return Ok(None),
                Some(b' ' | b'\t') => drop(self.input.next()),
                Some(b'\\') if self.take_continuation() => {}
                Some(b'#') => drop(self.input.take_while(usize::MAX, |byte| byte != b'\n')),
                Some(b';') => {
                    self.input.next();
                    self.input.end(|line| line.starts_with(b"#"))?;
                }
                // What it is piped into has no part in the request.
                Some(b'|') => self.input.rest = &[],
                Some(_) if self.input.take_line_end() => {
                    self.input.end(|line| line.starts_with(b"#"))?;
                }
                Some(_) => return self.word().map(Some),
            }
        }
    }

    /// A backslash and a line end are nothing, even in a file with the line ends of Windows.
    fn take_continuation(&mut self) -> bool {
        let mut ahead = self.input.clone();
        ahead.next();
        let is_one = ahead.take_line_end();
        if is_one {
            self.input = ahead;
        }
        is_one
    }

    fn word(&mut self) -> Result<Word, Unreadable> {
        let line = self.input.line;
        let mut text = Vec::new();
        while let Some(byte) = self.input.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'|' => break,
                b'\r' if self.input.rest.starts_with(b"\r\n") => break,
                b'\\' if self.take_continuation() => {}
                b'\'' => self.single(&mut text)?,
                b'"' => self.double(&mut text)?,
                b'$' if self.input.rest.starts_with(b"$'") => self.ansi(&mut text)?,
                b'$' => self.dollar(&mut text, false)?,
                // Nothing comes of empty braces that are a word.
                b'{' if text.is_empty()
                    && matches!(
                        self.input.rest,
                        [b'{', b'}'] | [b'{', b'}', b' ' | b'\t' | b'\r' | b'\n', ..]
                    ) =>
                {
                    text.extend_from_slice(b"{}");
                    self.input.take_while(2, |_| true);
                }
                b'~' if text.is_empty() && line == self.input.line => {
                    return Err(self.input.error(operator(byte)));
                }
                b'&' | b'<' | b'>' | b'(' | b')' | b'{' | b'`' => {
                    return Err(self.input.error(operator(byte)));
                }
                b'\\' => {
                    self.input.next();
                    let next = self.input.next();
                    text.push(next.ok_or_else(|| self.input.error("nothing follows the `\\`"))?);
                }
                byte => {
                    self.input.next();
                    text.push(byte);
                }
            }
        }
        Ok(Word { line, text })
    }

    fn single(&mut self, text: &mut Vec<u8>) -> Result<(), Unreadable> {
        let start = self.open();
        loop {
            match self.input.next().ok_or_else(|| unclosed(start))? {
                b'\'' => return Ok(()),
                byte => text.push(byte),
            }
        }
    }

    fn double(&mut self, text: &mut Vec<u8>) -> Result<(), Unreadable> {
        let start = self.open();
        loop {
            match self.input.peek().ok_or_else(|| unclosed(start))? {
                b'"' => {
                    self.input.next();
                    return Ok(());
                }
                b'$' => self.dollar(text, true)?,
                b'`' => return Err(self.input.error(operator(b'`'))),
                b'\\' if self.take_continuation() => {}
                b'\\' => {
                    self.input.next();
                    if !matches!(self.input.peek(), Some(b'"' | b'\\' | b'$' | b'`')) {
                        text.push(b'\\');
                    }
                    text.push(self.input.next().ok_or_else(|| unclosed(start))?);
                }
                byte => {
                    self.input.next();
                    text.push(byte);
                }
            }
        }
    }

    /// Takes the opening quote; its line is that of an error about a missing end.
    fn open(&mut self) -> usize {
        let line = self.input.line;
        self.input.next();
        line
    }

    /// A `$` that begins nothing is plain text.
    fn dollar(&mut self, text: &mut Vec<u8>, in_quotes: bool) -> Result<(), Unreadable> {
        let line = self.input.line;
        self.input.next();
        let name = self.input.take_while(MAX_QUOTED, |byte| {
            byte.is_ascii_alphanumeric() || byte == b'_'
        });
        if !name.is_empty() {
            let name = String::from_utf8_lossy(name);
            let why = format!(
                "`${name}` is a shell variable; write its value, or put the text in single quotes if it is meant as it stands"
            );
            return Err(Unreadable::new(line, why));
        }
        let is_replaced = match self.input.peek() {
            Some(b'{' | b'(' | b'[' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => true,
            // Shells differ in what it means, but inside of quotes it ends them.
            Some(b'"') => !in_quotes,
            Some(b'\\') => self.take_continuation(),
            _ => false,
        };
        if is_replaced {
            let why = "the shell replaces what begins with `$` here; put the text in single quotes to keep it";
            return Err(Unreadable::new(line, why));
        }
        text.push(b'$');
        Ok(())
    }

    /// Bash's `$'..'`. What it leaves undefined is refused.
    fn ansi(&mut self, text: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.input.next();
        let start = self.open();
        loop {
            let byte = match self.input.next().ok_or_else(|| unclosed(start))? {
                b'\'' => return Ok(()),
                b'\\' => match self.escape(start)? {
                    Escape::Byte(byte) => byte,
                    Escape::Char(c) => {
                        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        continue;
                    }
                },
                byte => byte,
            };
            text.push(byte);
        }
    }

    fn escape(&mut self, start: usize) -> Result<Escape, Unreadable> {
        let line = self.input.line;
        let byte = match self.input.next().ok_or_else(|| unclosed(start))? {
            byte @ (b'\\' | b'\'' | b'"' | b'?') => byte,
            b'a' => 0x07,
            b'b' => 0x08,
            b'e' | b'E' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            first @ b'0'..=b'7' => {
                let more = self.input.take_while(2, |byte| matches!(byte, b'0'..=b'7'));
                let digits = std::iter::once(&first).chain(more);
                // Bash keeps the low eight bits.
                digits.fold(0, |sum, digit| (sum << 3) | (digit - b'0'))
            }
            b'x' => self
                .hex(2)
                .and_then(|code| u8::try_from(code).ok())
                .ok_or_else(|| {
                    self.input
                        .error("expected two hexadecimal digits after `\\x`")
                })?,
            unicode @ (b'u' | b'U') => {
                let c = self
                    .hex(if unicode == b'u' { 4 } else { 8 })
                    .and_then(char::from_u32)
                    .filter(|c| *c != '\0')
                    .ok_or_else(|| {
                        let why = "expected the hexadecimal code of one character after `\\u`";
                        Unreadable::new(line, why)
                    })?;
                return Ok(Escape::Char(c));
            }
            _ => {
                let why = "not an escape of `$'..'`; write such a backslash twice";
                return Err(Unreadable::new(line, why));
            }
        };
        match byte {
            0 => Err(Unreadable::new(
                line,
                "a NUL, which ends a word in the shell",
            )),
            byte => Ok(Escape::Byte(byte)),
        }
    }

    fn hex(&mut self, most: usize) -> Option<u32> {
        let digits = self.input.take_while(most, |byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    }
}

enum Escape {
    Byte(u8),
    Char(char),
}

fn unclosed(line: usize) -> Unreadable {
    Unreadable::new(line, "the quote that opens here is never closed")
}
