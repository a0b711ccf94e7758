//! Referral ids and entity tags: names of referrals and of their versions.

use std::{fmt, sync::Arc};

/// The id of a referral as the URL names it, in lower case.
///
/// The service's ids are GUIDs, which compare without case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReferralId(Arc<str>);

impl ReferralId {
    /// Accepts 1 to 128 unreserved characters (RFC 3986 2.3), so that every reader takes it for a name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_unreserved =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let usable = !text.is_empty()
            && text.len() <= 128
            && all(text.as_bytes(), is_unreserved)
            && !all(text.as_bytes(), |b| b == b'.');
        usable.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if `other` names the same referral.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for ReferralId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether all bytes of a short text are such. It looks at each of them, which compilers turn into vector instructions.
fn all(text: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |all, byte| all & is_such(*byte))
}

/// A strong entity tag with its quotes, as it stands in a header (RFC 9110 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntityTag<'a>(&'a [u8]);

impl<'a> EntityTag<'a> {
    /// The longest tag that is remembered or compared, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Accepts exactly one strong tag and nothing around it.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let usable = text.len() <= Self::MAX_BYTES
            && all(inner, |b| matches!(b, 0x21 | 0x23..=0x7e | 0x80..));
        usable.then_some(Self(text))
    }

    /// The tag with its quotes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The entity tags of one version of a referral: mostly one. A proxy on the way may change the one in the header section
/// (for example by the suffix `-gzip`), and then that one and the body's `eTag` both name the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    first: Box<[u8]>,
    other: Option<Box<[u8]>>,
}

impl Tags {
    /// The tags of an answer: the strong one in its header section, the `eTag` in its body; `None` if it has neither.
    pub fn of(header: Option<&[u8]>, body: Option<&[u8]>) -> Option<Self> {
        let first = header.or(body)?;
        Some(Self {
            first: first.into(),
            other: body.filter(|body| *body != first).map(Into::into),
        })
    }

    /// That of the header section, if there is one.
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// The one in the body, if it is another one.
    pub fn other(&self) -> Option<&[u8]> {
        self.other.as_deref()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.first), self.other.as_ref()]
            .into_iter()
            .flatten()
            .map(|tag| &**tag)
    }

    /// Whether this is one of them.
    pub fn contain(&self, tag: &[u8]) -> bool {
        self.all().any(|one| one == tag)
    }
}

impl From<EntityTag<'_>> for Tags {
    fn from(tag: EntityTag<'_>) -> Self {
        Self {
            first: tag.as_bytes().into(),
            other: None,
        }
    }
}
