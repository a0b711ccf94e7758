//! Every answer that the gateway gives in the upstream's place.
//!
//! The service's own error shape, so that its clients parse it, with the members of RFC 9457 beside it, and
//! `Proxy-Status` (RFC 9209), so that it can be told from the service's answers.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    body::Body,
    policy::{Finding, Verdict, repair::Repair},
    rate_limit::{self, Cause, Whose},
    upstream::{self, Kind, Sent},
};

#[cfg(test)]
mod tests;

/// An answer that the gateway gives itself.
#[derive(Debug)]
pub enum Problem {
    /// `Host` is missing, repeated or not a host.
    BadHost,
    /// `Host` differs from the target's authority.
    HostMismatch,
    /// The target is neither a path nor an absolute URL.
    BadTarget,
    /// The target is too long.
    UriTooLong,
    /// The header section is too large.
    HeaderTooLarge,
    /// A path that another reader could take for another one.
    SuspiciousPath,
    /// `Transfer-Encoding` other than `chunked`.
    BadFraming,
    /// `Connection` names a field that must reach the upstream.
    ConnectionNamesGuardedField(HeaderName),
    /// A field that overrides the method.
    MethodOverride(HeaderName),
    /// A field that overrides the target.
    UrlOverride(HeaderName),
    /// A field that some readers take for a guarded one.
    AmbiguousFieldName(HeaderName),
    /// More than one `Authorization`.
    RepeatedCredential,
    /// Trailers on a request that is judged by its header section.
    TrailersOnJudgedWrite,
    /// The body ended before its time, or its framing is wrong.
    IncompleteBody,
    /// The body came too slowly.
    BodyTimeout,
    /// The bodies that are being judged take all the room there is.
    TooManyBodies,
    /// A write below a referral's prefix that is no known route.
    UnknownReferralRoute,
    /// The route does not have the method; the methods it has follow.
    MethodNotAllowed(Method, &'static str),
    /// A method outside the known list.
    UnknownMethod,
    /// A batch.
    BatchNotSupported,
    /// The policy refuses the request.
    Refused(Box<Verdict>),
    /// The referral has moved on from the named entity tag.
    StaleEtag,
    /// The caller must wait.
    Limited(rate_limit::Refusal),
    /// The state of the referral is needed and not to be had.
    StateUnknown {
        /// Why.
        why: Cow<'static, str>,
        /// When it is worth trying again, if the upstream said so.
        retry_after: Option<HeaderValue>,
    },
    /// The upstream gave no usable answer to a read, or to a write that never left.
    Upstream(upstream::Error),
    /// The upstream gave no usable answer to a write that may have reached it.
    OutcomeUnknown(upstream::Error),
    /// The request comes from the gateway itself.
    Loop,
    /// Something in the gateway broke.
    Internal,
}

/// Whose fault a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    Downstream,
    /// The policy refused the request.
    Policy,
    /// A limit held the request back.
    Limit,
    /// The upstream's wish to wait held the request back.
    Cooldown,
    /// The gateway's.
    Gateway,
    /// The upstream's.
    Upstream,
}

/// What an answer repeats of its request.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// The request's id.
    pub request_id: HeaderValue,
    /// Whether the caller asked for `application/problem+json`.
    pub problem_json: bool,
}

/// The longest message of an answer, in characters: the service's own bound.
const MAX_MESSAGE: usize = 1024;
/// What the answer says when nobody knows how long to wait, in seconds.
const RETRY_AFTER: &str = "5";

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

