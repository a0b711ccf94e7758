//! One thing that is wrong with settings or policy: where, what, and how to mend it.

use std::fmt;

use serde::Serialize;

use super::{origin::Origin, value::Fault};
use crate::yaml;

/// One thing that is wrong. It reads `place: message; remedy`, where the place is `file:line:column`, an environment
/// variable or a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, if the problem is in a file.
    pub file: Option<String>,
    /// The line in the file, from 1.
    pub line: Option<u64>,
    /// The column in the line, in characters from 1.
    pub column: Option<u64>,
    /// The environment variable or the flag, if the problem is in one, or in the file that it names: `environment HTTPS_PROXY`, `flag --listen`.
    pub origin: Option<String>,
    /// What is wrong, with key and value.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
}

impl Problem {
    /// A problem of the environment variable `name`.
    pub fn in_environment(
        name: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let origin = Origin::Environment(name.to_owned());
        Self::new(&origin, Fault::new(message, remedy))
    }

    /// A problem without a place.
    pub fn without_place(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            column: None,
            origin: None,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A problem of a whole file or folder.
    pub(super) fn in_file(file: impl fmt::Display, fault: Fault) -> Self {
        Self {
            file: Some(file.to_string()),
            ..Self::without_place(fault.what, fault.remedy)
        }
    }

    /// A problem of the value that comes from `origin`.
    pub(super) fn new(origin: &Origin, fault: Fault) -> Self {
        let none = Self::without_place(fault.what, fault.remedy);
        match origin {
            Origin::File { path, place } => Self {
                file: Some(path.display().to_string()),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                ..none
            },
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => Self {
                origin: Some(origin.to_string()),
                ..none
            },
        }
    }

    /// A problem at a place that reads `file:line:column`.
    pub(super) fn at(place: &str, fault: Fault) -> Self {
        let mut parts = place.rsplitn(3, ':');
        let (column, line) = (parts.next(), parts.next());
        let number = |text: Option<&str>| text?.parse().ok();
        Self {
            line: number(line),
            column: number(column),
            ..Self::in_file(parts.next().unwrap_or_default(), fault)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(origin), Some(_)) = (&self.origin, &self.file) {
            write!(f, "{origin}: ")?;
        }
        if let Some(place) = self.file.as_ref().or(self.origin.as_ref()) {
            f.write_str(place)?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if self.remedy.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.remedy)
    }
}

impl From<yaml::Error> for Problem {
    fn from(error: yaml::Error) -> Self {
        Self {
            line: error.place.map(|(line, _)| line),
            column: error.place.map(|(_, column)| column),
            ..Self::in_file(error.file, Fault::new(error.what, error.remedy))
        }
    }
}
