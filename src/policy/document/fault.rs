//! The faults of a document: a list, so that one reading reports all of them.

use std::{error, fmt};

use super::place::Place;
use crate::yaml;

/// A policy document with faults, in the order of their places.
///
/// Its text has one line for each fault: `file:line:column: what is wrong; what to write`.
#[derive(Debug)]
pub struct DocumentError(Vec<yaml::Error>);

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let end_of_line = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{fault}")?;
        }
        Ok(())
    }
}

impl error::Error for DocumentError {}

impl IntoIterator for DocumentError {
    type Item = yaml::Error;
    type IntoIter = std::vec::IntoIter<yaml::Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Collects the faults of one document.
pub(super) struct Faults<'a> {
    /// The text of the document.
    pub(super) text: &'a str,
    file: &'a str,
    found: Vec<yaml::Error>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str, file: &'a str, found: Vec<yaml::Error>) -> Self {
        Self { text, file, found }
    }

    pub(super) fn add(
        &mut self,
        place: impl Into<Place>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = place.into();
        self.found.push(yaml::Error {
            file: self.file.to_owned(),
            place: Some((place.line, place.column)),
            what: in_one_line(&what.into()),
            remedy: in_one_line(&remedy.into()),
        });
    }

    /// Adds a fault of the value at `path`.
    pub(super) fn add_at(&mut self, path: &[&str], what: impl AsRef<str>, remedy: impl AsRef<str>) {
        let (what, remedy) = (in_one_line(what.as_ref()), in_one_line(remedy.as_ref()));
        let fault = yaml::Error::at(self.text, self.file, path, what, remedy);
        self.found.push(fault);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_error(mut self) -> DocumentError {
        self.found
            .sort_by_key(|fault| (fault.place.is_none(), fault.place));
        if self.found.len() > yaml::MAX_FAULTS {
            self.found.truncate(yaml::MAX_FAULTS);
            self.found.push(yaml::more(self.file));
        }
        DocumentError(self.found)
    }
}

/// A text with a space in place of each control character.
fn in_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
