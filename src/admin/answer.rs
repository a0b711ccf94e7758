//! Answers of the telemetry and the admin listener.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::body::Body;

/// A text of this media type.
pub(super) fn text(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What is shown may come from requests: no browser shall take it for a page.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// A plain text.
pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", body)
}

/// A JSON value.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    text(status, "application/json", format!("{value:#}\n"))
}

/// A method that the path does not have.
pub(super) fn not_allowed(methods: &'static str) -> Response<Body> {
    let named = match methods.rsplit_once(", ") {
        Some((others, last)) => format!("{others} and {last}"),
        None => methods.to_owned(),
    };
    let mut answer = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path accepts {named}.\n"),
    );
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// What is sent in answer to bytes that are no request.
pub(super) fn unread(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .into_bytes()
}
