//! Judges a captured request as the gateway would, without network: the same steps, by the same code.
//!
//! What only a running gateway has is left out: connections, limits, time-outs. What the service would be asked is
//! given along: where the referral stands.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request,
};

use crate::{
    capture::Captured,
    config::Settings,
    policy::{self, Body, Context, Converted, Facts, Finding, IfMatch, Mode, Policy, Verdict},
    problem::{Addressee, Problem, Unread},
    proxy::{self, Stale, UnknownState, UnknownStateFailed, headers, route::Route},
    referral::{EntityTag, Sighting, State},
    tenant::{Known, RepeatedCredential, Tenants},
    upstream::Target,
};

#[cfg(test)]
mod tests;

/// The id of a request that names none. A running gateway makes a new one each time.
pub const REQUEST_ID: HeaderValue =
    HeaderValue::from_static("00000000-0000-0000-0000-000000000000");

/// The status by which hyper refuses what is no HTTP.
const MALFORMED: u16 = 400;

/// hyper takes no longer target.
const MAX_TARGET: usize = 65_534;

/// Bytes around a cut that are kept to show where it was.
const CONTEXT: usize = 24;

/// A gateway without a network.
pub struct Gateway {
    settings: proxy::Settings,
    limits: headers::Limits,
    policy: Arc<Policy>,
    tenants: Tenants,
    known: Vec<Known>,
    /// What goes into `Host`; nothing if the upstream has no name yet.
    host: Option<HeaderValue>,
}

/// What is given along with a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Where referrals stood, the latest last. One without an id is about any referral, one without a tag counts at any.
    pub sightings: &'a [Sighting],
    /// The alias of the caller's tenant, in place of what the request tells.
    pub tenant: Option<&'a str>,
}

/// What the gateway makes of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What is being asked; nothing if that is why the request is refused.
    pub route: Option<Route>,
    /// Whose request it is.
    pub tenant: Whose,
    /// What each rule in force made of it; none if it was not judged.
    pub rules: Vec<Ruled>,
    /// All findings, in the order of precedence; those of the mended request if it was mended.
    pub findings: Vec<Finding>,
    /// Where the referral stands, as far as a rule asked for it.
    pub standing: Standing,
    /// The status that the referral would have.
    pub to: Option<String>,
    /// What was mended before the request was judged.
    pub mending: Option<Mending>,
    /// What an answer of the service carries beside its own fields: `Warning` and `Referral-Gateway-Repaired`.
    pub annotations: HeaderMap,
    /// What was assumed, in sentences for the user.
    pub notices: Vec<String>,
    /// What happens to the request.
    pub end: End,
}

/// The tenant of a request, and how it was told. The rules of a tenant's own are those of an alias that is given or
/// stands in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Nothing tells: anonymous.
    Nobodys,
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
    pub saw: Saw,
}

/// What a rule can make of a request.
#[derive(Debug)]
pub enum Saw {
    /// Nothing is wrong.
    Pass,
    /// Something is.
    Found(Vec<Finding>),
    /// Something was, and nothing is after the repairs.
    Mended(Vec<Finding>),
    /// It could not look.
    Unjudged,
}

/// Where the referral stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No rule asked.
    NotAsked,
    /// There.
    At {
        /// Status and substatus.
        state: State,
        /// Whether that is so at the very version that the request replaces.
        bound: bool,
    },
    /// Nobody knows, and why: `not_given`, or one of the words of a decision record.
    Unjudged(&'static str),
}

/// What was mended.
#[derive(Debug)]
pub struct Mending {
    /// The repairs, and for which rule.
    pub repairs: Vec<(Arc<str>, policy::repair::Repair)>,
    /// What was cut out of the body, in the order of the repairs.
    pub cuts: Vec<Cut>,
    /// `If-Match` as it came and as it is sent, if that was mended.
    pub if_match: Option<(Option<HeaderValue>, HeaderValue)>,
}

/// Bytes that were cut out of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The repair that did it.
    pub repair: policy::repair::Repair,
    /// Where they began in the body as it was before this repair.
    pub at: usize,
    /// The bytes.
    pub bytes: Bytes,
    /// Some bytes ahead of them.
    pub before: Bytes,
    /// Some bytes behind them.
    pub after: Bytes,
}

