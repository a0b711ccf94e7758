//! The answer to a problem: status, header section, body.
//!
//! The body has the service's own error shape, so that its clients parse it, with the members of RFC 9457 beside it.
//! `Proxy-Status` (RFC 9209) tells it from the service's answers.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{OUTCOME_UNKNOWN, Problem, Row};
use crate::{body::Body, policy::Finding, upstream::Kind};

#[cfg(test)]
mod tests;

/// What an answer takes from its request.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// The request's id.
    pub request_id: HeaderValue,
    /// Whether the caller asked for `application/problem+json`.
    pub problem_json: bool,
}

/// The longest message of an answer, in characters. The service has the same bound.
const MAX_MESSAGE: usize = 1024;
/// `Retry-After` when the waiting time is not known.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// `Retry-After` when another connection is likely to be there at once.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Tells answers of the gateway from those of the service (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

impl Problem {
    /// The answer itself.
    pub fn answer(&self, to: &Addressee) -> Response<Body> {
        self.whole_answer(to).map(Body::from)
    }

    /// The answer with its body in one piece.
    pub fn whole_answer(&self, to: &Addressee) -> Response<Bytes> {
        let Row {
            code,
            status,
            proxy_error,
            target,
            ..
        } = self.row();
        let (message, fix) = self.message_and_fix();
        let findings = match self {
            Self::Refused(verdict) => verdict.findings(),
            _ => &[],
        };
        let body = document(status, code, target, &message, &fix, findings, to);
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        let media_type = if to.problem_json {
            "application/problem+json"
        } else {
            "application/json"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(status) = proxy_status(proxy_error, code).try_into() {
            headers.insert(PROXY_STATUS, status);
        }
        name_request(headers, &to.request_id);
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
                let seconds = whole_seconds(retry_after.unwrap_or(RETRY_AFTER));
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            Self::Upstream(error) if matches!(error.kind, Kind::Busy | Kind::NotProcessed) => {
                headers.insert(header::RETRY_AFTER, whole_seconds(RETRY_SOON).into());
            }
            Self::TooManyBodies => {
                headers.insert(header::RETRY_AFTER, whole_seconds(RETRY_AFTER).into());
            }
            _ => {}
        }
    }
}

/// The fields by which the service names each of its answers. Clients log them.
pub fn name_request(headers: &mut HeaderMap, id: &HeaderValue) {
    headers.insert(HeaderName::from_static("client-request-id"), id.clone());
    headers.insert(HeaderName::from_static("request-id"), id.clone());
    let now = timestamp();
    if let Ok(now) = HeaderValue::from_maybe_shared(Bytes::from(now)) {
        headers.insert(HeaderName::from_static("timestamp"), now);
    }
}

/// The time, as the service writes it.
fn timestamp() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

/// Seconds of a wait, rounded up and never 0.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn proxy_status(error: &str, code: &str) -> String {
    format!("referral-gateway; error={error}; details=\"{code}\"")
}

/// The body: `error` in the service's shape (`referrals-api-response-codes`), the rest as RFC 9457 names it. Members stand in
/// the order of their names.
#[derive(Serialize)]
struct Document<'a> {
    detail: &'a RawValue,
    error: ServiceError<'a>,
    help: Help<'a>,
    instance: &'a str,
    status: u16,
    title: &'a str,
    r#type: Type<'a>,
}

#[derive(Serialize)]
struct ServiceError<'a> {
    code: &'a str,
    #[serde(rename = "innerError")]
    inner: InnerError<'a>,
    message: &'a RawValue,
    target: &'a str,
}

#[derive(Serialize)]
struct InnerError<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'a [FindingText<'a>],
}

/// A finding as it is told.
#[derive(Serialize)]
struct FindingText<'a> {
    code: &'a str,
    fix: &'a str,
    message: &'a str,
    mode: &'a str,
    rule: &'a str,
}

impl<'a> FindingText<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            code: finding.code,
            fix: cut(&finding.fix),
            message: cut(&finding.message),
            mode: finding.mode.as_str(),
            rule: &finding.rule,
        }
    }
}

/// The entry of a code in the project's documentation.
struct Help<'a>(&'a str);

impl Serialize for Help<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("docs/errors.md#{}", self.0))
    }
}

/// The URN of a code.
struct Type<'a>(&'a str);

impl Serialize for Type<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:referral-gateway:{}", self.0))
    }
}

/// Room for the body of a refusal by one rule, in bytes.
const USUAL_BODY: usize = 1536;

