//! Routes: what a method and a path ask for.
//!
//! The service's routes are matched as a lenient reader would: without case, with doubled and trailing slashes,
//! percent-encoded. The gateway forwards the path as the client sent it. If a server could read a referral's path
//! where the gateway does not, the request is refused.

use std::borrow::Cow;

use http::Method;

use crate::{
    metrics::label,
    problem::Problem,
    referral::{ReferralId, unmask},
};

#[cfg(test)]
mod tests;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// One referral.
    Item(ReferralId),
    /// The collection, read.
    List,
    /// The collection, written: a new referral.
    Create,
    /// Anything else.
    Other,
}

/// The methods that pass; all others are refused.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PUT,
    Method::PATCH,
    Method::POST,
    Method::DELETE,
];

/// The methods of a referral.
const ITEM: &str = "GET, HEAD, OPTIONS, PUT, PATCH, DELETE";
/// The methods of the collection.
const COLLECTION: &str = "GET, HEAD, OPTIONS, POST";
/// The methods of anything else.
const ANY: &str = "GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE";

impl Route {
    /// What a method and a path ask for.
    ///
    /// # Errors
    ///
    /// When the request must not be forwarded.
    pub fn of(method: &Method, path: &str) -> Result<Self, Problem> {
        if method == Method::TRACE || method == Method::CONNECT {
            return Err(Problem::MethodNotAllowed(method.clone(), allowed(path)));
        }
        if !METHODS.contains(method) {
            return Err(Problem::UnknownMethod);
        }
        if let Some(route) = plain_item(method, path) {
            return Ok(route);
        }
        let path = Canonical::of(path);
        if path.is_broken {
            return Err(Problem::BrokenPath);
        }
        // `$entity` names its target in the query.
        let unjudged =
            |segment: &String| segment.starts_with("$batch") || segment.starts_with("$entity");
        if path.segments.iter().any(unjudged)
            && (!is_read(method)
                || path
                    .segments
                    .iter()
                    .any(|segment| segment.starts_with("$batch")))
        {
            return Err(Problem::BatchNotSupported);
        }
        if !path.is_referral() {
            return Ok(Self::Other);
        }
        if path.suspicious {
            return Err(Problem::SuspiciousPath);
        }
        let reads = is_read(method);
        match path.place() {
            Some(Place::Item(_)) if method == Method::POST => {
                Err(Problem::MethodNotAllowed(method.clone(), ITEM))
            }
            Some(Place::Item(id)) => Ok(Self::Item(id)),
            Some(Place::Collection) if reads => Ok(Self::List),
            Some(Place::Collection) if method == Method::POST => Ok(Self::Create),
            Some(Place::Collection) => Err(Problem::MethodNotAllowed(method.clone(), COLLECTION)),
            None if reads => Ok(Self::Other),
            None => Err(Problem::UnknownReferralRoute),
        }
    }

    /// The label in metrics.
    pub fn label(&self) -> label::Route {
        match self {
            Self::Item(_) => label::Route::ReferralItem,
            Self::List => label::Route::ReferralList,
            Self::Create => label::Route::ReferralCreate,
            Self::Other => label::Route::Passthrough,
        }
    }

    /// The name in metrics and logs.
    pub fn as_str(&self) -> &'static str {
        self.label().as_str()
    }

    /// The id of the referral, if the route names one.
    pub fn id(&self) -> Option<&ReferralId> {
        match self {
            Self::Item(id) => Some(id),
            Self::List | Self::Create | Self::Other => None,
        }
    }

    /// Whether a 2xx of the upstream on this route proves the credential.
    pub fn is_referral(&self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// The methods of a path, as `Allow` lists them.
pub fn allowed(path: &str) -> &'static str {
    match Canonical::of(path).place() {
        Some(Place::Item(_)) => ITEM,
        Some(Place::Collection) => COLLECTION,
        None => ANY,
    }
}

/// Whether a method is safe (RFC 9110 9.2.1).
pub fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The documented form, which nearly every request has. Any other form takes the slower way to the same route.
fn plain_item(method: &Method, path: &str) -> Option<Route> {
    let id = path
        .strip_prefix("/v1.0/engagements/referrals/")
        .filter(|_| method != Method::POST)?;
    ReferralId::parse(id)
        .filter(|_| !is_dots(id))
        .map(Route::Item)
}

/// A path as the most lenient server may read it.
#[derive(Debug)]
struct Canonical {
    /// Not empty, decoded, in lower case.
    segments: Vec<String>,
    /// Servers can read it in different ways.
    suspicious: bool,
    /// It is not a valid path (RFC 3986 2.1): a lone `%`, or bytes that are not UTF-8.
    is_broken: bool,
}

enum Place {
    Item(ReferralId),
    Collection,
}