/// What happens to a request.
#[derive(Debug)]
pub enum End {
    /// It is sent.
    Sent(Sent),
    /// It is refused, and nothing is sent.
    Refused(Refusal),
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
enum Refused {
    /// It never became a request; the status follows.
    Unread(u16),
    Problem(Problem),
}

impl<P: Into<Problem>> From<P> for Refused {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

impl Gateway {
    /// A gateway with these settings and this policy.
    pub fn new(settings: &Settings, policy: Arc<Policy>) -> Self {
        let host = match &settings.upstream.target {
            Target::Service { authority, .. } => HeaderValue::from_str(authority.as_str()).ok(),
            Target::Simulator => None,
        };
        Self {
            settings: settings.proxy.clone(),
            limits: headers::Limits {
                max_bytes: settings.server.max_header_bytes,
                max_fields: settings.server.max_headers,
            },
            policy,
            tenants: Tenants::new(&settings.tenants),
            known: settings.tenants.known.clone(),
            host,
        }
    }

    /// What happens to a request, and why.
    pub fn judge(&self, captured: &Captured, given: Given<'_>) -> Outcome {
        let mut addressee = Addressee {
            request_id: REQUEST_ID,
            problem_json: false,
        };
        let mut seen = Outcome::begin();
        seen.end = match self.pass(captured, given, &mut addressee, &mut seen) {
            Ok(sent) => End::Sent(sent),
            Err(refused) => End::Refused(refused.answer(&addressee)),
        };
        seen
    }

    /// The steps of [`proxy::Gateway`], in the same order.
    fn pass(
        &self,
        captured: &Captured,
        given: Given<'_>,
        addressee: &mut Addressee,
        seen: &mut Outcome,
    ) -> Result<Sent, Refused> {
        let mut head = self.head(captured, seen).map_err(Refused::Unread)?;
        *addressee = Addressee {
            request_id: headers::request_id(&head.headers, || REQUEST_ID),
            problem_json: proxy::wants_problem_json(&head.headers),
        };
        let route = Route::of(&head.method, head.uri.path())?;
        seen.route = Some(route.clone());
        headers::admit(&head, self.limits)?;
        if matches!(route, Route::Other | Route::Create) && headers::is_batch(&head) {
            return Err(Problem::BatchNotSupported.into());
        }
        let caller = self
            .tenants
            .identify(&head.headers)
            .map_err(|RepeatedCredential| Problem::RepeatedCredential)?;
        let mut said = self.tenants.said(&head.headers, &caller);
        let token_alias = self.tenants.token_alias(&head.headers, &caller);
        seen.tenant = match (given.tenant, token_alias, self.tenants.alias(caller.tenant)) {
            (Some(alias), ..) => Whose::Given(alias.to_owned()),
            (None, Some(alias), _) => Whose::Token(alias.to_owned()),
            (None, None, Some(alias)) => Whose::Header(alias.to_owned()),
            (None, None, None) if self.tenants.name(caller.tenant) == "anonymous" => Whose::Nobodys,
            (None, None, None) => Whose::Unknown,
        };
        if let Some(alias) = given.tenant {
            let known = self.known.iter().find(|known| known.alias == alias);
            said.tenant = known.map(|known| known.id.clone()).unwrap_or_default();
        }
        let alias = given.tenant.or(token_alias);

        let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        let version = head.version;
        headers::to_upstream(&mut head.headers, version);
        headers::add_request_id(&mut head.headers, &addressee.request_id);

        let mut body = Bytes::copy_from_slice(&captured.body);
        let policy = self.policy.of(alias);
        let limit = self.settings.max_judged_body;
        let mut is_streamed = true;
        if let Some(method) =
            proxy::judged_as(&head.method, &route).filter(|method| policy.judges(*method))
        {
            is_streamed = body.len() > limit;
            let context = || Context {
                route: route.as_str(),
                query: head.uri.query(),
                application: &said.application,
                tenant_alias: alias.unwrap_or_default(),
                tenant_id: &said.tenant,
                converted: Converted::default(),
            };
            let judging = Judging {
                gateway: self,
                policy,
                method,
                route: &route,
                given,
                context: &context,
            };
            body = judging.judge(&mut head.headers, body, seen)?;
        }
        Ok(self.sent(&head, body, is_chunked && is_streamed))
    }

    /// The head as hyper would read it, or the status by which it would refuse it. `Host` and the length of the body
    /// are added where the client would do so.
    fn head(&self, captured: &Captured, seen: &mut Outcome) -> Result<request::Parts, u16> {
        let mut request = Request::new(());
        *request.method_mut() =
            Method::from_bytes(captured.method.as_bytes()).map_err(|_| MALFORMED)?;
        *request.headers_mut() = self.fields(captured)?;
        frame(request.headers_mut(), captured.body.len(), seen)?;
        if captured.target.len() > MAX_TARGET {
            return Err(414);
        }
        let target = match &captured.authority {
            Some(authority) if captured.is_absolute => {
                format!("https://{authority}{}", captured.target)
            }
            _ => captured.target.clone(),
        };
        // A target holds no fragment; `http` would drop it.
        if target.contains('#') {
            return Err(MALFORMED);
        }
        *request.uri_mut() = Uri::try_from(target).map_err(|_| MALFORMED)?;
        Ok(request.into_parts().0)
    }

