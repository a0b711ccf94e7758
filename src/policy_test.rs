//! Tests of policy documents: cases with what is given, what is asked and what must come of it.
//!
//! A test file stands beside the documents, in `tests/`. Its cases are judged by the code that judges in a running
//! gateway, without network, and what they show of a document is counted, so that what nobody has tried stands out.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

mod actual;
mod case;
mod coverage;
mod diff;
mod file;
mod report;
mod run;
mod table;

#[cfg(test)]
mod tests;

pub use coverage::{Coverage, Target};
pub use file::schema;
pub use run::run;

use crate::yaml::Place;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The test files, in their order.
    pub files: Vec<FileReport>,
    /// The documents that they are about.
    pub coverage: Vec<Coverage>,
}

/// What came of one test file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its cases, or why it cannot be run: `file:line:column: what is wrong; remedy`.
    pub outcome: Result<Vec<CaseReport>, String>,
}

/// What came of one case.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// What was found in the request, a sentence for each.
    pub findings: Vec<String>,
    /// What was expected against what came, line by line; empty if it passed.
    pub diff: Vec<String>,
}

/// Nothing to run: a path that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}")]
pub struct NoTests {
    path: String,
    what: String,
}

impl Report {
    /// Whether every file could be run and every case passed.
    pub fn passed(&self) -> bool {
        self.files.iter().all(|file| match &file.outcome {
            Ok(cases) => cases.iter().all(|case| case.diff.is_empty()),
            Err(_) => false,
        })
    }

    /// Whether this part of each document is covered, in percent.
    pub fn covers(&self, percent: u8) -> bool {
        self.coverage
            .iter()
            .all(|coverage| coverage.percent() >= percent.into())
    }
}

/// The test files that paths name: a folder of policies stands for each `*.yaml` in its folder `tests`.
pub fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, NoTests> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let tests = path.join("tests");
            let inside = tests_in(&tests).map_err(|error| {
                let what = format!("cannot be read: {error}; give a folder of policies with its tests in the folder tests, or test files");
                no_tests(&tests, what)
            })?;
            if inside.is_empty() {
                let what = "there is no *.yaml; write a test file, or name another folder";
                return Err(no_tests(&tests, what));
            }
            files.extend(inside);
        } else if path.is_file() {
            files.push(path.clone());
        } else {
            let what = "there is no such file or folder; give a folder of policies, or test files";
            return Err(no_tests(path, what));
        }
    }
    Ok(files)
}

fn tests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn no_tests(path: &Path, what: impl Into<String>) -> NoTests {
    NoTests {
        path: path.display().to_string(),
        what: what.into(),
    }
}
