//! The text of each problem: what was seen, and how to fix it.

use std::{borrow::Cow, fmt::Write as _};

use super::{Problem, Repeat};
use crate::{
    policy::{Finding, Verdict, repair::Repair},
    rate_limit::{Cause, Holder},
    upstream::{self, Kind, Sent},
};

impl Problem {
    /// What was seen, and how to mend it.
    pub(super) fn message_and_fix(&self) -> (Cow<'static, str>, Cow<'static, str>) {
        match self {
            Self::BadHost => (
                "The Host header is missing, repeated, or not a host name with an optional port.".into(),
                "Send exactly one Host header with the gateway's address (RFC 9112 3.2).".into(),
            ),
            Self::HostMismatch => (
                "The Host header differs from the host in the request target.".into(),
                "Send only a path as the request target, or the same host in both places.".into(),
            ),
            Self::BadTarget => (
                "The request target is neither a path nor an absolute URL without user information.".into(),
                "Send a target that begins with a slash.".into(),
            ),
            Self::UriTooLong => (
                "The request target is longer than 16384 bytes.".into(),
                "Shorten the query, or follow @odata.nextLink instead of listing many ids.".into(),
            ),
            Self::HeaderTooLarge => (
                "The header section is larger than the gateway accepts.".into(),
                "Send fewer or shorter header fields, or ask the gateway's operator to raise downstream.max_header_bytes or downstream.max_headers."
                    .into(),
            ),
            Self::SuspiciousPath => (
                "Servers can read this path of a referral in different ways (dot segments, encoded slashes, backslashes, control characters, path parameters, double encoding).".into(),
                "Send the plain path, for example /v1.0/engagements/referrals/{id}.".into(),
            ),
            Self::BrokenPath => (
                "The path has a `%` that two hexadecimal digits do not follow, or bytes that are not UTF-8 (RFC 3986 2.1).".into(),
                "Write %25 for a percent sign, and encode other letters in UTF-8.".into(),
            ),
            Self::BadFraming => (
                "Transfer-Encoding is not exactly `chunked`, or Content-Length is repeated.".into(),
                "Send one Content-Length, or only `Transfer-Encoding: chunked`.".into(),
            ),
            Self::ConnectionNamesGuardedField(name) => (
                format!("The Connection header names {name}, so a proxy has to remove that field.").into(),
                "Name only hop-by-hop fields in Connection, such as close or keep-alive.".into(),
            ),
            Self::MethodOverride(name) => (
                format!("The header {name} overrides the method that the gateway judges.").into(),
                "Remove the header and send the intended method.".into(),
            ),
            Self::UrlOverride(name) => (
                format!("The header {name} overrides the target that the gateway judges.").into(),
                "Remove the header and send the request to the intended target.".into(),
            ),
            Self::AmbiguousFieldName(name) => (
                format!("Some servers read the header {name} as the one with hyphens.").into(),
                "Write the header name with hyphens.".into(),
            ),
            Self::RepeatedCredential => (
                "The request has more than one Authorization header, or more than one credential in it.".into(),
                "Send one header with one credential, such as Authorization: Bearer <token>.".into(),
            ),
            Self::TrailersOnJudgedWrite => (
                "The body is followed by trailer fields, which some servers merge into the header section.".into(),
                "Send writes of referrals without trailers.".into(),
            ),
            Self::IncompleteBody => (
                "The body ended before its announced length, or its chunks are malformed.".into(),
                "Send the whole body. A judged write was not forwarded; the received part of any other request may have been.".into(),
            ),
            Self::TooManyBodies => (
                "Request body buffer is full (96 MiB, or 64 MiB for unproven credentials).".into(),
                "Retry after a pause. Nothing was sent to the service.".into(),
            ),
            Self::BodyTimeout(seen) => (
                format!("The body arrived too slowly: {seen}.").into(),
                "Send the body faster and without long pauses.".into(),
            ),
            Self::UnknownReferralRoute => (
                "This path is below the referrals but is not a known route of the API, so the gateway cannot judge a write to it.".into(),
                "Write to /v1.0/engagements/referrals or /v1.0/engagements/referrals/{id}; change parts of a referral by PATCH with a JSON Pointer.".into(),
            ),
            Self::MethodNotAllowed(method, allowed) => (
                format!("This path does not support the method {method}.").into(),
                format!("Use one of {allowed}.").into(),
            ),
            Self::UnknownMethod => (
                "The gateway does not support this method. Methods are case-sensitive.".into(),
                "Use GET, HEAD, OPTIONS, PUT, PATCH, POST or DELETE, in upper case.".into(),
            ),
            Self::BatchNotSupported => (
                "The gateway cannot judge the requests in a batch.".into(),
                "Send the requests one by one.".into(),
            ),
            Self::Refused(verdict) => {
                let (message, fix) = all(verdict.findings());
                (after_repairs(message, verdict), fix)
            }
            Self::StaleEtag => (
                "The referral has changed since the version that If-Match names.".into(),
                "GET the referral again, apply your change to that version, and send its eTag in If-Match.".into(),
            ),
            Self::Limited(refusal) => {
                let (class, limit) = (refusal.class.as_str(), refusal.limit);
                let per_minute = refusal.per_minute;
                // The text does not name the tenant: the caller may be guessing.
                let holder = match refusal.holder {
                    Holder::Tenant => "this tenant",
                    Holder::Credential => "this unproven credential",
                    Holder::AllUnproven => "all unproven credentials together",
                };
                match refusal.cause {
                    Cause::Rate => (
                        format!("The rate limit of {holder} is exceeded (rate_limit.{class}: {per_minute} per minute, burst {limit}).").into(),
                        "Wait for the seconds in Retry-After, then send requests more slowly.".into(),
                    ),
                    Cause::Concurrency => (
                        format!("The concurrency limit of {holder} is reached (rate_limit.concurrency: {limit}).").into(),
                        "Wait for answers before you send more requests.".into(),
                    ),
                    Cause::Cooldown => (
                        format!("The service throttles the {class} of {holder}, and the cooldown is not over.").into(),
                        "Wait for the seconds in Retry-After: the service counts early retries too.".into(),
                    ),
                }
            }
            Self::StateUnknown { why, .. } => (
                format!("Judging this write needs the referral's current state, which could not be read: {why}. Nothing was written.").into(),
                "Wait for the seconds in Retry-After, GET the referral, then repeat the write.".into(),
            ),
            Self::Upstream(error) => of_upstream(error),
            Self::OutcomeUnknown(error, repeat) => (
                format!("The write was sent, but no usable answer arrived ({}): its outcome is unknown.", error.detail).into(),
                match repeat {
                    Repeat::Safe => "Read the referral to learn it. Repeating the write is safe: it names a version, so it takes effect once at most. A 412 to the repetition means that this write, or another one, has taken effect.",
                    Repeat::Unsafe => "Read the referral before repeating the write: a repetition may take effect twice.",
                }
                .into(),
            ),
            Self::Loop => (
                "The request has passed through this gateway several times: the upstream leads back to the gateway.".into(),
                "Set upstream.url to the service, not to the gateway.".into(),
            ),
            Self::Internal => (
                "The gateway failed while it handled this request.".into(),
                "Report the request id to the gateway's operator. After a write, read the referral before repeating it.".into(),
            ),
        }
    }
}

