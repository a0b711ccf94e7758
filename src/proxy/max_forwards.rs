//! `Max-Forwards`: how many more servers may forward an OPTIONS (RFC 9110 7.6.2). The gateway forwards no TRACE.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{self, MAX_FORWARDS},
    request,
};

use crate::problem::{Addressee, PROXY_STATUS, name_request};

/// Tells the gateway's answer from the service's (RFC 9209).
const OURS: HeaderValue = HeaderValue::from_static("referral-gateway; details=\"max_forwards\"");

/// Whether the request may not be forwarded.
pub fn ends_here(head: &request::Parts) -> bool {
    left(&head.method, &head.headers) == Some(0)
}

/// The answer to a request that may not be forwarded. `allowed` are the methods of its path.
pub fn answer(allowed: &'static str, to: &Addressee) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PROXY_STATUS, OURS);
    name_request(headers, &to.request_id);
    answer
}

/// Counts one server less.
pub(super) fn count_down(head: &mut request::Parts) {
    if let Some(left) = left(&head.method, &head.headers) {
        let value = HeaderValue::from(left.saturating_sub(1));
        head.headers.insert(MAX_FORWARDS, value);
    }
}

/// How many more servers may forward it; `None` if the request does not say so, or not clearly.
fn left(method: &Method, headers: &HeaderMap) -> Option<u64> {
    if method != Method::OPTIONS {
        return None;
    }
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let text = values.next()?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number || values.next().is_some() {
        return None;
    }
    // RFC 9110 7.6.2: of a larger number, the largest that is supported is sent on.
    match text.parse::<u64>() {
        Ok(number) => Some(number),
        Err(_) => Some(u64::MAX),
    }
}
