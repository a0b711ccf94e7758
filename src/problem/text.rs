//! The text of each problem: what was seen, and how to fix it.

use std::{borrow::Cow, fmt::Write as _};

use super::Problem;
use crate::{
    policy::{Finding, Verdict, repair::Repair},
    rate_limit::{Cause, Whose},
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
                "The Host header differs from the host in the request's target.".into(),
                "Send the path alone as target, or name the same host twice.".into(),
            ),
            Self::BadTarget => (
                "The request's target is neither a path nor an absolute URL without user information.".into(),
                "Send a target that begins with a slash.".into(),
            ),
            Self::UriTooLong => (
                "The request's target is longer than 16384 bytes.".into(),
                "Shorten the query, or follow @odata.nextLink instead of naming many ids.".into(),
            ),
            Self::HeaderTooLarge => (
                "The header section is larger than this gateway accepts.".into(),
                "Send fewer or shorter header fields, or have downstream.max_header_bytes and downstream.max_headers raised by who runs the gateway."
                    .into(),
            ),
            Self::SuspiciousPath => (
                "The path names referrals in a form that servers read differently (dot segments, encoded slashes, backslashes, control characters, path parameters, double encoding).".into(),
                "Send the plain path, for example /v1.0/engagements/referrals/{id}.".into(),
            ),
            Self::BadFraming => (
                "Transfer-Encoding is not exactly `chunked`.".into(),
                "Send a Content-Length, or Transfer-Encoding: chunked alone.".into(),
            ),
            Self::ConnectionNamesGuardedField(name) => (
                format!("The Connection header names {name}, which would then be removed on the way.").into(),
                "Name only hop-by-hop fields in Connection, such as close or keep-alive.".into(),
            ),
            Self::MethodOverride(name) => (
                format!("The header {name} asks for another method than the one that is judged.").into(),
                "Send the method you mean.".into(),
            ),
            Self::UrlOverride(name) => (
                format!("The header {name} asks for another target than the one that is judged.").into(),
                "Send the request to the target you mean.".into(),
            ),
            Self::AmbiguousFieldName(name) => (
                format!("Some servers take the header {name} for the one written with hyphens.").into(),
                "Write the header's name with hyphens.".into(),
            ),
            Self::RepeatedCredential => (
                "The request has more than one Authorization header.".into(),
                "Send one.".into(),
            ),
            Self::TrailersOnJudgedWrite => (
                "The body is followed by trailer fields, which some servers add to the header section.".into(),
                "Send a write of a referral without trailers.".into(),
            ),
            Self::IncompleteBody => (
                "The body ended before its announced length, or its chunks are malformed.".into(),
                "Send the whole body. A write that is judged was not forwarded; of any other, what had come may have been.".into(),
            ),
            Self::TooManyBodies => (
                "The bodies of the writes that are being judged take all the memory that there is for them.".into(),
                "Try again after a pause; nothing of this request was sent on.".into(),
            ),
            Self::BodyTimeout => (
                "The body came too slowly: no piece for as long as downstream.body_timeout.".into(),
                "Send the body without long pauses.".into(),
            ),
            Self::UnknownReferralRoute => (
                "This path lies below the referrals but is no route of the API, so a write to it cannot be judged.".into(),
                "Write to /v1.0/engagements/referrals or /v1.0/engagements/referrals/{id}; parts of a referral are changed by PATCH with a JSON Pointer.".into(),
            ),
            Self::MethodNotAllowed(method, allowed) => (
                format!("This path of the API does not have the method {method}.").into(),
                format!("Use one of {allowed}.").into(),
            ),
            Self::UnknownMethod => (
                "The gateway does not know this method; methods are case-sensitive.".into(),
                "Use GET, HEAD, OPTIONS, PUT, PATCH, POST or DELETE, in capitals.".into(),
            ),
            Self::BatchNotSupported => (
                "The gateway cannot judge the parts of a batch.".into(),
                "Send the requests one by one.".into(),
            ),
            Self::Refused(verdict) => {
                let (message, fix) = all(verdict.findings());
                (after_repairs(message, verdict), fix)
            }
            Self::StaleEtag => (
                "The referral has changed since the version that If-Match names.".into(),
                "GET the referral again, make your change to that version, and send its eTag in If-Match.".into(),
            ),
            Self::Limited(refusal) => {
                let (class, limit) = (refusal.class.as_str(), refusal.limit);
                let per_minute = refusal.per_minute;
                // Which tenant is not said: the caller may be guessing.
                let (whose, comma) = match refusal.whose {
                    Whose::Tenant => ("this tenant", ""),
                    Whose::Credential => ("this credential, whose tenant is not proven yet", ","),
                    Whose::Strangers => ("all credentials together whose tenants are not proven yet", ","),
                };
                match refusal.cause {
                    Cause::Rate => (
                        format!("The limit of {whose} (rate_limit.{class}: {per_minute} a minute, {limit} of them at once){comma} is spent.").into(),
                        "Wait for the seconds in Retry-After, then send less at a time.".into(),
                    ),
                    Cause::Concurrency => (
                        format!("{limit} requests of {whose}{comma} are under way already, as many as there may be (rate_limit.concurrency).").into(),
                        "Wait for answers before you send more.".into(),
                    ),
                    Cause::Cooldown => (
                        format!("The service asked {whose}{comma} to wait with its {class}; the time is not over.").into(),
                        "Wait for the seconds in Retry-After: the service counts early retries too.".into(),
                    ),
                }
            }
            Self::StateUnknown { why, .. } => (
                format!("The referral's current state is needed to judge this write and could not be read: {why}. Nothing was written.").into(),
                "Wait for the seconds in Retry-After, GET the referral, then repeat the write.".into(),
            ),
            Self::Upstream(error) => of_upstream(error),
            Self::OutcomeUnknown(error) => (
                format!("The write was sent and no usable answer came ({}): the outcome is unknown.", error.detail).into(),
                "Read the referral before repeating the write.".into(),
            ),
            Self::Loop => (
                "The request has passed this gateway several times: its upstream leads back to it.".into(),
                "Set upstream.url to the service, not to the gateway.".into(),
            ),
            Self::Internal => (
                "Something in the gateway broke while it handled this request.".into(),
                "Report it with the request's id; if it was a write, read the referral before repeating it.".into(),
            ),
        }
    }
}

