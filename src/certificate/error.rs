//! Why nothing could be made: which file, what, and how to mend it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A file or folder that stops the command.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {remedy}", path.display())]
pub struct Error {
    path: PathBuf,
    what: String,
    remedy: String,
}

impl Error {
    pub(super) fn new(
        path: impl Into<PathBuf>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A file that cannot be written, or a folder that cannot be made.
    pub(super) fn unwritten(path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "let this user write there, or name another folder".to_owned()
            }
            io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(path);
                format!("make the folder {} first", parent.display())
            }
            _ => "name another folder".to_owned(),
        };
        Self::new(path, format!("cannot be written: {error}"), remedy)
    }
}
