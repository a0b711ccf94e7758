//! Words as the Windows prompt and then the C runtime split them.
//!
//! The prompt takes `^` away, and with it what the next character means to the prompt. The runtime splits what is
//! left at blanks, and knows `"` and `\"`. `%` stays: a browser writes it so that nothing is put in its place.

use super::{Input, Word, operator};
use crate::capture::Unreadable;

#[derive(Debug)]
pub(in crate::capture) struct Windows<'a> {
    input: Input<'a>,
    /// Between two quotes that the prompt sees, where `^` is plain text.
    is_quoted: bool,
}

impl<'a> Windows<'a> {
    pub(super) fn of(input: Input<'a>) -> Self {
        Self {
            input,
            is_quoted: false,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Word>, Unreadable> {
        let mut word: Option<Word> = None;
        let mut in_quotes = false;
        let mut backslashes = 0;
        loop {
            let line = self.input.line;
            let byte = self.byte()?;
            if let Some(byte @ (b'\\' | b'"')) = byte {
                let word = word.get_or_insert_with(|| Word::at(line));
                if byte == b'\\' {
                    backslashes += 1;
                    continue;
                }
                let is_text = backslashes % 2 == 1;
                word.backslashes(backslashes / 2);
                backslashes = 0;
                if is_text {
                    word.text.push(b'"');
                } else if in_quotes && self.is_next_quote() {
                    // Two quotes inside of quotes stand for one.
                    self.byte()?;
                    word.text.push(b'"');
                } else {
                    in_quotes = !in_quotes;
                }
                continue;
            }
            if let Some(word) = &mut word {
                word.backslashes(backslashes);
                backslashes = 0;
            }
            match byte {
                None if in_quotes => {
                    let line = word.map_or(line, |word| word.line);
                    let why = "a quote of this word is never closed, or its line ends without `^`";
                    return Err(Unreadable::new(line, why));
                }
                None => return Ok(word),
                Some(b' ' | b'\t') if !in_quotes => {
                    if word.is_some() {
                        return Ok(word);
                    }
                }
                Some(byte) => word.get_or_insert_with(|| Word::at(line)).text.push(byte),
            }
        }
    }

    fn is_next_quote(&self) -> bool {
        let rest = self.input.rest;
        rest.starts_with(b"\"") || (!self.is_quoted && rest.starts_with(b"^\""))
    }

    /// The next byte that the prompt hands on, or none when the command ends.
    fn byte(&mut self) -> Result<Option<u8>, Unreadable> {
        if self.input.take_line_end() {
            self.input.end(is_remark)?;
            return Ok(None);
        }
        let Some(byte) = self.input.peek() else {
            return Ok(None);
        };
        if self.is_quoted {
            self.is_quoted = byte != b'"';
            return Ok(self.input.next());
        }
        match byte {
            b'"' => self.is_quoted = true,
            // What it is piped into has no part in the request.
            b'|' => {
                self.input.rest = &[];
                return Ok(None);
            }
            b'&' | b'<' | b'>' => return Err(self.input.error(operator(byte))),
            b'^' => {
                self.input.next();
                // What follows a line end is plain text, even if it is a line end.
                if self.input.take_line_end() && self.input.take_line_end() {
                    return Ok(Some(b'\n'));
                }
            }
            _ => {}
        }
        Ok(self.input.next())
    }
}

/// Whether a line is a comment of a batch file.
fn is_remark(line: &[u8]) -> bool {
    let word = line.split(u8::is_ascii_whitespace).next();
    word.is_some_and(|word| word.eq_ignore_ascii_case(b"rem") || word.starts_with(b"::"))
}