/// Decoding is repeated at most this often. No server decodes more often.
const MAX_DECODINGS: usize = 4;

impl Canonical {
    fn of(path: &str) -> Self {
        let mut text = unmasked(Cow::Borrowed(path));
        let mut suspicious = path.contains(['\\', ';']) || !path.is_ascii();
        let mut is_broken = !is_encoded(path);
        for times in 0..MAX_DECODINGS {
            let Some((decoded, odd)) = decode(&text) else {
                break;
            };
            is_broken |= decoded.contains(char::REPLACEMENT_CHARACTER);
            // RFC 3986 2.4: a path is decoded once. A server that decodes twice sees another path.
            suspicious |= odd || times > 0;
            // Letters that look alike may spell the next escape.
            text = unmasked(Cow::Owned(decoded));
        }
        // A server either refuses or keeps a `%` that is no escape, or an escape that is left.
        suspicious |= text.contains('%');
        let lower = text.to_ascii_lowercase();
        let segments = lower
            .split(['/', '\\'])
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>();
        suspicious |= segments
            .iter()
            .any(|segment| is_dots(segment) || segment.trim() != segment);
        Self {
            segments,
            suspicious,
            is_broken,
        }
    }

    /// Whether any server could read it as a referral's path.
    fn is_referral(&self) -> bool {
        self.segments.iter().any(|segment| {
            let name = segment.trim_start().split(';').next().unwrap_or_default();
            // An entity set may be named with its container: `Default.Container.Referrals('id')`.
            name.split('.')
                .any(|part| part.trim_start().starts_with("referrals"))
        })
    }

    /// The known resource that the path names.
    fn place(&self) -> Option<Place> {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let rest = match &*segments {
            [version, "engagements" | "engagments", rest @ ..] if is_version(version) => rest,
            ["engagements" | "engagments", version, rest @ ..] if is_version(version) => rest,
            [version, rest @ ..] if is_version(version) => rest,
            _ => return None,
        };
        match rest {
            ["referrals"] => Some(Place::Collection),
            ["referrals", id] => ReferralId::parse(id).map(Place::Item),
            [keyed] => key(keyed).and_then(ReferralId::parse).map(Place::Item),
            _ => None,
        }
    }
}

/// Look-alike letters as the ASCII letters that some servers read them as.
fn unmasked(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        return text;
    }
    Cow::Owned(text.chars().map(unmask).collect())
}

/// Whether two hexadecimal digits follow each `%` (RFC 3986 2.1). Some servers read `%uXXXX` as a letter.
fn is_encoded(path: &str) -> bool {
    let mut pieces = path.split('%').map(str::as_bytes);
    pieces.next();
    pieces.all(|piece| matches!(piece, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// The path decoded once, and whether an escape changed the shape of the path; `None` if nothing was encoded.
///
/// `%uXXXX` gets here only out of another escape: a path that holds it in plain is refused before.
fn decode(text: &str) -> Option<(String, bool)> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    let (mut found, mut odd) = (false, false);
    while let Some(byte) = rest.next() {
        let escape = rest
            .as_slice()
            .get(..2)
            .and_then(|digits| Some(hex(digits.first()?)? << 4 | hex(digits.get(1)?)?));
        match escape {
            Some(value) if *byte == b'%' => {
                found = true;
                odd |= matches!(value, b'/' | b'\\' | b';' | b'%' | 0..=0x1f | 0x7f);
                decoded.push(value);
                rest.nth(1);
            }
            _ => match wide(rest.as_slice()).filter(|_| *byte == b'%') {
                Some(letter) => {
                    (found, odd) = (true, true);
                    decoded.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    rest.nth(4);
                }
                None => decoded.push(*byte),
            },
        }
    }
    if !found {
        return None;
    }
    let text = String::from_utf8_lossy(&decoded);
    odd |= matches!(text, Cow::Owned(_)) || !text.is_ascii();
    Some((text.into_owned(), odd))
}

/// The letter that some servers read for `uXXXX` behind a `%`.
fn wide(text: &[u8]) -> Option<char> {
    let [b'u' | b'U', digits @ ..] = text.get(..5)? else {
        return None;
    };
    let value = digits
        .iter()
        .try_fold(0, |value, digit| Some(value << 4 | u32::from(hex(digit)?)))?;
    char::from_u32(value)
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    matches!(name.trim_ascii(), "." | "..")
}

/// `v1`, `v1.0`, `v2`: any version.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        number.starts_with(|digit: char| digit.is_ascii_digit())
            && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    })
}

/// The key of `referrals(...)`, bare, quoted or named `id` (URL conventions of `OData` 4.01, 4.3.1).
fn key(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix("referrals(")?.strip_suffix(')')?;
    let value = inner.strip_prefix("id=").unwrap_or(inner);
    Some(
        value
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
            .unwrap_or(value),
    )
}
