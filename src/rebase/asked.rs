//! How the URLs in the answer to a request are to read.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header, request, uri::Scheme};

use super::RewriteUrls;

/// How the URLs in the answer to a request are to read.
#[derive(Debug)]
pub struct Asked {
    pub(super) base: Base,
    pub(super) is_head: bool,
    /// Whether the caller takes a body without a coding.
    pub(super) takes_identity: bool,
}

#[derive(Debug)]
pub(super) enum Base {
    Origin(Arc<str>),
    /// Scheme and authority by which the caller has reached the gateway.
    Reached(Scheme, HeaderValue),
}

impl Asked {
    /// `head` is that of the request as it has come, and `scheme` that of the listener. `None` if URLs stay as they are.
    pub fn of(head: &request::Parts, scheme: &Scheme, rewrite: &RewriteUrls) -> Option<Self> {
        let base = match rewrite {
            RewriteUrls::Off => return None,
            RewriteUrls::To(origin) => Base::Origin(Arc::clone(origin)),
            RewriteUrls::ToCaller => Base::Reached(scheme.clone(), authority(head)?),
        };
        Some(Self {
            base,
            is_head: head.method == Method::HEAD,
            takes_identity: takes_identity(&head.headers),
        })
    }

    /// The origin that URLs get.
    pub(super) fn base(&self) -> Option<Box<str>> {
        let base = match &self.base {
            Base::Origin(origin) => Box::from(&**origin),
            Base::Reached(scheme, authority) => {
                format!("{scheme}://{}", authority.to_str().ok()?).into_boxed_str()
            }
        };
        // It stands inside a JSON string.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        base.bytes().all(is_plain).then_some(base)
    }
}

/// The authority that the caller has called.
fn authority(head: &request::Parts) -> Option<HeaderValue> {
    match head.headers.get(header::HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(head.uri.authority()?.as_str()).ok(),
    }
}

/// Whether a body without a coding is acceptable (RFC 9110 12.5.3).
fn takes_identity(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut any = true;
    for item in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let text = String::from_utf8_lossy(item).to_ascii_lowercase();
        let (coding, weight) = text.split_once(';').unwrap_or((&text, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let is_refused = weight.trim().parse() == Ok(0.0);
        match coding.trim() {
            "identity" => return !is_refused,
            "*" => any = !is_refused,
            _ => {}
        }
    }
    any
}