    fn fields(&self, captured: &Captured) -> Result<HeaderMap, u16> {
        if captured.headers.len() > self.limits.max_fields {
            return Err(431);
        }
        let mut fields = HeaderMap::new();
        for (name, value) in &captured.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MALFORMED)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| MALFORMED)?;
            fields.append(name, value);
        }
        if let (None, Some(authority)) = (fields.get(header::HOST), &captured.authority) {
            let host = HeaderValue::from_str(authority).map_err(|_| MALFORMED)?;
            fields.insert(header::HOST, host);
        }
        let lines = fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        let first = captured.method.len() + captured.target.len() + "  HTTP/1.1\r\n\r\n".len();
        match first + lines.sum::<usize>() > self.limits.max_bytes {
            true => Err(431),
            false => Ok(fields),
        }
    }

    /// The request as it leaves over HTTP/1.1.
    fn sent(&self, head: &request::Parts, body: Bytes, is_chunked: bool) -> Sent {
        let mut fields = head.headers.clone();
        match &self.host {
            Some(host) => drop(fields.insert(header::HOST, host.clone())),
            None => drop(fields.remove(header::HOST)),
        }
        if !fields.contains_key(header::CONTENT_LENGTH) {
            if is_chunked {
                let chunked = HeaderValue::from_static("chunked");
                fields.insert(header::TRANSFER_ENCODING, chunked);
            } else if !body.is_empty() {
                fields.insert(header::CONTENT_LENGTH, body.len().into());
            }
        }
        Sent {
            method: head.method.clone(),
            target: head
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
            headers: fields,
            body,
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("policy", &self.policy.name)
            .finish_non_exhaustive()
    }
}

/// Says how long the body is, as the client would.
fn frame(fields: &mut HeaderMap, body: usize, seen: &mut Outcome) -> Result<(), u16> {
    let announced = length(fields).ok_or(MALFORMED)?;
    match (announced, last_coding(fields)) {
        (Some(_), Some(_)) => return Err(MALFORMED),
        (None, Some(coding)) if !coding.eq_ignore_ascii_case(b"chunked") => return Err(MALFORMED),
        (Some(length), None) if length != body as u64 => {
            seen.notices.push(format!(
                "Content-Length says {length}; the body that was captured has {body} bytes, and so it was judged."
            ));
            fields.insert(header::CONTENT_LENGTH, body.into());
        }
        (None, None) if body > 0 => drop(fields.insert(header::CONTENT_LENGTH, body.into())),
        (Some(_), None) | (None, _) => {}
    }
    Ok(())
}

/// The length that a header section announces; `None` if it is none, or two.
fn length(fields: &HeaderMap) -> Option<Option<u64>> {
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().ok()?;
        let number = text.parse().ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) || length.is_some_and(|l| l != number) {
            return None;
        }
        length = Some(number);
    }
    Some(length)
}

fn last_coding(fields: &HeaderMap) -> Option<&[u8]> {
    let value = fields
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .next_back()?;
    let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
    Some(last.unwrap_or_default().trim_ascii())
}

/// The judging of one write.
struct Judging<'a> {
    gateway: &'a Gateway,
    policy: &'a Policy,
    method: policy::Method,
    route: &'a Route,
    given: Given<'a>,
    context: &'a dyn Fn() -> Context<'a>,
}

