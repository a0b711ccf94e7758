//! What a bearer token says of itself, unverified.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::Deserialize;

/// The claims that identify callers. Each may be missing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Claims {
    pub(super) tid: Option<String>,
    pub(super) oid: Option<String>,
    pub(super) appid: Option<String>,
    pub(super) azp: Option<String>,
    pub(super) exp: Option<serde_json::Number>,
    pub(super) nbf: Option<serde_json::Number>,
}

/// The token of a bearer credential. The case of the scheme does not matter (RFC 6750 2.1), so another spelling makes no
/// new caller.
pub(super) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.trim_ascii_start().split_at_checked(6)?;
    let token = scheme.eq_ignore_ascii_case(b"bearer").then_some(token)?;
    token
        .first()
        .filter(|blank| matches!(blank, b' ' | b'\t'))
        .map(|_| token.trim_ascii())
}

/// Whether a value holds more than one credential, as a field does that was joined out of two (RFC 9110 5.3). Recipients
/// differ in which one they use.
pub(super) fn is_joined(authorization: &[u8]) -> bool {
    let is_separator = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';');
    match bearer(authorization) {
        // RFC 6750 2.1: a token holds no separator.
        Some(token) => token.iter().any(is_separator),
        None => {
            let mut words = authorization.split(is_separator);
            let mut tokens = words.by_ref().filter(|word| payload(word).is_some());
            tokens.nth(1).is_some()
        }
    }
}

/// The claims of a token in the form of a JWT (RFC 7519), unverified. Any other credential has none.
pub(super) fn claimed(authorization: Option<&HeaderValue>) -> Claims {
    authorization
        .and_then(|value| claims(value.as_bytes()))
        .unwrap_or_default()
}

fn claims(authorization: &[u8]) -> Option<Claims> {
    // Some services accept a token with another scheme, or without one: it must not evade the rules for its tenant.
    let mut words = authorization
        .trim_ascii_end()
        .rsplit(u8::is_ascii_whitespace);
    let token = bearer(authorization).or_else(|| words.next())?;
    let payload = payload(token)?;
    serde_json::from_slice(&payload).ok()
}

fn payload(token: &[u8]) -> Option<Vec<u8>> {
    let mut parts = token.split(|byte| *byte == b'.');
    let payload = parts.nth(1)?;
    parts.next()?;
    URL_SAFE_NO_PAD.decode(payload).ok()
}
