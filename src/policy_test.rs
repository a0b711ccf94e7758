//! Tests of policy documents: cases with an input, a request and the expected outcome.
//!
//! Test files are in the folder `tests/` beside the documents. The code of the running gateway judges their cases,
//! without network. Coverage shows which parts of a document no case exercises.

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

/// The results of a run.
#[derive(Debug)]
pub struct Report {
    /// The test files, in their order.
    pub files: Vec<FileReport>,
    /// The coverage of each document under test.
    pub coverage: Vec<Coverage>,
}

/// The results of one test file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its cases, or why it cannot be run: `file:line:column: what is wrong; how to fix it`.
    pub outcome: Result<Vec<CaseReport>, String>,
}

/// The result of one case.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// The findings in the request, a sentence each.
    pub findings: Vec<String>,
    /// Expected against actual values, line by line; empty if the case passed.
    pub diff: Vec<String>,
    /// Why the case may not test what it means to.
    pub warning: Option<String>,
}

/// A path without tests.
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

    /// Whether the coverage of each document is at least `percent`.
    pub fn covers(&self, percent: u8) -> bool {
        self.coverage
            .iter()
            .all(|coverage| coverage.percent() >= percent.into())
    }
}

/// The test files for some paths: a folder of policies stands for each `*.yaml` in its folder `tests`.
pub fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, NoTests> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let tests = path.join("tests");
            let inside = tests_in(&tests).map_err(|error| {
                let what = format!("cannot be read: {error}; name test files, or a folder of policies that has its tests in the folder tests");
                no_tests(&tests, what)
            })?;
            if inside.is_empty() {
                let what = "has no *.yaml; write a test file, or name another folder";
                return Err(no_tests(&tests, what));
            }
            files.extend(inside);
        } else if path.is_file() {
            files.push(path.clone());
        } else {
            let what = "no such file or folder; name test files, or a folder of policies (without a name: the folder policies here)";
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
