//! An error in a text: place, message and remedy.

use std::fmt;

use super::places::{Place, Places};

/// A text that cannot be used. It reads `file:line:column: what is wrong; remedy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The name of the file.
    pub file: String,
    /// The place in the text, if known.
    pub place: Option<Place>,
    /// What is wrong, with key and value.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

impl Error {
    /// An error about the value at `path`, found after the text has been read.
    ///
    /// When the path does not exist (a missing key), the nearest existing parent is named.
    pub fn at(
        text: &str,
        file: &str,
        path: &[&str],
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let places = Places::of(text);
        let place = (0..=path.len())
            .rev()
            .find_map(|length| places.get(path.get(..length)?));
        Self::new(file, place, what, remedy)
    }

    pub(super) fn new(
        file: &str,
        place: Option<Place>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (file, what, remedy) = (file.to_owned(), what.into(), remedy.into());
        Self {
            file,
            place,
            what,
            remedy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}