impl Judging<'_> {
    /// The body to send.
    fn judge(
        &self,
        fields: &mut HeaderMap,
        mut body: Bytes,
        seen: &mut Outcome,
    ) -> Result<Bytes, Problem> {
        let limit = self.gateway.settings.max_judged_body;
        let mut first = Verdict::default();
        let mut repairs = Vec::new();
        let (facts, mut verdict) = loop {
            let facts = Facts {
                method: self.method,
                id: self.route.id(),
                headers: fields,
                if_match: IfMatch::of(fields),
                body: if body.len() > limit {
                    Body::TooLarge { limit }
                } else {
                    Body::read(self.method, &body)
                },
                context: (self.context)(),
            };
            let verdict = self.policy.judge(&facts);
            if repairs.is_empty()
                && verdict.asks_for_repair()
                && let Some(mended) = self.policy.mend(&facts)
            {
                seen.mending = Some(Mending::of(&mended, fields, &body));
                first = verdict;
                repairs = mended.repairs;
                *fields = mended.headers;
                body = mended.body;
                continue;
            }
            break (facts, verdict.after(repairs));
        };
        let standing = self.standing(&facts, verdict.refuses());
        let (standing, problem) = match standing {
            Ok(standing) => (standing, None),
            Err(problem) => (Standing::Unjudged(problem.code()), Some(problem)),
        };
        let state = match &standing {
            Standing::At { state, .. } => Some(state),
            Standing::NotAsked | Standing::Unjudged(_) => None,
        };
        if let Some(state) = state {
            self.policy.judge_state(&facts, state, &mut verdict);
        }
        seen.rules = self.ruled(&facts, state.is_some(), &first, &verdict);
        seen.to = self.policy.next_status(&facts, state).map(str::to_owned);
        seen.standing = standing;
        seen.findings = verdict.findings().to_vec();
        if let Some(problem) = problem {
            return Err(problem);
        }
        let verdict = verdict
            .refusal()
            .map_err(|verdict| Problem::Refused(Box::new(verdict)))?;
        proxy::annotate(&mut seen.annotations, &verdict);
        Ok(body)
    }

    /// Where the referral stands, as a running gateway finds it out: what is given is what it remembers, and the last of
    /// it is what the service answers.
    fn standing(&self, facts: &Facts<'_>, is_refused: bool) -> Result<Standing, Problem> {
        let (Some(mode), Some(id)) = (self.policy.needs_state(facts), facts.id) else {
            return Ok(Standing::NotAsked);
        };
        let mut sightings = self
            .given
            .sightings
            .iter()
            .filter(|seen| seen.id.as_deref().is_none_or(|other| id.is(other)));
        let found = self.found(facts, sightings.clone(), is_refused);
        match found {
            Some(found) => found,
            None => self.now(facts, sightings.next_back()),
        }
        .or_else(|problem| match mode.refuses() {
            true => Err(problem),
            // A rule that only watches holds nothing up.
            false => Ok(Standing::Unjudged("fetch_failed")),
        })
    }

    /// What is known without asking.
    fn found<'s>(
        &self,
        facts: &Facts<'_>,
        mut sightings: impl Iterator<Item = &'s Sighting>,
        is_refused: bool,
    ) -> Option<Result<Standing, Problem>> {
        let at_tag = facts.if_match.tag().and_then(|named| {
            let is_named = |tag: &[u8]| tag == named.as_bytes();
            sightings.find(|seen| seen.tag.as_deref().is_none_or(is_named))
        });
        if let Some(state) = at_tag.and_then(|seen| seen.state.as_ref())
            && self.policy.can_judge(facts, state)
        {
            return Some(Ok(Standing::At {
                state: state.clone(),
                bound: true,
            }));
        }
        if is_refused {
            return Some(Ok(Standing::Unjudged("refused")));
        }
        match self.gateway.settings.unknown_state {
            UnknownState::Fetch => None,
            UnknownState::Forward => Some(Ok(Standing::Unjudged("unknown_state"))),
            UnknownState::Refuse => Some(Err(Problem::StateUnknown {
                why: "it was not seen yet, and snapshots.unknown_state is refuse".into(),
                retry_after: None,
            })),
        }
    }

    /// What the service would answer.
    fn now(&self, facts: &Facts<'_>, seen: Option<&Sighting>) -> Result<Standing, Problem> {
        let Some(seen) = seen else {
            return Ok(Standing::Unjudged("not_given"));
        };
        let settings = &self.gateway.settings;
        let states = &self.policy.states;
        let Some(state) = seen.state.as_ref().filter(|state| states.knows(state)) else {
            return match settings.unknown_state_failed {
                UnknownStateFailed::Forward => Ok(Standing::Unjudged("fetch_failed")),
                UnknownStateFailed::Refuse => Err(Problem::StateUnknown {
                    why: "the service's answer has no status that the policy knows".into(),
                    retry_after: None,
                }),
            };
        };
        let named = facts.if_match.tag().map(EntityTag::as_bytes);
        if let (Some(named), Some(now)) = (named, &seen.tag)
            && !proxy::is_alike(named, now)
        {
            return match settings.stale {
                Stale::Forward => Ok(Standing::Unjudged("moved_on")),
                Stale::Refuse => Err(Problem::StaleEtag),
            };
        }
        Ok(Standing::At {
            state: state.clone(),
            bound: named.is_some(),
        })
    }

    /// What each rule in force made of the request.
    fn ruled(
        &self,
        facts: &Facts<'_>,
        has_state: bool,
        first: &Verdict,
        verdict: &Verdict,
    ) -> Vec<Ruled> {
        let of = |verdict: &Verdict, id: &Arc<str>| -> Vec<Finding> {
            let findings = verdict.findings().iter();
            findings
                .filter(|finding| finding.rule == *id)
                .cloned()
                .collect()
        };
        let rules = self.policy.active(facts.method).map(|rule| {
            let (was, found) = (of(first, &rule.id), of(verdict, &rule.id));
            let is_mended = verdict.repairs().iter().any(|(id, _)| *id == rule.id);
            let saw = if !found.is_empty() {
                Saw::Found(found)
            } else if !self.policy.could_look(rule, facts, has_state) {
                Saw::Unjudged
            } else if is_mended {
                Saw::Mended(was)
            } else {
                Saw::Pass
            };
            Ruled {
                rule: Arc::clone(&rule.id),
                mode: rule.mode,
                saw,
            }
        });
        rules.collect()
    }
}

