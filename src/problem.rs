//! Every answer that the gateway itself gives: a table of problems, their texts and their answers.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, Method, StatusCode};

use crate::{
    policy::Verdict,
    rate_limit::{self, Cause},
    upstream::{self, Kind, Reason},
};

mod answer;
mod text;

pub use answer::{Addressee, PROXY_STATUS, Unread, clear_text, name_request, unread};

/// The code of a write whose outcome is unknown.
pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";

/// What it does to repeat a write whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The write names the version that it changes, so it takes effect once at most.
    Safe,
    /// It may take effect twice.
    Unsafe,
}

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
    /// A path that servers can read in different ways.
    SuspiciousPath,
    /// A path with a `%` that begins no escape, or with bytes that are not UTF-8 (RFC 3986 2.1).
    BrokenPath,
    /// `Transfer-Encoding` other than `chunked`.
    BadFraming,
    /// `Connection` names a field that must reach the upstream.
    ConnectionNamesGuardedField(HeaderName),
    /// A field that overrides the method.
    MethodOverride(HeaderName),
    /// A field that overrides the target.
    UrlOverride(HeaderName),
    /// A field that some servers read as a guarded one.
    AmbiguousFieldName(HeaderName),
    /// More than one `Authorization`.
    RepeatedCredential,
    /// Trailers on a request that is judged by its header section.
    TrailersOnJudgedWrite,
    /// The body ended early, or its framing is wrong.
    IncompleteBody,
    /// The body arrived too slowly: what was seen.
    BodyTimeout(Cow<'static, str>),
    /// The buffer for the bodies of judged writes is full.
    TooManyBodies,
    /// A write below a referral prefix that is not a known route.
    UnknownReferralRoute,
    /// The route does not support the method; the supported methods follow.
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
    /// Judging needs the state of the referral, which is not available.
    StateUnknown {
        /// Why.
        why: Cow<'static, str>,
        /// How long the upstream asked to wait, if it did.
        retry_after: Option<Duration>,
    },
    /// The upstream gave no usable answer to a read, or to a write that never left.
    Upstream(upstream::Error),
    /// The upstream gave no usable answer to a write that may have reached it.
    OutcomeUnknown(upstream::Error, Repeat),
    /// The request comes from the gateway itself.
    Loop,
    /// The gateway failed.
    Internal,
}

/// Which side causes a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    Downstream,
    /// The policy refused the request.
    Policy,
    /// A limit held the request back.
    Limit,
    /// A cooldown that the upstream asked for held the request back.
    Cooldown,
    /// The gateway's.
    Gateway,
    /// The upstream's.
    Upstream,
}

/// One row of the table of problems.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The stable name: in the body, in the log and in `Proxy-Status` alike.
    code: &'static str,
    status: StatusCode,
    fault: Fault,
    /// The type of `Proxy-Status` (RFC 9209 2.3).
    proxy_error: &'static str,
    /// The header, member or part of the exchange that it concerns.
    target: &'static str,
}

const BAD_REQUEST: &str = "http_request_error";
const DENIED: &str = "http_request_denied";
const UNAVAILABLE: &str = "destination_unavailable";
const CONNECT_TIMEOUT: &str = "connection_timeout";
const LIMITED: &str = "connection_limit_reached";
const TERMINATED: &str = "connection_terminated";
const BAD_ANSWER: &str = "http_protocol_error";
const TIMEOUT: &str = "http_response_timeout";
const LOOP: &str = "proxy_loop_detected";
const INTERNAL: &str = "proxy_internal_error";
const NO_ADDRESS: &str = "dns_error";
const UNROUTABLE: &str = "destination_ip_unroutable";
const REFUSED: &str = "connection_refused";
const CERTIFICATE: &str = "tls_certificate_error";
const ALERT: &str = "tls_alert_received";
const TLS: &str = "tls_protocol_error";

impl Problem {
    /// The stable name: in the body, in the log and in `Proxy-Status` alike.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// Which side causes it.
    pub fn fault(&self) -> Fault {
        self.row().fault
    }

