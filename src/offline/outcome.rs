//! What a gateway makes of a captured request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};

use super::{REQUEST_ID, mending::Mending};
use crate::{
    policy::{
        Finding, Mode,
        judging::{Decision, Judged, Standing},
    },
    problem::{Addressee, Problem, Unread},
    proxy::{headers, route::Route},
};

/// What the gateway makes of a request.
#[derive(Debug)]
pub struct Outcome {
    /// The route; none if that is why the request is refused.
    pub route: Option<Route>,
    /// The tenant.
    pub tenant: Tenant,
    /// What each rule in force made of it; none if it was not judged.
    pub rules: Vec<Ruled>,
    /// All findings, in the order of precedence; those after the repairs if there were any.
    pub findings: Vec<Finding>,
    /// The state by which it was judged.
    pub standing: Standing,
    /// The status that the referral would have.
    pub to: Option<String>,
    /// The repairs that were made before the request was judged.
    pub mending: Option<Mending>,
    /// What an answer of the service carries beside its own fields: `Warning` and `Referral-Gateway-Repaired`.
    pub annotations: HeaderMap,
    /// Assumptions, in sentences for the user.
    pub notices: Vec<String>,
    /// What happens to the request.
    pub end: End,
}

/// The tenant of a request, and what names it. Modes of a tenant apply to an alias that is given or that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// Nothing names one.
    Anonymous,
    /// The alias that was given.
    Given(String),
    /// The token names it.
    Token(String),
    /// The header of `tenants.header` names it.
    Header(String),
    /// A tenant without an alias.
    Unknown,
}

/// What one rule made of a request.
#[derive(Debug)]
pub struct Ruled {
    /// The rule's id.
    pub rule: Arc<str>,
    /// What a finding leads to.
    pub mode: Mode,
    /// What it made of the request.
    pub decision: Decision,
    /// What it found, also what its repairs mended.
    pub findings: Vec<Finding>,
}

/// What happens to a request.
#[derive(Debug)]
pub enum End {
    /// It is sent.
    Sent(Sent),
    /// It is refused, and nothing is sent.
    Refused(Refusal),
    /// The gateway answers it, and nothing is sent: `OPTIONS` with `Max-Forwards: 0`.
    Answered(Response<Bytes>),
}

/// A request as it leaves for the upstream.
#[derive(Debug)]
pub struct Sent {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The header section.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The answer to a refused request.
#[derive(Debug)]
pub struct Refusal {
    /// The stable name.
    pub code: &'static str,
    /// Status, header section and body.
    pub answer: Response<Bytes>,
}

/// Why a request is refused.
pub(super) enum Refused {
    /// It never became a request.
    Unread(Unreadable),
    Problem(Problem),
}

/// Why bytes never became a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unreadable {
    /// The status by which hyper refuses them.
    pub(super) status: u16,
    /// The byte of the target that is the cause, if there is one.
    pub(super) stray: Option<u8>,
}

impl Unreadable {
    pub(super) const fn new(status: u16) -> Self {
        Self {
            status,
            stray: None,
        }
    }
}

impl<P: Into<Problem>> From<P> for Refused {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

impl Outcome {
    pub(super) fn begin() -> Self {
        Self {
            route: None,
            tenant: Tenant::Anonymous,
            rules: Vec::new(),
            findings: Vec::new(),
            standing: Standing::NotAsked,
            to: None,
            mending: None,
            annotations: HeaderMap::new(),
            notices: Vec::new(),
            // Replaced once the end is known.
            end: End::Refused(Refused::Unread(Unreadable::new(400)).answer(&Addressee {
                request_id: REQUEST_ID,
                problem_json: false,
            })),
        }
    }

    /// What was made of a write.
    pub(super) fn note(&mut self, judged: &Judged<'_>) {
        self.rules = judged
            .rules()
            .map(|(rule, decision)| Ruled {
                rule: Arc::clone(&rule.id),
                mode: rule.mode,
                decision,
                findings: judged.findings_of(rule),
            })
            .collect();
        self.findings = judged.verdict().findings().to_vec();
        self.standing = judged.standing().clone();
        self.to = judged.next_status().map(str::to_owned);
    }
}

impl Ruled {
    /// The word in metrics for what it made of the request.
    pub fn as_str(&self) -> &'static str {
        self.decision.as_str()
    }

    /// What it found, also what its repairs mended.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl Tenant {
    /// The alias, if there is one.
    pub fn alias(&self) -> Option<&str> {
        match self {
            Self::Given(alias) | Self::Token(alias) | Self::Header(alias) => Some(alias),
            Self::Anonymous | Self::Unknown => None,
        }
    }
}

impl Refused {
    pub(super) fn answer(self, to: &Addressee) -> Refusal {
        let (code, mut answer) = match self {
            Self::Unread(Unreadable { status, stray }) => {
                let Unread { status, code, body } = Unread::of(status, stray, to);
                let mut answer = Response::new(Bytes::from(body));
                *answer.status_mut() = status;
                (code, answer)
            }
            Self::Problem(problem) => (problem.code(), problem.whole_answer(to)),
        };
        let fields = answer.headers_mut();
        fields.append(header::VIA, headers::via(http::Version::HTTP_11));
        // Nothing was answered at any time.
        fields.remove("timestamp");
        Refusal { code, answer }
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }
}
