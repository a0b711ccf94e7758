//! Where the value of a setting comes from.

use std::{fmt, path::PathBuf};

use crate::yaml;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File {
        path: PathBuf,
        place: Option<yaml::Place>,
    },
    Environment(String),
    Flag(&'static str),
}

impl Origin {
    /// The same origin, with the place in it where it is a file.
    pub(super) fn at(&self, place: Option<yaml::Place>) -> Self {
        match self {
            Self::File { path, .. } => Self::File {
                path: path.clone(),
                place,
            },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, place } => {
                write!(f, "{}", path.display())?;
                place.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
            }
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
