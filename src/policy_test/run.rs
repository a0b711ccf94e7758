//! Runs the cases of test files.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    CaseReport, Coverage, FileReport, Report, actual::Actual, case::Case, diff, file::TestFile,
};
use crate::{
    config::{self, PolicySource, Settings},
    nearest::nearest,
    offline,
    policy::{Finding, Policy},
    yaml,
};

/// A document under test.
struct Document {
    policy: Arc<Policy>,
    gateway: offline::Gateway,
    coverage: Coverage,
}

/// The documents under test by their paths; `None` is the built-in one.
type Documents = BTreeMap<Option<PathBuf>, Document>;

/// Runs test files. `policy` replaces the documents that they name.
pub fn run(files: &[PathBuf], policy: Option<&PolicySource>, settings: &Settings) -> Report {
    let mut documents = Documents::new();
    let files = files
        .iter()
        .map(|path| FileReport {
            path: path.clone(),
            outcome: run_file(path, policy, settings, &mut documents)
                .map_err(|error| error.to_string()),
        })
        .collect();
    Report {
        files,
        coverage: documents
            .into_values()
            .map(|document| document.coverage)
            .collect(),
    }
}

fn run_file(
    path: &Path,
    policy: Option<&PolicySource>,
    settings: &Settings,
    documents: &mut Documents,
) -> Result<Vec<CaseReport>, yaml::Error> {
    let file = TestFile::read(path)?;
    let source = match policy {
        Some(PolicySource::Builtin) => None,
        Some(PolicySource::Path(path)) => Some(path.clone()),
        None => file.policy(),
    };
    // Test files can write the path of one document in different ways.
    let key = source
        .as_ref()
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let document = match documents.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let name = source
                .as_ref()
                .map_or_else(|| "builtin".to_owned(), |path| without_detours(path));
            let source = source.map_or(PolicySource::Builtin, PolicySource::Path);
            let policy = config::load_policy(&source)
                .map_err(|error| file.policy_error(format!("the policy is not valid ({error})")))?;
            let policy = Arc::new(policy);
            place.insert(Document {
                gateway: offline::Gateway::new(settings.offline(), Arc::clone(&policy)),
                coverage: Coverage::of(&name, &policy),
                policy,
            })
        }
    };
    let mut reports = Vec::new();
    for case in file.cases() {
        let case = case?;
        check_rules(&case, &document.policy, &file)?;
        let actual = Actual::of(&case, &document.gateway, &document.policy);
        let mut diff = diff::of(&case.expect, &actual);
        if actual.lacks_state {
            diff.push(
                "+ the case gives no state of the referral, which a gateway would fetch; add it to given.snapshots"
                    .to_owned(),
            );
        }
        if diff.is_empty() {
            document.coverage.note(&actual);
        }
        reports.push(CaseReport {
            warning: unnamed_tenant(&case, &document.policy),
            name: case.name,
            place: case.place,
            findings: actual
                .findings
                .iter()
                .map(|finding| {
                    let Finding { rule, code, .. } = finding;
                    format!("{rule} ({}): {code}: {}", finding.mode, finding.message)
                })
                .collect(),
            diff,
        });
    }
    Ok(reports)
}

/// A path without detours: `policies/a.yaml` for `policies/tests/../a.yaml`.
fn without_detours(path: &Path) -> String {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir
                if matches!(short.components().next_back(), Some(Component::Normal(_))) =>
            {
                short.pop();
            }
            part => short.push(part),
        }
    }
    short.display().to_string()
}

/// Warns of a tenant that the policy does not name: a misspelt alias, for example.
fn unnamed_tenant(case: &Case, policy: &Policy) -> Option<String> {
    let alias = case.given.tenant.as_deref()?;
    if policy.names_tenant(alias) {
        return None;
    }
    let named = policy.tenants().map(|(named, _)| named);
    let remedy = match nearest(alias, named) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "the modes of all tenants apply".to_owned(),
    };
    let alias = yaml::quoted(alias);
    Some(format!(
        "`tenant` is {alias}: no rule of the policy names this alias; {remedy}"
    ))
}

/// Refuses expectations about rules that the document does not have.
fn check_rules(case: &Case, policy: &Policy, file: &TestFile) -> Result<(), yaml::Error> {
    let known = || policy.rules.iter().map(|rule| &*rule.id);
    let named = case
        .expect
        .rules
        .iter()
        .chain(case.expect.warnings.iter().flatten());
    for id in named {
        if known().all(|known| known != id) {
            let what = format!(
                "the policy {} has no rule {}",
                policy.name,
                yaml::quoted(id)
            );
            let remedy = match nearest(id, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its rules are {}", known().collect::<Vec<_>>().join(", ")),
            };
            return Err(file.error_at(case.place, what, remedy));
        }
    }
    Ok(())
}
