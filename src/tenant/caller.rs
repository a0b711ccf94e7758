//! The sender of a request and its tenant.

use std::fmt;

use super::proof::{Identity, Payer};

/// The sender of a request, as far as the gateway knows.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant that the request names.
    pub tenant: Tenant,
    /// Who pays for the request.
    pub payer: Payer,
    /// A keyed hash over tenant, user and application.
    pub principal: u128,
    /// A keyed hash of the credential, if there is one: the token, else the cookies.
    pub credential: Option<u128>,
    /// Whether the upstream has accepted this credential.
    pub proven: bool,
    pub(super) identity: Option<Identity>,
}

/// A tenant: a keyed hash of its id, and its alias if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// A keyed hash of the tenant's id.
    pub key: u128,
    /// The index of the tenant among the known ones.
    pub known: Option<usize>,
}

/// The name of a tenant in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// Its alias.
    Alias(&'a str),
    /// A part of its key, which changes with each start of the program.
    Hash(u64),
    /// The request names no tenant.
    Anonymous,
    /// The request was refused before its tenant was known; shown as nothing.
    Unknown,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(alias) => f.write_str(alias),
            Self::Hash(hash) => write!(f, "{hash:016x}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Unknown => Ok(()),
        }
    }
}

impl Caller {
    /// The scope of the snapshots that the caller shares with its tenant: the tenant that its token names. A header can
    /// name any tenant, so a caller without such a token shares with nobody.
    pub fn tenant_scope(&self) -> u128 {
        let named = self.identity.and_then(|identity| identity.tenant);
        named.unwrap_or(self.principal)
    }
}

#[cfg(test)]
impl Caller {
    /// A caller as tests of other parts need it.
    pub(crate) fn for_test(tenant: Tenant, principal: u128, payer: Payer) -> Self {
        Self {
            tenant,
            payer,
            principal,
            credential: Some(principal),
            proven: payer == Payer::Tenant,
            identity: Some(Identity {
                tenant: Some(tenant.key),
                principal,
                expires: None,
                not_before: None,
            }),
        }
    }
}
