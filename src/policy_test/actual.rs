//! The actual outcome of a case, from [`offline`]: the code that judges in a running gateway.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::case::{Case, Outcome};
use crate::{
    capture::Captured,
    offline::{self, End},
    policy::{
        Body, Check, Finding, Method, Mode, Policy,
        judging::{Decision, Standing, Unjudged},
        repair::Repair,
    },
    referral::{Guarded, Sighting, State},
};

/// The actual outcome of a case.
#[derive(Debug)]
pub(super) struct Actual {
    /// The method, if the request was judged.
    pub(super) method: Option<Method>,
    pub(super) verdict: Outcome,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) findings: Vec<Finding>,
    /// The rules that the answer warns of.
    pub(super) warnings: Vec<Arc<str>>,
    /// The rules that were evaluated.
    pub(super) looks: Vec<Look>,
    pub(super) repaired: Vec<(Arc<str>, Repair)>,
    pub(super) sent: Option<Sent>,
    /// The state of the referral, if a rule needed it and the case gives it.
    pub(super) from: Option<State>,
    /// The state that the write asks for.
    pub(super) to: Option<State>,
    /// A rule needed the state of the referral, which the case does not give.
    pub(super) lacks_state: bool,
}

/// The result of a rule for a request that needed none of its repairs.
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

impl Actual {
    /// Judges the request of a case.
    pub(super) fn of(case: &Case, gateway: &offline::Gateway, policy: &Policy) -> Self {
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
        let outcome = gateway.judge(
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
        let rule_of = |id: &Arc<str>| policy.rules.iter().find(|rule| rule.id == *id);
        let is_repaired = |id: &Arc<str>| {
            let mut repairs = outcome.mending.iter().flat_map(|mending| &mending.repairs);
            repairs.any(|(rule, _)| rule == id)
        };
        let looks = outcome.rules.iter().filter_map(|ruled| {
            let finds = match ruled.decision {
                // A repaired request is no example of one that the rule finds nothing in.
                Decision::Pass if is_repaired(&ruled.rule) => return None,
                Decision::Pass => false,
                Decision::Deny | Decision::Warn | Decision::WouldDeny => true,
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
                (Outcome::Pass, None, None, Some(sent))
            }
            End::Refused(refusal) => {
                let status = refusal.status().as_u16();
                let code = refusal.code.to_owned();
                (Outcome::Refuse, Some(status), Some(code), None)
            }
            End::Answered(answer) => {
                let status = answer.status().as_u16();
                (Outcome::Pass, Some(status), None, None)
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
        Self {
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

/// The request with a token for the given application and tenant, unless it has a token of its own.
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