impl Outcome {
    fn begin() -> Self {
        Self {
            route: None,
            tenant: Whose::Nobodys,
            rules: Vec::new(),
            findings: Vec::new(),
            standing: Standing::NotAsked,
            to: None,
            mending: None,
            annotations: HeaderMap::new(),
            notices: Vec::new(),
            // Until the request has gone its way.
            end: End::Refused(Refused::Unread(400).answer(&Addressee {
                request_id: REQUEST_ID,
                problem_json: false,
            })),
        }
    }
}

impl Ruled {
    /// What it made of the request, as metrics call it.
    pub fn as_str(&self) -> &'static str {
        match (&self.saw, self.mode) {
            (Saw::Pass, _) => "pass",
            (Saw::Mended(_), _) => "repaired",
            (Saw::Unjudged, _) => "unjudged",
            (Saw::Found(_), Mode::Enforce | Mode::Repair) => "deny",
            (Saw::Found(_), Mode::Warn) => "warn",
            (Saw::Found(_), Mode::Audit | Mode::Off) => "would_deny",
        }
    }

    /// What it found, whether that was mended or not.
    pub fn findings(&self) -> &[Finding] {
        match &self.saw {
            Saw::Found(findings) | Saw::Mended(findings) => findings,
            Saw::Pass | Saw::Unjudged => &[],
        }
    }
}

impl Whose {
    /// The alias, if there is one.
    pub fn alias(&self) -> Option<&str> {
        match self {
            Self::Given(alias) | Self::Token(alias) | Self::Header(alias) => Some(alias),
            Self::Nobodys | Self::Unknown => None,
        }
    }
}

impl Mending {
    fn of(mended: &policy::Mended, fields: &HeaderMap, body: &Bytes) -> Self {
        let mut cuts = Vec::new();
        let mut before = body.clone();
        for (repair, ranges) in &mended.cuts {
            let piece = |range: Range<usize>| {
                let start = range.start.min(before.len());
                before.slice(start..range.end.clamp(start, before.len()))
            };
            cuts.extend(ranges.iter().map(|range| Cut {
                repair: *repair,
                at: range.start,
                bytes: piece(range.clone()),
                before: piece(range.start.saturating_sub(CONTEXT)..range.start),
                after: piece(range.end..range.end.saturating_add(CONTEXT)),
            }));
            let mut rest = Vec::with_capacity(before.len());
            let mut from = 0;
            for range in ranges {
                rest.extend_from_slice(&piece(from..range.start));
                from = range.end;
            }
            rest.extend_from_slice(&piece(from..before.len()));
            before = rest.into();
        }
        let (came, goes) = (
            fields.get(header::IF_MATCH),
            mended.headers.get(header::IF_MATCH),
        );
        Self {
            repairs: mended.repairs.clone(),
            cuts,
            if_match: goes
                .filter(|goes| came != Some(goes))
                .map(|goes| (came.cloned(), goes.clone())),
        }
    }
}

impl Refused {
    fn answer(self, to: &Addressee) -> Refusal {
        let (code, mut answer) = match self {
            Self::Unread(status) => {
                let Unread { status, code, body } = Unread::of(status, to);
                let mut answer = Response::new(Bytes::from(body));
                *answer.status_mut() = status;
                (code, answer)
            }
            Self::Problem(problem) => (problem.code(), problem.whole_answer(to)),
        };
        answer
            .headers_mut()
            .append(header::VIA, headers::via(http::Version::HTTP_11));
        Refusal { code, answer }
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }
}