/// The body of an answer, in one pass.
fn document(
    status: StatusCode,
    code: &str,
    target: &str,
    message: &str,
    fix: &str,
    findings: &[Finding],
    to: &Addressee,
) -> Vec<u8> {
    let message = format!("{message} {fix}");
    // `message` and `detail` are the same text, escaped once.
    let message = to_raw_value(cut(message.trim_end())).unwrap_or_default();
    let findings: Vec<_> = findings.iter().map(FindingText::of).collect();
    let document = Document {
        detail: &message,
        error: ServiceError {
            code: service_code(status, code),
            inner: InnerError {
                code,
                findings: &findings,
            },
            message: &message,
            target,
        },
        help: Help(code),
        instance: to.request_id.to_str().unwrap_or_default(),
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Refused"),
        r#type: Type(code),
    };
    let mut body = Vec::with_capacity(USUAL_BODY);
    // Writing into memory cannot fail.
    let _ = serde_json::to_writer(&mut body, &document);
    body
}

fn cut(text: &str) -> &str {
    // No text has more characters than bytes.
    if text.len() <= MAX_MESSAGE {
        return text;
    }
    let end = text.char_indices().nth(MAX_MESSAGE);
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// The service's documented code for a status; clients branch on it.
fn service_code(status: StatusCode, code: &str) -> &'static str {
    // Nothing is wrong with the request, whatever the status.
    if code == OUTCOME_UNKNOWN {
        return "serviceNotAvailable";
    }
    match status.as_u16() {
        404 => "itemNotFound",
        412 | 428 => "preconditionFailed",
        429 | 502 | 503 | 504 => "serviceNotAvailable",
        500 => "generalException",
        _ => "invalidRequest",
    }
}

/// The bytes of an answer that closes its connection.
fn raw(parts: impl FnOnce(&Addressee) -> Unread) -> Vec<u8> {
    let id = uuid::Uuid::new_v4().to_string();
    let to = Addressee {
        request_id: HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("")),
        problem_json: false,
    };
    let Unread { status, code, body } = parts(&to);
    let (error, wait) = match status {
        StatusCode::SERVICE_UNAVAILABLE => ("connection_limit_reached", "retry-after: 1\r\n"),
        _ => ("http_request_error", ""),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\nvia: 1.1 referral-gateway\r\ndate: {}\r\nclient-request-id: {id}\r\nrequest-id: {id}\r\ntimestamp: {}\r\nproxy-status: {}\r\n{wait}connection: close\r\n\r\n",
        body.len(),
        httpdate::fmt_http_date(SystemTime::now()),
        timestamp(),
        proxy_status(error, code),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// A whole HTTP/1.1 answer to bytes that are not a readable request, or to a connection over the limit.
///
/// `status` is 400, 414, 431 or 503; any other is answered as 400. `stray` is the byte of the target that is the cause of a
/// 400, if there is one.
pub fn unread(status: u16, stray: Option<u8>) -> Vec<u8> {
    raw(|to| Unread::of(status, stray, to))
}

/// A whole HTTP/1.1 answer to a request in clear text, where TLS is asked for.
pub fn clear_text() -> Vec<u8> {
    raw(|to| {
        let (status, code) = (StatusCode::BAD_REQUEST, "clear_text");
        let message = "This port speaks TLS, and the request is in clear text.";
        let body = document(
            status,
            code,
            "request",
            message,
            "Call it with https://.",
            &[],
            to,
        );
        Unread { status, code, body }
    })
}

/// The parts of such an answer.
#[derive(Debug)]
pub struct Unread {
    /// The status.
    pub status: StatusCode,
    /// The stable name.
    pub code: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Unread {
    /// `status` and `stray` as for [`unread`].
    pub fn of(status: u16, stray: Option<u8>, to: &Addressee) -> Self {
        let (status, code, message, fix) = match status {
            414 => (
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                "The request target is too long.",
                "Shorten it.",
            ),
            431 => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header_too_large",
                "The header section has more bytes or fields than the gateway accepts.",
                "Send fewer or shorter header fields, or ask the gateway's operator to raise downstream.max_header_bytes or downstream.max_headers.",
            ),
            503 => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_connections",
                "The gateway has reached its connection limit.",
                "Reuse connections and retry after a pause, or ask the gateway's operator to raise downstream.max_connections and the limit of open files.",
            ),
            _ => (
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "The request is not well-formed HTTP. Common causes: a space before the colon of a header (`If-Match : ...`), a header continued on a second line, both Content-Length and Transfer-Encoding, different Content-Lengths, a space in the target.",
                "Send one well-formed message (RFC 9112).",
            ),
        };
        let stray = stray.filter(|_| status == StatusCode::BAD_REQUEST);
        let body = match stray.map(stray_byte) {
            Some((message, fix)) => document(status, code, "request", &message, &fix, &[], to),
            None => document(status, code, "request", message, fix, &[], to),
        };
        Self { status, code, body }
    }
}

/// Names a byte that no target may hold, and how to fix it.
fn stray_byte(byte: u8) -> (String, String) {
    let named = match byte {
        b' ' => "a space".to_owned(),
        b'!'..=b'~' => format!("a raw `{}`", char::from(byte)),
        _ => format!("the byte 0x{byte:02X}"),
    };
    (
        format!("The request target contains {named}, which must be percent-encoded."),
        format!("Write %{byte:02X} in its place."),
    )
}