impl Problem {
    /// The stable name: in the body, in the log and in `Proxy-Status` alike.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::BadTarget => "bad_target",
            Self::UriTooLong => "uri_too_long",
            Self::HeaderTooLarge => "header_too_large",
            Self::SuspiciousPath => "suspicious_path",
            Self::BadFraming => "bad_framing",
            Self::ConnectionNamesGuardedField(_) => "connection_names_guarded_field",
            Self::MethodOverride(_) => "method_override",
            Self::UrlOverride(_) => "url_override",
            Self::AmbiguousFieldName(_) => "ambiguous_field_name",
            Self::RepeatedCredential => "repeated_credential",
            Self::TrailersOnJudgedWrite => "trailers_on_judged_write",
            Self::IncompleteBody => "incomplete_body",
            Self::BodyTimeout => "body_timeout",
            Self::TooManyBodies => "too_many_bodies",
            Self::UnknownReferralRoute => "unknown_referral_route",
            Self::MethodNotAllowed(..) => "method_not_allowed",
            Self::UnknownMethod => "unknown_method",
            Self::BatchNotSupported => "batch_not_supported",
            Self::Refused(verdict) => verdict.leading().map_or("refused", |finding| finding.code),
            Self::StaleEtag => "stale_etag",
            Self::Limited(refusal) => match refusal.cause {
                Cause::Rate => "rate_limited",
                Cause::Concurrency => "concurrency_limited",
                Cause::Cooldown => "cooling_down",
            },
            Self::StateUnknown { .. } => "state_unknown",
            Self::Upstream(error) => match error.kind {
                Kind::ConnectFailed => "upstream_connect_failed",
                Kind::ConnectTimeout => "upstream_connect_timeout",
                Kind::Closed => "upstream_closed",
                Kind::BadAnswer => "upstream_bad_answer",
                Kind::Timeout => "upstream_timeout",
                Kind::RequestBroken => "incomplete_body",
                Kind::RequestTooSlow => "body_timeout",
            },
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Loop => "loop_detected",
            Self::Internal => "internal_error",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadHost
            | Self::HostMismatch
            | Self::BadTarget
            | Self::SuspiciousPath
            | Self::BadFraming
            | Self::ConnectionNamesGuardedField(_)
            | Self::MethodOverride(_)
            | Self::UrlOverride(_)
            | Self::AmbiguousFieldName(_)
            | Self::RepeatedCredential
            | Self::TrailersOnJudgedWrite
            | Self::IncompleteBody => StatusCode::BAD_REQUEST,
            Self::UnknownReferralRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(..) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(verdict) => verdict
                .leading()
                .map_or(StatusCode::FORBIDDEN, |finding| finding.status),
            Self::StaleEtag => StatusCode::PRECONDITION_FAILED,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownMethod | Self::BatchNotSupported => StatusCode::NOT_IMPLEMENTED,
            Self::StateUnknown { .. } | Self::TooManyBodies => StatusCode::SERVICE_UNAVAILABLE,
            Self::Loop => StatusCode::BAD_GATEWAY,
            Self::Upstream(error) | Self::OutcomeUnknown(error) => match error.kind {
                Kind::ConnectFailed | Kind::Closed | Kind::BadAnswer => StatusCode::BAD_GATEWAY,
                Kind::ConnectTimeout | Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                Kind::RequestBroken => StatusCode::BAD_REQUEST,
                Kind::RequestTooSlow => StatusCode::REQUEST_TIMEOUT,
            },
        }
    }

    /// Whether nothing that follows on the connection may be taken for a request (RFC 9112 6.3).
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BadFraming | Self::IncompleteBody | Self::BodyTimeout | Self::TooManyBodies
        )
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(_) | Self::StaleEtag => Fault::Policy,
            Self::Limited(refusal) => match refusal.cause {
                Cause::Rate | Cause::Concurrency => Fault::Limit,
                Cause::Cooldown => Fault::Cooldown,
            },
            Self::Upstream(error) | Self::OutcomeUnknown(error) => match error.kind {
                Kind::RequestBroken | Kind::RequestTooSlow => Fault::Downstream,
                Kind::ConnectFailed
                | Kind::ConnectTimeout
                | Kind::Closed
                | Kind::BadAnswer
                | Kind::Timeout => Fault::Upstream,
            },
            Self::StateUnknown { .. } => Fault::Upstream,
            Self::Loop | Self::Internal | Self::TooManyBodies => Fault::Gateway,
            Self::BadHost
            | Self::HostMismatch
            | Self::BadTarget
            | Self::UriTooLong
            | Self::HeaderTooLarge
            | Self::SuspiciousPath
            | Self::BadFraming
            | Self::ConnectionNamesGuardedField(_)
            | Self::MethodOverride(_)
            | Self::UrlOverride(_)
            | Self::AmbiguousFieldName(_)
            | Self::RepeatedCredential
            | Self::TrailersOnJudgedWrite
            | Self::IncompleteBody
            | Self::BodyTimeout
            | Self::UnknownReferralRoute
            | Self::MethodNotAllowed(..)
            | Self::UnknownMethod
            | Self::BatchNotSupported => Fault::Downstream,
        }
    }

    /// The type of `Proxy-Status` (RFC 9209 2.3).
    fn proxy_error(&self) -> &'static str {
        match self {
            Self::Refused(_)
            | Self::StaleEtag
            | Self::Limited(_)
            | Self::UnknownReferralRoute
            | Self::MethodNotAllowed(..)
            | Self::UnknownMethod
            | Self::BatchNotSupported => "http_request_denied",
            Self::StateUnknown { .. } => "destination_unavailable",
            Self::Upstream(error) | Self::OutcomeUnknown(error) => match error.kind {
                Kind::ConnectFailed => "destination_unavailable",
                Kind::ConnectTimeout => "connection_timeout",
                Kind::Closed => "connection_terminated",
                Kind::BadAnswer => "http_protocol_error",
                Kind::Timeout => "http_response_timeout",
                Kind::RequestBroken | Kind::RequestTooSlow => "http_request_error",
            },
            Self::Loop => "proxy_loop_detected",
            Self::Internal | Self::TooManyBodies => "proxy_internal_error",
            Self::BadHost
            | Self::HostMismatch
            | Self::BadTarget
            | Self::UriTooLong
            | Self::HeaderTooLarge
            | Self::SuspiciousPath
            | Self::BadFraming
            | Self::ConnectionNamesGuardedField(_)
            | Self::MethodOverride(_)
            | Self::UrlOverride(_)
            | Self::AmbiguousFieldName(_)
            | Self::RepeatedCredential
            | Self::TrailersOnJudgedWrite
            | Self::IncompleteBody
            | Self::BodyTimeout => "http_request_error",
        }
    }

    /// What was seen, and how to mend it.
    fn told(&self) -> (Cow<'static, str>, Cow<'static, str>) {
        let (message, fix): (Cow<'static, str>, Cow<'static, str>) = match self {
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
                return (told_after_repairs(message, verdict), fix);
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
            Self::Upstream(error) => upstream_told(error),
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
        };
        (message, fix)
    }

    /// Why the upstream gave no answer, for who runs the gateway; short and on one line.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Upstream(error) | Self::OutcomeUnknown(error) => Some(&error.detail),
            Self::StateUnknown { why, .. } => Some(why),
            _ => None,
        }
    }

    /// The header or member it is about.
    fn target(&self) -> &'static str {
        match self {
            Self::BadHost | Self::HostMismatch => "Host",
            Self::BadTarget
            | Self::UriTooLong
            | Self::SuspiciousPath
            | Self::UnknownReferralRoute => "target",
            Self::HeaderTooLarge
            | Self::MethodOverride(_)
            | Self::UrlOverride(_)
            | Self::AmbiguousFieldName(_) => "header",
            Self::BadFraming => "Transfer-Encoding",
            Self::ConnectionNamesGuardedField(_) => "Connection",
            Self::RepeatedCredential => "Authorization",
            Self::TrailersOnJudgedWrite
            | Self::IncompleteBody
            | Self::BodyTimeout
            | Self::TooManyBodies => "body",
            Self::MethodNotAllowed(..) | Self::UnknownMethod | Self::BatchNotSupported => "method",
            Self::Refused(verdict) => verdict.leading().map_or("body", |finding| finding.target),
            Self::StaleEtag => "If-Match",
            Self::Limited(_) => "tenant",
            Self::StateUnknown { .. } => "referral",
            Self::Upstream(_) | Self::OutcomeUnknown(_) | Self::Loop => "upstream",
            Self::Internal => "gateway",
        }
    }

    /// The answer itself.
    pub fn answer(&self, to: &Addressee) -> Response<Body> {
        self.whole_answer(to).map(Body::from)
    }

    /// The answer with its body in one piece.
    pub fn whole_answer(&self, to: &Addressee) -> Response<Bytes> {
        let (message, fix) = self.told();
        let findings = match self {
            Self::Refused(verdict) => verdict.findings(),
            _ => &[],
        };
        let body = document(
            self.status(),
            self.code(),
            self.target(),
            &message,
            &fix,
            findings,
            to,
        );
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        let media_type = if to.problem_json {
            "application/problem+json"
        } else {
            "application/json"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(status) = proxy_status(self.proxy_error(), self.code()).parse() {
            headers.insert(PROXY_STATUS, status);
        }
        headers.insert(
            HeaderName::from_static("client-request-id"),
            to.request_id.clone(),
        );
        self.add_waiting_time(headers);
        if let Self::MethodNotAllowed(_, allowed) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        answer
    }

    fn add_waiting_time(&self, headers: &mut HeaderMap) {
        match self {
            Self::Limited(refusal) => {
                let seconds = HeaderValue::from(whole_seconds(refusal.retry_after));
                headers.insert(header::RETRY_AFTER, seconds.clone());
                let values = [
                    HeaderValue::from(refusal.limit),
                    HeaderValue::from(0),
                    seconds,
                ];
                headers.extend(RATE_LIMIT.into_iter().zip(values));
            }
            Self::StateUnknown { retry_after, .. } => {
                let value = retry_after
                    .clone()
                    .unwrap_or(HeaderValue::from_static(RETRY_AFTER));
                headers.insert(header::RETRY_AFTER, value);
            }
            Self::TooManyBodies => {
                let value = HeaderValue::from_static(RETRY_AFTER);
                headers.insert(header::RETRY_AFTER, value);
            }
            _ => {}
        }
    }
}

