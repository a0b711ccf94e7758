//! The answers of the service: their headers, and the shapes of errors.

use std::time::SystemTime;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER},
};
use http_body_util::Full;
use serde_json::{Value, json};
use uuid::Uuid;

use super::time::time_text;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("timestamp");
const DIAGNOSTIC: HeaderName = HeaderName::from_static("x-ms-ags-diagnostic");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const ECHOED: [HeaderName; 3] = [
    HeaderName::from_static("client-request-id"),
    HeaderName::from_static("ms-requestid"),
    HeaderName::from_static("ms-correlationid"),
];

/// The longest message, in characters, as the documents promise.
const MAX_MESSAGE: usize = 1024;

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The headers of every answer.
pub(super) fn stamp(request: &HeaderMap, answer: &mut HeaderMap, now: SystemTime) {
    for name in ECHOED {
        if let Some(value) = request.get(&name) {
            answer.insert(name, value.clone());
        }
    }
    for (name, value) in [
        (REQUEST_ID, Uuid::new_v4().to_string()),
        (TIMESTAMP, time_text(now)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.insert(name, value);
        }
    }
    answer.insert(
        DIAGNOSTIC,
        HeaderValue::from_static(r#"{"ServerInfo":{"DataCenter":"Simulator"}}"#),
    );
}

/// Whether a PATCH asks for the referral in the answer.
pub(super) fn wants_representation(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|preference| {
            preference
                .trim()
                .eq_ignore_ascii_case("return=representation")
        })
}

/// An error of the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: &'static str,
    inner: &'static str,
    target: Option<&'static str>,
    message: String,
    allow: Option<&'static str>,
    retry_after: Option<u64>,
}

impl Refusal {
    /// An error with the code that the documents list for its status.
    pub(super) fn of(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status.as_u16() {
            401 => "unauthenticated",
            403 => "accessDenied",
            404 | 410 => "itemNotFound",
            409 => "resourceModified",
            412 => "preconditionFailed",
            503 => "serviceNotAvailable",
            500.. => "generalException",
            _ => "invalidRequest",
        };
        Self {
            status,
            code,
            inner: code,
            target: None,
            message: message.into().chars().take(MAX_MESSAGE).collect(),
            allow: None,
            retry_after: None,
        }
    }

    pub(super) fn invalid(target: &'static str, message: impl Into<String>) -> Self {
        Self {
            target: Some(target),
            ..Self::of(StatusCode::BAD_REQUEST, message)
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::of(
                StatusCode::METHOD_NOT_ALLOWED,
                "this resource does not support the method",
            )
        }
    }

    pub(super) fn precondition(message: &'static str) -> Self {
        Self {
            inner: "99918",
            target: Some("ETag"),
            ..Self::of(StatusCode::PRECONDITION_FAILED, message)
        }
    }

    pub(super) fn too_large() -> Self {
        Self::of(StatusCode::PAYLOAD_TOO_LARGE, "the referral is too large")
    }

    pub(super) fn media_type() -> Self {
        Self {
            target: Some("Content-Type"),
            ..Self::of(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/json",
            )
        }
    }

    pub(super) fn full() -> Self {
        Self::of(StatusCode::INSUFFICIENT_STORAGE, "the simulator is full")
    }

    pub(super) fn throttled(seconds: u64) -> Self {
        Self::of(
            StatusCode::TOO_MANY_REQUESTS,
            format!("rate limit exceeded; retry in {seconds} s"),
        )
        .retry_after(Some(seconds))
    }

    pub(super) fn retry_after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after = seconds;
        self
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let body = if self.status == StatusCode::TOO_MANY_REQUESTS {
            json!({ "statusCode": 429, "message": self.message })
        } else {
            json!({ "error": {
                "code": self.code,
                "message": self.message,
                "target": self.target,
                "innerError": { "code": self.inner, "message": self.message, "details": null },
            } })
        };
        let mut response = json(self.status, &body);
        let headers = response.headers_mut();
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
