//! Splits one command into words as a shell does: a POSIX shell with `$'..'`, or the prompt of Windows.
//!
//! Not by a crate: those that split words know neither `$'..'` nor lines, and take what a shell would replace or act
//! on (`$name`, `&`) for plain text. Here that is refused, since what the shell puts there is not in the capture.

use super::{Unreadable, quoted};

mod posix;
mod windows;

use self::{posix::Posix, windows::Windows};

/// A word and the line it begins in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) line: usize,
    pub(super) text: Vec<u8>,
}

impl Word {
    fn at(line: usize) -> Self {
        Self {
            line,
            text: Vec::new(),
        }
    }

    fn backslashes(&mut self, count: usize) {
        self.text.extend(std::iter::repeat_n(b'\\', count));
    }
}

/// The words of the first command of a text.
#[derive(Debug)]
pub(super) enum Words<'a> {
    Posix(Posix<'a>),
    Windows(Windows<'a>),
}

impl<'a> Words<'a> {
    /// The text begins with the command, in that line of the capture.
    pub(super) fn of(text: &'a str, line: usize) -> Self {
        let input = Input {
            rest: text.as_bytes(),
            line,
        };
        let first_line = text.lines().next().unwrap_or_default();
        let sign = text.find(['\'', '"', '\\', '$', '^']);
        let rest = sign.and_then(|at| text.get(at..)).unwrap_or_default();
        // A caret in front of a quote or a line end is the prompt's. Double quotes are of both, but only there a line
        // goes on behind a caret.
        let is_windows = ["^\"", "^\n", "^\r\n"]
            .iter()
            .any(|start| rest.starts_with(start))
            || (rest.starts_with('"') && first_line.trim_end().ends_with('^'));
        if is_windows {
            Self::Windows(Windows::of(input))
        } else {
            Self::Posix(Posix::of(input))
        }
    }

    /// The next word, or none when the command ends.
    pub(super) fn next(&mut self) -> Result<Option<Word>, Unreadable> {
        match self {
            Self::Posix(words) => words.next(),
            Self::Windows(words) => words.next(),
        }
    }
}

/// The text that has not been read.
#[derive(Debug, Clone)]
struct Input<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Input<'a> {
    /// The next byte. A line feed counts for the line that it ends.
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    /// Takes a line end if one stands here.
    fn take_line_end(&mut self) -> bool {
        let length = if self.rest.starts_with(b"\n") {
            1
        } else if self.rest.starts_with(b"\r\n") {
            2
        } else {
            return false;
        };
        for _ in 0..length {
            self.next();
        }
        true
    }

    /// Takes the bytes as long as they fit, at most so many.
    fn take_while(&mut self, most: usize, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take(most).take_while(|byte| fits(**byte));
        let (taken, rest) = self.rest.split_at(length.count());
        self.rest = rest;
        taken
    }

    /// The command has ended; nothing but comments may follow.
    fn end(&mut self, is_comment: fn(&[u8]) -> bool) -> Result<(), Unreadable> {
        let mut lines = super::Lines {
            rest: self.rest,
            number: self.line - 1,
        };
        self.rest = &[];
        while let Some((number, line)) = lines.next() {
            let line = line.trim_ascii();
            if !line.is_empty() && !is_comment(line) {
                let why = "a second command begins here; keep one";
                return Err(Unreadable::new(number, why));
            }
        }
        Ok(())
    }

    fn error(&self, why: impl Into<String>) -> Unreadable {
        Unreadable::new(self.line, why)
    }
}

/// What a shell acts on.
fn operator(byte: u8) -> String {
    format!(
        "the shell interprets {}; quote the text around it, or remove what is not part of curl",
        quoted(&char::from(byte).to_string())
    )
}
