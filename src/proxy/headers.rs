//! Header sections: which are refused, and what the gateway changes in them.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version, header, request,
    uri::{Authority, Scheme},
};

use crate::problem::Problem;

#[cfg(test)]
mod tests;

/// Names a request in the service's and the gateway's logs; the service asks for a GUID.
pub const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// Names the repairs of a request in its answer.
pub const REPAIRED: HeaderName = HeaderName::from_static("referral-gateway-repaired");

/// The name under which the gateway appears in `Via` and `Proxy-Status`.
pub const PSEUDONYM: &str = "referral-gateway";

const VIA_1: HeaderValue = HeaderValue::from_static("1.1 referral-gateway");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 referral-gateway");
const VIA_2: HeaderValue = HeaderValue::from_static("2.0 referral-gateway");

/// A request that passed through this many of our gateways is in a loop.
const MAX_HOPS: usize = 4;

/// Longest target of a request, in bytes. RFC 9110 4.1 asks for at least 8000.
pub const MAX_TARGET: usize = 16 * 1024;

/// Fields that override method or path: a server that honours them acts on another request.
const METHOD_OVERRIDES: [&str; 8] = [
    "method-override",
    "http-method-override",
    "x-http-verb-override",
    "x-original-method",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-http-method-name",
];
const URL_OVERRIDES: [&str; 8] = [
    "unencoded-url",
    "x-waws-unencoded-url",
    "x-original-path",
    "x-http-path-override",
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-rewrite-uri",
];

/// Hop-by-hop fields (RFC 9110 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Bounds of a header section.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Upper bound of names and values with four bytes a field, in bytes.
    pub max_bytes: usize,
    /// Upper bound of the number of field lines.
    pub max_fields: usize,
}

/// Refuses header sections that servers could read in different ways.
pub fn admit(head: &request::Parts, limits: Limits) -> Result<(), Problem> {
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    if target.len() > MAX_TARGET {
        return Err(Problem::UriTooLong);
    }
    if head.headers.len() > limits.max_fields {
        return Err(Problem::HeaderTooLarge);
    }
    let mut bytes = target.len();
    let mut hops = 0;
    let mut host = Once::Absent;
    let mut coding = Once::Absent;
    let mut length = Once::Absent;
    for (name, value) in &head.headers {
        bytes += name.as_str().len() + value.len() + 4;
        if *name == header::HOST {
            host.add(value);
        } else if *name == header::TRANSFER_ENCODING {
            coding.add(value);
        } else if *name == header::CONTENT_LENGTH {
            length.add(value);
        } else if *name == header::VIA {
            hops += value
                .to_str()
                .map_or(0, |via| via.matches(PSEUDONYM).count());
        } else {
            admit_name(name)?;
        }
    }
    if bytes > limits.max_bytes {
        return Err(Problem::HeaderTooLarge);
    }
    if hops >= MAX_HOPS {
        return Err(Problem::Loop);
    }
    admit_target(head, target, host)?;
    admit_framing(coding)?;
    if length.is_repeated() {
        return Err(Problem::BadFraming);
    }
    if head.headers.contains_key(header::CONNECTION) {
        for name in connection_names(&head.headers) {
            if is_guarded(name.as_str()) {
                return Err(Problem::ConnectionNamesGuardedField(name));
            }
        }
    }
    Ok(())
}

/// A field that a header section may have once.
#[derive(Debug, Clone, Copy)]
enum Once<'h> {
    Absent,
    Given(&'h HeaderValue),
    Repeated,
}

impl<'h> Once<'h> {
    fn is_repeated(&self) -> bool {
        matches!(self, Self::Repeated)
    }

