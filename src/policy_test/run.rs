//! Runs the cases of test files. Each is judged by [`offline`], so by the code that judges in a running gateway.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::{
    CaseReport, Coverage, FileReport, Report, diff,
    file::{self, Case, TestFile},
};
use crate::{
    capture::Captured,
    config::{self, PolicySource, Settings},
    offline::{self, End},
    policy::{
        Body, Check, Finding, Method, Mode, Policy,
        judging::{Decision, Standing, Unjudged},
        repair::Repair,
    },
    referral::{Guarded, Sighting, State},
    yaml,
};

/// What came of a case.
#[derive(Debug)]
pub(super) struct Came {
    /// The method, if the request was judged.
    pub(super) method: Option<Method>,
    pub(super) verdict: file::Outcome,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) findings: Vec<Finding>,
    /// The rules that the answer warns of.
    pub(super) warnings: Vec<Arc<str>>,
    /// The rules that could look.
    pub(super) looks: Vec<Look>,
    pub(super) repaired: Vec<(Arc<str>, Repair)>,
    pub(super) sent: Option<Sent>,
    /// Where the referral stands, if a rule asked and it was given.
    pub(super) from: Option<State>,
    /// Where it would stand.
    pub(super) to: Option<State>,
    /// A rule asked where the referral stands, and the case does not say.
    pub(super) lacks_state: bool,
}

/// What a rule made of a request that needed none of its repairs.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) rule: Arc<str>,
    pub(super) check: Check,
    pub(super) mode: Mode,
    pub(super) finds: bool,
}

/// What is sent to the service.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A document under test.
struct Document {
    policy: Arc<Policy>,
    gateway: offline::Gateway,
    coverage: Coverage,
}

/// The documents under test by the paths they were read from; `None` is the one compiled in.
type Documents = BTreeMap<Option<PathBuf>, Document>;

/// Runs test files. `policy` takes the place of the documents that they name.
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
    // Test files may name one document in different ways.
    let key = source
        .as_ref()
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let document = match documents.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let name = source
                .as_ref()
                .map_or_else(|| "builtin".to_owned(), |path| told(path));
            let source = source.map_or(PolicySource::Builtin, PolicySource::Path);
            let policy = config::load_policy(&source)
                .map_err(|error| file.policy_error(format!("policy: cannot be used ({error})")))?;
            let policy = Arc::new(policy);
            place.insert(Document {
                gateway: offline::Gateway::new(settings, Arc::clone(&policy)),
                coverage: Coverage::of(&name, &policy),
                policy,
            })
        }
    };
    let mut reports = Vec::new();
    for case in file.cases() {
        let case = case?;
        check_rules(&case, &document.policy, &file)?;
        let came = document.judge(&case);
        let mut diff = diff::of(&case.expect, &came);
        if came.lacks_state {
            diff.push(
                "+ it is not given where the referral stands; a gateway would ask the service: give a snapshot of it"
                    .to_owned(),
            );
        }
        if diff.is_empty() {
            document.coverage.note(&came);
        }
        reports.push(CaseReport {
            name: case.name,
            place: case.place,
            findings: came
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

/// A path without the detours that a test file takes: `policies/tests/../a.yaml` is told as `policies/a.yaml`.
fn told(path: &Path) -> String {
    let mut told = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir
                if matches!(told.components().next_back(), Some(Component::Normal(_))) =>
            {
                told.pop();
            }
            part => told.push(part),
        }
    }
    told.display().to_string()
}

/// A rule that the document does not have would never be found wrong by an expectation that it stays silent.
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
            let remedy = match yaml::nearest(id, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its rules are {}", known().collect::<Vec<_>>().join(", ")),
            };
            return Err(file.error_at(case.place, what, remedy));
        }
    }
    Ok(())
}

