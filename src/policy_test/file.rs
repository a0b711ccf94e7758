//! Reads a test file into its cases.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde_json::Value;
use serde_saphyr::Location;

use super::{
    case::Case,
    table::{self, Row},
};
use crate::{config, yaml};

mod fill;
mod text;

use fill::Filler;
use text::{CaseText, FileText};

/// The JSON Schema of a test file, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(FileText).to_value()
}

/// A test file with valid YAML; errors in its cases show when they are read.
#[derive(Debug)]
pub(super) struct TestFile {
    path: PathBuf,
    text: FileText,
}

impl TestFile {
    /// Reads a test file.
    pub(super) fn read(path: &Path) -> Result<Self, yaml::Error> {
        let name = path.display().to_string();
        let text: FileText = yaml::read(&yaml::text(path, config::bytes_of(path))?, &name)?;
        let file = Self {
            path: path.to_owned(),
            text,
        };
        if file.text.cases.value.is_empty() {
            let place = file.text.cases.referenced;
            return Err(file.error(place, "`cases` is empty", "write at least one case"));
        }
        Ok(file)
    }

    /// The policy document under test: a path, or `None` for the built-in one.
    pub(super) fn policy(&self) -> Option<PathBuf> {
        match &*self.text.policy.0.value {
            "builtin" => None,
            path => Some(self.beside(path)),
        }
    }

    /// An error where the file names its policy.
    pub(super) fn policy_error(&self, what: impl Into<String>) -> yaml::Error {
        let remedy = "write the path of a policy document, relative to this file, or builtin";
        self.error(self.text.policy.0.referenced, what, remedy)
    }

    /// The cases in their order; a case with a table makes one for each row.
    pub(super) fn cases(&self) -> impl Iterator<Item = Result<Case, yaml::Error>> {
        let mut names = HashSet::new();
        let rows = self.text.cases.value.iter().flat_map(|case| {
            let rows: Vec<_> = match self.rows(case) {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            rows.into_iter().map(move |row| (case, row))
        });
        rows.take(table::MAX_ROWS + 1)
            .enumerate()
            .map(move |(number, (text, row))| {
                if number == table::MAX_ROWS {
                    let what = format!("there are more than {} cases", table::MAX_ROWS);
                    let remedy = "shorten a table, or write a second file";
                    return Err(self.error(text.name.0.referenced, what, remedy));
                }
                let case = self.case(text, &row?)?;
                if !names.insert(case.name.clone()) {
                    let what = format!("two cases have the name {}", yaml::quoted(&case.name));
                    let remedy = if text.each.is_some() || text.matrix.is_some() {
                        "put values of the table into the name, as `${...}`"
                    } else {
                        "give each case its own name"
                    };
                    return Err(self.error(text.name.0.referenced, what, remedy));
                }
                Ok(case)
            })
    }

    /// An error at a place of the file.
    pub(super) fn error_at(
        &self,
        place: yaml::Place,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> yaml::Error {
        yaml::Error {
            file: self.path.display().to_string(),
            place: Some(place),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn error(
        &self,
        place: Location,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> yaml::Error {
        self.error_at((place.line(), place.column()), what, remedy)
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.path.with_file_name(path)
    }

    fn rows<'a>(&'a self, case: &'a CaseText) -> Result<Vec<Row<'a>>, yaml::Error> {
        let (place, rows) = match (&case.each, &case.matrix) {
            (None, None) => return Ok(vec![Row::none()]),
            (Some(each), None) => (each.referenced, table::each(&each.value)),
            (None, Some(matrix)) => (matrix.referenced, table::matrix(&matrix.value)),
            (Some(_), Some(matrix)) => {
                let what = "the case has both `each` and `matrix`";
                return Err(self.error(matrix.referenced, what, "keep one of them"));
            }
        };
        rows.map_err(|(what, remedy)| self.error(place, what, remedy))
    }

    fn case(&self, text: &CaseText, row: &Row<'_>) -> Result<Case, yaml::Error> {
        let fill = Filler { file: self, row };
        let name = fill.text(&text.name)?;
        let place = text.name.0.referenced;
        let request = fill.request(&self.text.defaults.request, &text.request, place)?;
        Ok(Case {
            name,
            place: (place.line(), place.column()),
            given: fill.given(&self.text.defaults.given, &text.given)?,
            expect: fill.expect(&text.expect, &request)?,
            request,
        })
    }
}