    fn add(&mut self, value: &'h HeaderValue) {
        *self = match self {
            Self::Absent => Self::Given(value),
            Self::Given(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// Refuses fields that override method or target, and fields that some servers read as another field.
fn admit_name(name: &HeaderName) -> Result<(), Problem> {
    let text = name.as_str();
    // The first letter rules out nearly every name.
    if matches!(text.as_bytes().first(), Some(b'x' | b'm' | b'h' | b'u')) {
        if METHOD_OVERRIDES.contains(&text) {
            return Err(Problem::MethodOverride(name.clone()));
        }
        if URL_OVERRIDES.contains(&text) {
            return Err(Problem::UrlOverride(name.clone()));
        }
    }
    if text.bytes().any(|byte| byte == b'_') {
        let plain = text.replace('_', "-");
        if is_guarded(&plain)
            || METHOD_OVERRIDES.contains(&&*plain)
            || URL_OVERRIDES.contains(&&*plain)
        {
            return Err(Problem::AmbiguousFieldName(name.clone()));
        }
    }
    Ok(())
}

/// RFC 9112 3.2: exactly one valid `Host`, and the same as the target's authority. HTTP/2 has the authority instead.
fn admit_target(head: &request::Parts, target: &str, host: Once<'_>) -> Result<(), Problem> {
    if !target.starts_with('/') {
        return Err(Problem::BadTarget);
    }
    let is_web = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    if head.uri.scheme().is_some_and(|scheme| !is_web(scheme)) {
        return Err(Problem::BadTarget);
    }
    let authority = head.uri.authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Problem::BadTarget);
    }
    let host = match host {
        Once::Absent if head.version == Version::HTTP_2 => {
            return match authority {
                Some(authority) if is_authority(authority.as_str()) => Ok(()),
                _ => Err(Problem::BadHost),
            };
        }
        Once::Absent | Once::Repeated => return Err(Problem::BadHost),
        Once::Given(host) => host,
    };
    if !is_host(host) {
        return Err(Problem::BadHost);
    }
    match authority {
        Some(authority)
            if !authority
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err(Problem::HostMismatch)
        }
        _ => Ok(()),
    }
}

/// A host and an optional port (RFC 9110 7.2).
fn is_host(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !value.is_empty() && value.as_bytes().iter().all(is_plain) {
        return true;
    }
    value.to_str().is_ok_and(is_authority)
}

fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let port = text.strip_prefix(authority.host()).unwrap_or_default();
    !text.contains(['@', ',', ';', '*', '!'])
        && (port.is_empty() || port == ":" || authority.port_u16().is_some())
}

/// hyper accepts any list that ends in `chunked`, so the codings before it would go unnoticed.
fn admit_framing(coding: Once<'_>) -> Result<(), Problem> {
    match coding {
        Once::Absent => Ok(()),
        Once::Given(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Once::Given(_) | Once::Repeated => Err(Problem::BadFraming),
    }
}

/// Fields that `Connection` must not name, since a proxy would remove them.
fn is_guarded(name: &str) -> bool {
    name.starts_with("content-")
        || name.starts_with("if-")
        || matches!(
            name,
            "authorization" | "cookie" | "host" | "transfer-encoding" | "expect" | "via"
        )
}

/// The fields that `Connection` names.
fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// Whether a write holds other requests, which cannot be judged (`OData` batches, RFC 9112 10.2).
pub fn is_batch(head: &request::Parts) -> bool {
    let types = head.headers.get_all(header::CONTENT_TYPE).iter();
    types
        .map(|value| value.as_bytes().trim_ascii_start().to_ascii_lowercase())
        .any(|value| {
            value.starts_with(b"multipart/mixed") || value.starts_with(b"application/http")
        })
}

/// Removes hop-by-hop fields. Returns whether the sender accepts trailers.
fn strip(headers: &mut HeaderMap) -> bool {
    // Most header sections have none of them, and one pass over all names costs less than a look-up of each.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return false;
    }
    let named: Vec<_> = connection_names(headers)
        .filter(|name| *name != header::TE)
        .collect();
    for name in named {
        headers.remove(name);
    }
    let trailers = headers.get_all(header::TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    trailers
}

/// Turns a request's header section into the one that the upstream receives, except for `Host`.
pub fn to_upstream(headers: &mut HeaderMap, version: Version) {
    if strip(headers) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    // The gateway's own server sends 100 Continue when it reads the body.
    if headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        headers.remove(header::EXPECT);
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    headers.append(header::VIA, via(version));
}

/// RFC 9113 8.2.3: only HTTP/2 may split a cookie into several fields.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().count() > 1 {
        let crumbs: Vec<&[u8]> = headers
            .get_all(header::COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, cookie);
        }
    }
}

/// Turns an answer's header section into the one that the downstream receives.
pub fn to_downstream(headers: &mut HeaderMap, version: Version) {
    strip(headers);
    // Only this gateway knows what it has repaired.
    headers.remove(REPAIRED);
    // RFC 9112 6.3: an answer has one length, or ends with the connection.
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let is_number = length.as_bytes().iter().all(u8::is_ascii_digit);
        let is_repeated = lengths.next().is_some();
        if is_repeated || !is_number {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
    headers.append(header::VIA, via(version));
}

/// RFC 9110 7.6.3: the version of the message received, and the name of its receiver.
pub fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_10 => VIA_1_0,
        Version::HTTP_2 => VIA_2,
        _ => VIA_1,
    }
}

/// The request's id: the caller's own if it can be repeated in an answer, else a new one.
pub fn request_id(headers: &HeaderMap, fresh: impl FnOnce() -> HeaderValue) -> HeaderValue {
    match headers.get(CLIENT_REQUEST_ID) {
        Some(id)
            if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic) =>
        {
            id.clone()
        }
        _ => fresh(),
    }
}

/// Gives a request without an id this one.
pub fn add_request_id(headers: &mut HeaderMap, id: &HeaderValue) {
    headers
        .entry(CLIENT_REQUEST_ID)
        .or_insert_with(|| id.clone());
}