impl Document {
    fn judge(&self, case: &Case) -> Came {
        let sightings: Vec<_> = case
            .given
            .snapshots
            .iter()
            .map(|snapshot| Sighting {
                id: Some(snapshot.id.clone()),
                tag: Some(snapshot.etag.as_bytes().into()),
                state: Some(State {
                    status: snapshot.status.as_str().into(),
                    substatus: snapshot.substatus.as_deref().map(Into::into),
                }),
            })
            .collect();
        let request = with_token(case);
        let outcome = self.gateway.judge(
            &request,
            offline::Given {
                sightings: &sightings,
                tenant: case.given.tenant.as_deref(),
            },
        );
        let method = match request.method.as_str() {
            _ if outcome.rules.is_empty() => None,
            "PUT" => Some(Method::Put),
            "PATCH" => Some(Method::Patch),
            "POST" => Some(Method::Post),
            _ => None,
        };
        let rule_of = |id: &Arc<str>| self.policy.rules.iter().find(|rule| rule.id == *id);
        let looks = outcome.rules.iter().filter_map(|ruled| {
            let finds = match ruled.decision {
                Decision::Pass => false,
                Decision::Deny | Decision::Warn | Decision::WouldDeny => true,
                // A repaired request says nothing of those that need no repair.
                Decision::Repaired | Decision::Unjudged => return None,
            };
            Some(Look {
                rule: Arc::clone(&ruled.rule),
                check: rule_of(&ruled.rule)?.check,
                mode: ruled.mode,
                finds,
            })
        });
        let looks = looks.collect();
        let (verdict, status, code, sent) = match outcome.end {
            End::Sent(sent) => {
                let sent = Sent {
                    headers: sent.headers,
                    body: sent.body,
                };
                (file::Outcome::Pass, None, None, Some(sent))
            }
            End::Refused(refusal) => {
                let status = refusal.status().as_u16();
                let code = refusal.code.to_owned();
                (file::Outcome::Refuse, Some(status), Some(code), None)
            }
        };
        let warns = |finding: &&Finding| sent.is_some() && finding.mode == Mode::Warn;
        let warnings = outcome.findings.iter().filter(warns);
        let warnings = warnings.map(|finding| Arc::clone(&finding.rule)).collect();
        let lacks_state = outcome.standing == Standing::Unjudged(Unjudged::NotGiven);
        let from = match outcome.standing {
            Standing::At { state, .. } => Some(state),
            Standing::NotAsked | Standing::Unjudged(_) => None,
        };
        let body = sent.as_ref().map_or(&*request.body, |sent| &sent.body);
        let to = method.zip(outcome.to).map(|(method, status)| State {
            status: status.into(),
            substatus: substatus(method, body, from.as_ref()),
        });
        Came {
            method,
            verdict,
            status,
            code,
            findings: outcome.findings,
            warnings,
            looks,
            repaired: outcome
                .mending
                .map(|mending| mending.repairs)
                .unwrap_or_default(),
            sent,
            from,
            to,
            lacks_state,
        }
    }
}

/// The substatus that a referral has after a write.
fn substatus(method: Method, body: &[u8], from: Option<&State>) -> Option<Box<str>> {
    let asked = match Body::read(method, body) {
        Body::Object { members, .. } => members.get(Guarded::Substatus).text(),
        Body::Patch { patch, .. } => patch.change(Guarded::Substatus).text(),
        Body::Unreadable { .. } | Body::TooLarge { .. } => None,
    };
    match (asked, method) {
        (Some(asked), _) => Some(asked.into()),
        (None, Method::Patch) => from?.substatus.clone(),
        (None, Method::Put | Method::Post) => None,
    }
}

/// The request with a token that names application and tenant, if they are given and it has none of its own.
fn with_token(case: &Case) -> Captured {
    let mut request = case.request.clone();
    let given = &case.given;
    let has_token = || {
        let mut headers = request.headers.iter();
        headers.any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    };
    if (given.application.is_some() || given.tenant_id.is_some()) && !has_token() {
        let claims = json!({ "appid": given.application, "tid": given.tenant_id });
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let token = [
            part(json!({ "alg": "none" }).to_string()),
            part(claims.to_string()),
            String::new(),
        ];
        let token = format!("Bearer {}", token.join("."));
        request
            .headers
            .push(("Authorization".to_owned(), token.into_bytes()));
    }
    request
}
