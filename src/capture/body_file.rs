//! The file that a capture takes its body from. The capture names it; the caller of `capture` may give its bytes.

use super::Unreadable;

/// The bytes of that file, if they are given. They stand for one file.
#[derive(Debug, Clone)]
pub(super) struct BodyFile<'a> {
    bytes: Option<&'a [u8]>,
    is_taken: bool,
}

impl<'a> BodyFile<'a> {
    pub(super) fn of(bytes: Option<&'a [u8]>) -> Self {
        Self {
            bytes,
            is_taken: false,
        }
    }

    /// The bytes, for what names a file in this line of the capture.
    pub(super) fn take(&mut self, line: usize, what: &str) -> Result<&'a [u8], Unreadable> {
        let why = match (self.bytes, self.is_taken) {
            (Some(bytes), false) => {
                self.is_taken = true;
                return Ok(bytes);
            }
            (Some(_), true) => {
                format!("{what} is a second file, but --body gives only one; write its text here")
            }
            (None, _) => format!(
                "{what} is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE"
            ),
        };
        Err(Unreadable::new(line, why))
    }

    /// Refuses a file that was given and not taken.
    pub(super) fn end(&self) -> Result<(), Unreadable> {
        match (self.bytes, self.is_taken) {
            (Some(_), false) => {
                let why = "the capture does not take its body from a file; remove --body";
                Err(Unreadable::new(1, why))
            }
            _ => Ok(()),
        }
    }
}