/// What was seen of a streamed body that stalled.
const NO_DATA: &str = "no data for downstream.body_timeout";

fn of_upstream(error: &upstream::Error) -> (Cow<'static, str>, Cow<'static, str>) {
    let detail = &error.detail;
    let again = match error.sent {
        Sent::No if matches!(error.kind, Kind::Busy | Kind::NotProcessed) => {
            "Nothing was written. Wait for the seconds in Retry-After, then repeat the request."
        }
        Sent::No if error.has_remedy => "Nothing was sent, so the request can be repeated.",
        Sent::No => {
            "Nothing was sent, so the request can be repeated. If the error persists, check upstream.url, DNS, the proxy and certificates."
        }
        Sent::Maybe => "Repeat the request after a pause.",
    };
    let message = match error.kind {
        Kind::ConnectFailed => format!("Cannot connect to the service: {detail}."),
        Kind::ConnectTimeout => format!("Connecting to the service timed out: {detail}."),
        Kind::Busy => format!("All connections to the service are busy: {detail}."),
        Kind::NotProcessed => format!("The service did not process the request: {detail}."),
        Kind::Closed => format!("The service closed the connection without an answer: {detail}."),
        Kind::BadAnswer => format!("The service sent an invalid HTTP answer: {detail}."),
        Kind::Timeout => format!("The service did not answer in time: {detail}."),
        Kind::RequestBroken => return Problem::IncompleteBody.message_and_fix(),
        Kind::RequestTooSlow => return Problem::BodyTimeout(NO_DATA.into()).message_and_fix(),
    };
    (message.into(), again.into())
}

/// One text for all findings.
fn all(findings: &[Finding]) -> (Cow<'static, str>, Cow<'static, str>) {
    match findings {
        [one] => (one.message.clone().into(), one.fix.clone()),
        many => {
            let mut message = format!("{} findings.", many.len());
            for finding in many {
                let _ = write!(
                    message,
                    " {}: {} {}",
                    finding.code, finding.message, finding.fix
                );
            }
            (message.into(), "".into())
        }
    }
}

/// A place in a repaired body is not the same place in the body that the caller sent.
fn after_repairs(message: Cow<'static, str>, verdict: &Verdict) -> Cow<'static, str> {
    let repairs = verdict.repairs().iter().map(|(_, repair)| *repair);
    let of_body = repairs.filter(|repair| repair.changes_body());
    let names: Vec<_> = of_body.map(Repair::as_str).collect();
    if names.is_empty() {
        return message;
    }
    let names = names.join(" and ");
    // At the start, since the end of a long text is cut.
    format!("(Lines and columns refer to the body after {names}.) {message}").into()
}
