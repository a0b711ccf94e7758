//! All that a rule may know of a write.

use std::sync::OnceLock;

use http::HeaderMap;

use super::{Converted, IfMatch, Method};
use crate::referral::{Change, Guarded, Member, Members, Patch, ReferralId, Unreadable};

/// All that a rule may know of a write.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The method.
    pub method: Method,
    /// The referral that the URL names; a POST names none.
    pub id: Option<&'a ReferralId>,
    /// The header section, hop-by-hop fields removed.
    pub headers: &'a HeaderMap,
    /// The form of `If-Match`.
    pub if_match: IfMatch<'a>,
    /// The body.
    pub body: Body<'a>,
    /// What only expressions ask for.
    pub context: Context<'a>,
    /// Body, query and names of header fields in the form that expressions see, once one has asked.
    pub converted: Converted,
    /// Whether [`Check::WellFormed`](super::Check::WellFormed) finds nothing, once a rule has asked.
    pub is_sound: OnceLock<bool>,
}

/// What expressions may ask of a request beside its header section and body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The name of the route.
    pub route: &'static str,
    /// The query of the target, as it came.
    pub query: Option<&'a str>,
    /// The application that the token names; empty if it names none.
    pub application: &'a str,
    /// The configured alias of the tenant; empty if it has none.
    pub tenant_alias: &'a str,
    /// The id of the tenant as the token names it; empty if it names none.
    pub tenant_id: &'a str,
}

impl<'a> Facts<'a> {
    /// What the request makes of a member; `None` if its body cannot be read.
    pub(super) fn change(&self, member: Guarded) -> Option<Change<'a>> {
        match &self.body {
            Body::Object { members, .. } => Some(match members.get(member) {
                // A PUT replaces the referral; a PATCH is merged into it, and the service fills up what a POST leaves out.
                Member::Absent if self.method == Method::Put => Change::Removed,
                Member::Absent => Change::Untouched,
                Member::Given(json) => Change::Set(json),
                Member::Repeated(json) => Change::Repeated(json),
            }),
            Body::Patch { patch, .. } => Some(patch.change(member)),
            Body::Unreadable { .. } | Body::TooLarge { .. } => None,
        }
    }
}

/// The body of a judged request.
#[derive(Debug)]
pub enum Body<'a> {
    /// One JSON object.
    Object {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// Its guarded members.
        members: Members<'a>,
    },
    /// The operations of a PATCH.
    Patch {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// What they make of the guarded members.
        patch: Patch<'a>,
    },
    /// Neither.
    Unreadable {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// Why.
        why: Unreadable,
    },
    /// Larger than the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl<'a> Body<'a> {
    /// Reads a body that came whole. Its shape says whether a PATCH has operations or an object to merge.
    pub fn read(method: Method, bytes: &'a [u8]) -> Self {
        if method == Method::Patch && bytes.trim_ascii_start().first() == Some(&b'[') {
            return match Patch::read(bytes) {
                Ok(patch) => Self::Patch { bytes, patch },
                Err(why) => Self::Unreadable { bytes, why },
            };
        }
        match Members::read(bytes) {
            Ok(members) => Self::Object { bytes, members },
            Err(why) => Self::Unreadable { bytes, why },
        }
    }

    /// The bytes as they came, if they were read.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Object { bytes, .. }
            | Self::Patch { bytes, .. }
            | Self::Unreadable { bytes, .. } => bytes,
            Self::TooLarge { .. } => &[],
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        matches!(self, Self::Object { .. } | Self::Patch { .. })
    }
}