/// Seconds of a wait, rounded up and never 0.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn proxy_status(error: &str, code: &str) -> String {
    format!("referral-gateway; error={error}; details=\"{code}\"")
}

fn upstream_told(error: &upstream::Error) -> (Cow<'static, str>, Cow<'static, str>) {
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
        Kind::RequestBroken => return Problem::IncompleteBody.told(),
        Kind::RequestTooSlow => return Problem::BodyTimeout.told(),
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
fn told_after_repairs(message: Cow<'static, str>, verdict: &Verdict) -> Cow<'static, str> {
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

/// The body: `error` in the service's shape (`referrals-api-response-codes`), the rest as RFC 9457 names it.
fn document(
    status: StatusCode,
    code: &str,
    target: &str,
    message: &str,
    fix: &str,
    findings: &[Finding],
    to: &Addressee,
) -> String {
    let message = format!("{message} {fix}");
    let message = cut(message.trim_end());
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "rule": &*finding.rule,
                "mode": finding.mode.as_str(),
                "code": finding.code,
                "message": cut(&finding.message),
                "fix": cut(&finding.fix),
            })
        })
        .collect();
    let mut inner = json!({ "code": code });
    if let (Some(inner), false) = (inner.as_object_mut(), findings.is_empty()) {
        inner.insert("findings".to_owned(), Value::Array(findings));
    }
    json!({
        "error": { "code": service_code(status), "message": message, "target": target, "innerError": inner },
        "type": format!("urn:referral-gateway:{code}"),
        "title": status.canonical_reason().unwrap_or("Refused"),
        "status": status.as_u16(),
        "detail": message,
        "instance": to.request_id.to_str().unwrap_or_default(),
    })
    .to_string()
}

