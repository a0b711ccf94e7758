//! The head of a captured request, as hyper reads it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request};

use super::outcome::Unreadable;
use crate::{capture::Captured, proxy::headers::Limits, target};

/// How hyper refuses what is not HTTP, too long a target, too large a header section.
const MALFORMED: Unreadable = Unreadable::new(400);
const TOO_LONG: Unreadable = Unreadable::new(414);
const TOO_LARGE: Unreadable = Unreadable::new(431);

/// hyper takes no longer target.
const MAX_TARGET: usize = 65_534;

/// The head as hyper would read it, or how it would refuse it. `Host` and the length of the body
/// are added where the client would do so.
pub(super) fn read(
    captured: &Captured,
    limits: Limits,
    notices: &mut Vec<String>,
) -> Result<request::Parts, Unreadable> {
    let target = match &captured.authority {
        Some(authority) if captured.is_absolute => {
            format!("https://{authority}{}", captured.target)
        }
        _ => captured.target.clone(),
    };
    // The request line comes first.
    if let Some(byte) = target::stray(target.as_bytes()) {
        return Err(Unreadable {
            stray: Some(byte),
            ..MALFORMED
        });
    }
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(captured.method.as_bytes()).map_err(|_| MALFORMED)?;
    *request.headers_mut() = fields(captured, limits)?;
    frame(request.headers_mut(), captured.body.len(), notices)?;
    if captured.target.len() > MAX_TARGET {
        return Err(TOO_LONG);
    }
    // A target holds no fragment; `http` would drop it.
    if target.contains('#') {
        return Err(MALFORMED);
    }
    *request.uri_mut() = Uri::try_from(target).map_err(|_| MALFORMED)?;
    Ok(request.into_parts().0)
}

fn fields(captured: &Captured, limits: Limits) -> Result<HeaderMap, Unreadable> {
    if captured.headers.len() > limits.max_fields {
        return Err(TOO_LARGE);
    }
    let mut fields = HeaderMap::new();
    for (name, value) in &captured.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| MALFORMED)?;
        fields.append(name, value);
    }
    if let (None, Some(authority)) = (fields.get(header::HOST), &captured.authority) {
        let host = HeaderValue::from_str(authority).map_err(|_| MALFORMED)?;
        fields.insert(header::HOST, host);
    }
    let lines = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let first = captured.method.len() + captured.target.len() + "  HTTP/1.1\r\n\r\n".len();
    match first + lines.sum::<usize>() > limits.max_bytes {
        true => Err(TOO_LARGE),
        false => Ok(fields),
    }
}

/// Says how long the body is, as the client would.
fn frame(fields: &mut HeaderMap, body: usize, notices: &mut Vec<String>) -> Result<(), Unreadable> {
    let announced = length(fields).ok_or(MALFORMED)?;
    // hyper takes the same length twice for one.
    if announced.is_some()
        && let Some(length) = fields.get(header::CONTENT_LENGTH).cloned()
    {
        fields.insert(header::CONTENT_LENGTH, length);
    }
    match (announced, last_coding(fields)) {
        (Some(_), Some(_)) => return Err(MALFORMED),
        (None, Some(coding)) if !coding.eq_ignore_ascii_case(b"chunked") => return Err(MALFORMED),
        (Some(length), None) if length != body as u64 => {
            notices.push(format!(
                "Content-Length says {length}; the body that was captured has {body} bytes, and so it was judged."
            ));
            fields.insert(header::CONTENT_LENGTH, body.into());
        }
        (None, None) if body > 0 => drop(fields.insert(header::CONTENT_LENGTH, body.into())),
        (Some(_), None) | (None, _) => {}
    }
    Ok(())
}

/// The length that a header section announces; `None` if it is none, or two.
fn length(fields: &HeaderMap) -> Option<Option<u64>> {
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().ok()?;
        let number = text.parse().ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) || length.is_some_and(|l| l != number) {
            return None;
        }
        length = Some(number);
    }
    Some(length)
}

fn last_coding(fields: &HeaderMap) -> Option<&[u8]> {
    let value = fields
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .next_back()?;
    let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
    Some(last.unwrap_or_default().trim_ascii())
}