fn of_upstream(error: &upstream::Error) -> (Cow<'static, str>, Cow<'static, str>) {
    let detail = &error.detail;
    let again = match error.sent {
        Sent::No => {
            "Nothing was sent, so the request can be repeated; if it stays so, check upstream.url, DNS, the proxy and certificates."
        }
        Sent::Maybe => "Repeat the request after a pause.",
    };
    let message = match error.kind {
        Kind::ConnectFailed => format!("No connection to the service: {detail}."),
        Kind::ConnectTimeout => format!("No connection to the service in time: {detail}."),
        Kind::Closed => format!("The service closed the connection without an answer: {detail}."),
        Kind::BadAnswer => format!("What the service sent is no HTTP answer: {detail}."),
        Kind::Timeout => format!("The service did not answer in time: {detail}."),
        Kind::RequestBroken => return Problem::IncompleteBody.message_and_fix(),
        Kind::RequestTooSlow => return Problem::BodyTimeout.message_and_fix(),
    };
    (message.into(), again.into())
}

/// One text of all findings.
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

/// A place in a body that was mended before it was judged is not that of the body that came.
fn after_repairs(message: Cow<'static, str>, verdict: &Verdict) -> Cow<'static, str> {
    let repairs = verdict.repairs().iter().map(|(_, repair)| *repair);
    let of_body = repairs.filter(|repair| repair.changes_body());
    let names: Vec<_> = of_body.map(Repair::as_str).collect();
    if names.is_empty() {
        return message;
    }
    let names = names.join(" and ");
    // In front, since the end of a long text is cut.
    format!("(Lines and columns are those after {names}.) {message}").into()
}