fn cut(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(MAX_MESSAGE)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// The documented code that clients branch on.
fn service_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "itemNotFound",
        412 | 428 => "preconditionFailed",
        429 | 502 | 503 | 504 => "serviceNotAvailable",
        500 => "generalException",
        _ => "invalidRequest",
    }
}

/// A whole HTTP/1.1 answer for what never became a request: what could not be read, or found no place.
///
/// `status` is 400, 414, 431 or 503; any other is told as 400.
pub fn unread(status: u16) -> Vec<u8> {
    let id = uuid::Uuid::new_v4().to_string();
    let to = Addressee {
        request_id: HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("")),
        problem_json: false,
    };
    let Unread { status, code, body } = Unread::of(status, &to);
    let wait = if status == StatusCode::SERVICE_UNAVAILABLE {
        "retry-after: 1\r\n"
    } else {
        ""
    };
    let error = if status == StatusCode::SERVICE_UNAVAILABLE {
        "connection_limit_reached"
    } else {
        "http_request_error"
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\nvia: 1.1 referral-gateway\r\nclient-request-id: {id}\r\nproxy-status: {}\r\n{wait}connection: close\r\n\r\n{body}",
        body.len(),
        proxy_status(error, code),
    )
    .into_bytes()
}

/// What the answer to something that never became a request says.
#[derive(Debug)]
pub struct Unread {
    /// The status.
    pub status: StatusCode,
    /// The stable name.
    pub code: &'static str,
    /// The body.
    pub body: String,
}

impl Unread {
    /// `status` as for [`unread`].
    pub fn of(status: u16, to: &Addressee) -> Self {
        let (status, code, message, fix) = match status {
            414 => (
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                "The request's target is too long.",
                "Shorten it.",
            ),
            431 => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header_too_large",
                "The header section has more bytes or fields than this gateway accepts.",
                "Send fewer or shorter header fields, or have downstream.max_header_bytes and downstream.max_headers raised by who runs the gateway.",
            ),
            503 => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_connections",
                "The gateway has as many connections as it accepts.",
                "Reuse connections and try again after a pause; who runs the gateway may raise downstream.max_connections.",
            ),
            _ => (
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "The request is not well-formed HTTP. Frequent causes: a blank before the colon of a header (`If-Match : ...`), a header continued on a second line, both Content-Length and Transfer-Encoding, differing Content-Lengths, a blank in the target.",
                "Send one well-formed message (RFC 9112).",
            ),
        };
        let body = document(status, code, "request", message, fix, &[], to);
        Self { status, code, body }
    }
}