    /// Whether the connection ends: the bytes that follow cannot be read as a request (RFC 9112 6.3).
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BadFraming | Self::IncompleteBody | Self::BodyTimeout(_) | Self::TooManyBodies
        )
    }

    /// Why the upstream gave no usable answer, for the operator of the gateway; short and on one line.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Upstream(error) | Self::OutcomeUnknown(error, _) => Some(error.exact()),
            Self::StateUnknown { why, .. } | Self::BodyTimeout(why) => Some(why),
            _ => None,
        }
    }

    #[rustfmt::skip]
    fn row(&self) -> Row {
        use Fault::{Cooldown, Downstream, Gateway, Limit, Policy, Upstream};
        match self {
            Self::BadHost                        => row("bad_host", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "Host"),
            Self::HostMismatch                   => row("host_mismatch", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "Host"),
            Self::BadTarget                      => row("bad_target", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "target"),
            Self::UriTooLong                     => row("uri_too_long", StatusCode::URI_TOO_LONG, Downstream, BAD_REQUEST, "target"),
            Self::HeaderTooLarge                 => row("header_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Downstream, BAD_REQUEST, "header"),
            Self::BrokenPath                     => row("suspicious_path", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "target"),
            Self::SuspiciousPath                 => row("suspicious_path", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "target"),
            Self::BadFraming                     => row("bad_framing", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "Transfer-Encoding"),
            Self::ConnectionNamesGuardedField(_) => row("connection_names_guarded_field", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "Connection"),
            Self::MethodOverride(_)              => row("method_override", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "header"),
            Self::UrlOverride(_)                 => row("url_override", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "header"),
            Self::AmbiguousFieldName(_)          => row("ambiguous_field_name", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "header"),
            Self::RepeatedCredential             => row("repeated_credential", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "Authorization"),
            Self::TrailersOnJudgedWrite          => row("trailers_on_judged_write", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "body"),
            Self::IncompleteBody                 => row("incomplete_body", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "body"),
            Self::BodyTimeout(_)                 => row("body_timeout", StatusCode::REQUEST_TIMEOUT, Downstream, BAD_REQUEST, "body"),
            Self::TooManyBodies                  => row("too_many_bodies", StatusCode::SERVICE_UNAVAILABLE, Gateway, INTERNAL, "body"),
            Self::UnknownReferralRoute           => row("unknown_referral_route", StatusCode::NOT_FOUND, Downstream, DENIED, "target"),
            Self::MethodNotAllowed(..)           => row("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, Downstream, DENIED, "method"),
            Self::UnknownMethod                  => row("unknown_method", StatusCode::NOT_IMPLEMENTED, Downstream, DENIED, "method"),
            Self::BatchNotSupported              => row("batch_not_supported", StatusCode::NOT_IMPLEMENTED, Downstream, DENIED, "method"),
            Self::Refused(verdict) => match verdict.leading() {
                Some(finding)                    => row(finding.code, finding.status, Policy, DENIED, finding.target),
                None                             => row("refused", StatusCode::FORBIDDEN, Policy, DENIED, "body"),
            },
            Self::StaleEtag                      => row("stale_etag", StatusCode::PRECONDITION_FAILED, Policy, DENIED, "If-Match"),
            Self::Limited(refusal) => match refusal.cause {
                Cause::Rate                      => row("rate_limited", StatusCode::TOO_MANY_REQUESTS, Limit, DENIED, "tenant"),
                Cause::Concurrency               => row("concurrency_limited", StatusCode::TOO_MANY_REQUESTS, Limit, DENIED, "tenant"),
                Cause::Cooldown                  => row("cooling_down", StatusCode::TOO_MANY_REQUESTS, Cooldown, DENIED, "tenant"),
            },
            Self::StateUnknown { .. }            => row("state_unknown", StatusCode::SERVICE_UNAVAILABLE, Upstream, UNAVAILABLE, "referral"),
            Self::Upstream(error)                => of_upstream(error),
            // Many clients repeat writes on 503 and 504, some on every 5xx, and none on 409.
            Self::OutcomeUnknown(error, repeat)  => Row {
                code: "outcome_unknown",
                status: match repeat {
                    Repeat::Safe => StatusCode::BAD_GATEWAY,
                    Repeat::Unsafe => StatusCode::CONFLICT,
                },
                ..of_upstream(error)
            },
            Self::Loop                           => row("loop_detected", StatusCode::BAD_GATEWAY, Gateway, LOOP, "upstream"),
            Self::Internal                       => row("internal_error", StatusCode::INTERNAL_SERVER_ERROR, Gateway, INTERNAL, "gateway"),
        }
    }
}

#[rustfmt::skip]
fn of_upstream(error: &upstream::Error) -> Row {
    use Fault::{Downstream, Gateway, Upstream};
    let row = match error.kind {
        Kind::ConnectFailed              => row("upstream_connect_failed", StatusCode::BAD_GATEWAY, Upstream, UNAVAILABLE, "upstream"),
        Kind::ConnectTimeout             => row("upstream_connect_timeout", StatusCode::GATEWAY_TIMEOUT, Upstream, CONNECT_TIMEOUT, "upstream"),
        // The upstream was not asked: a bound of the gateway is reached.
        Kind::Busy                       => row("upstream_busy", StatusCode::SERVICE_UNAVAILABLE, Gateway, LIMITED, "upstream"),
        Kind::NotProcessed               => row("upstream_not_processed", StatusCode::SERVICE_UNAVAILABLE, Upstream, UNAVAILABLE, "upstream"),
        Kind::Closed                     => row("upstream_closed", StatusCode::BAD_GATEWAY, Upstream, TERMINATED, "upstream"),
        Kind::BadAnswer                  => row("upstream_bad_answer", StatusCode::BAD_GATEWAY, Upstream, BAD_ANSWER, "upstream"),
        Kind::Timeout                    => row("upstream_timeout", StatusCode::GATEWAY_TIMEOUT, Upstream, TIMEOUT, "upstream"),
        Kind::RequestBroken              => row("incomplete_body", StatusCode::BAD_REQUEST, Downstream, BAD_REQUEST, "upstream"),
        Kind::RequestTooSlow             => row("body_timeout", StatusCode::REQUEST_TIMEOUT, Downstream, BAD_REQUEST, "upstream"),
    };
    match proxy_error(error.reason) {
        Some(proxy_error) => Row { proxy_error, ..row },
        None => row,
    }
}

/// The type of `Proxy-Status` that says more than the one of the kind.
fn proxy_error(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::NoAddress => NO_ADDRESS,
        Reason::Unroutable => UNROUTABLE,
        Reason::Refused => REFUSED,
        Reason::Certificate => CERTIFICATE,
        Reason::Alert => ALERT,
        Reason::Tls => TLS,
        Reason::Other => return None,
    })
}

fn row(
    code: &'static str,
    status: StatusCode,
    fault: Fault,
    proxy_error: &'static str,
    target: &'static str,
) -> Row {
    Row {
        code,
        status,
        fault,
        proxy_error,
        target,
    }
}
