//! Reads the policy document that the settings name.

use std::path::{Path, PathBuf};

use super::{files::Files, problem::Problem, settings::PolicySource, value::Fault};
use crate::{nearest::nearest, policy::Policy, tenant::Known};

/// The document compiled in.
pub(super) const BUILTIN: &str = include_str!("../../policies/referrals.yaml");

/// Why there is no policy.
#[derive(Debug)]
pub(super) enum NoPolicy {
    /// The path does not lead to a document.
    Path(Fault),
    /// The document cannot be used.
    Document(Vec<Problem>),
}

/// Reads and checks a policy document.
pub(super) fn read(source: &PolicySource, files: &mut Files) -> Result<Policy, NoPolicy> {
    match source {
        PolicySource::Builtin => parse(BUILTIN, "builtin"),
        PolicySource::Path(path) => {
            let document = document_in(path, files).map_err(NoPolicy::Path)?;
            let text = files.text_of(&document).map_err(|error| {
                if error.place.is_some() {
                    return NoPolicy::Document(vec![error.into()]);
                }
                let what = if document == *path {
                    error.what
                } else {
                    format!("{}: {}", error.file, error.what)
                };
                let name = path.to_str().unwrap_or_default();
                let remedy = match nearest(name, ["builtin"]) {
                    Some(builtin) => format!("did you mean {builtin}?"),
                    None => error.remedy,
                };
                NoPolicy::Path(Fault::new(what, remedy))
            })?;
            parse(&text, &document.display().to_string())
        }
    }
}

fn parse(text: &str, file: &str) -> Result<Policy, NoPolicy> {
    Policy::parse(text, file)
        .map_err(|error| NoPolicy::Document(error.into_iter().map(Problem::from).collect()))
}

/// A policy must name no tenant that the settings do not know.
pub(super) fn check_tenants(policy: Policy, known: &[Known]) -> Result<Policy, Vec<Problem>> {
    let known = || known.iter().map(|known| &*known.alias);
    let problems: Vec<Problem> = policy
        .tenants()
        .filter(|(alias, _)| known().all(|other| other != *alias))
        .map(|(alias, place)| {
            let remedy = nearest(alias, known()).map_or_else(
                || "add it to the settings file and give that file with --config".to_owned(),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            let what = format!("modes: tenant `{alias}` is not in tenants.known");
            Problem::at(place, Fault::new(what, remedy))
        })
        .collect();
    if problems.is_empty() {
        return Ok(policy);
    }
    Err(problems)
}

/// The path itself, or the one document of a folder. Folders inside it (tests) do not count.
fn document_in(path: &Path, files: &mut Files) -> Result<PathBuf, Fault> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let documents = files.documents_in(path).map_err(|error| {
        let remedy = "give a folder that this user may read";
        Fault::new(format!("cannot be read: {error}"), remedy)
    })?;
    let remedy = "name the document itself, or keep exactly one *.yaml in the folder";
    match documents.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Fault::new("no *.yaml in this folder", remedy)),
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|path| path.file_name()?.to_str())
                .collect();
            let what = format!(
                "{} documents in this folder ({})",
                several.len(),
                names.join(", ")
            );
            Err(Fault::new(what, remedy))
        }
    }
}
