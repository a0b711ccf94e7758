//! Keyed hashes of credentials and names: nobody can choose a credential that looks like another.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::{HeaderMap, HeaderValue, header};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{
    claims::{Claims, bearer, claimed, is_joined},
    memo::Reading,
    proof::Identity,
};

/// Makes the keys by which callers are told apart. Each process has its own.
#[derive(Clone, Copy)]
pub(super) struct Keys(SipHasher13);

impl Keys {
    pub(super) fn fresh() -> Self {
        let key = |n: u64| RandomState::new().hash_one(n);
        Self(SipHasher13::new_with_keys(key(0), key(1)))
    }

    /// The key of the tenant with this id.
    pub(super) fn tenant(&self, id: &str) -> u128 {
        self.hash(&[b"tenant", id.to_ascii_lowercase().as_bytes()])
    }

    /// The key of requests that name no tenant.
    pub(super) fn anonymous(&self) -> u128 {
        self.hash(&[b"anonymous"])
    }

    /// The key of those that only a header counts to the tenant with this key.
    pub(super) fn named_by_header(&self, tenant: u128) -> u128 {
        self.hash(&[b"header", &tenant.to_le_bytes()])
    }

    /// What the value of an `Authorization` field says of itself.
    pub(super) fn read(&self, authorization: &HeaderValue) -> Reading {
        let value = authorization.as_bytes();
        let credential = match bearer(value) {
            Some(token) => self.hash(&[b"token", token]),
            None => self.hash(&[b"other", value]),
        };
        Reading {
            credential,
            claimed: self.identity(claimed(Some(authorization)), credential),
            is_joined: is_joined(value),
        }
    }

    /// The same for the cookies of a request.
    pub(super) fn read_cookies(&self, headers: &HeaderMap) -> Reading {
        let mut pieces = vec![&b"cookies"[..]];
        let cookies = headers.get_all(header::COOKIE).iter();
        pieces.extend(cookies.map(HeaderValue::as_bytes));
        let credential = self.hash(&pieces);
        Reading {
            credential,
            claimed: self.identity(Claims::default(), credential),
            is_joined: false,
        }
    }

    /// The identity that these claims name.
    pub(super) fn identity(&self, claims: Claims, credential: u128) -> Identity {
        let tenant = claims.tid.as_deref().map(|tid| self.tenant(tid));
        let application = claims
            .appid
            .as_deref()
            .or(claims.azp.as_deref())
            .unwrap_or_default();
        let user = claims.oid.filter(|user| !user.is_empty());
        let principal = match (&tenant, &user) {
            (Some(tenant), Some(user)) => self.hash(&[
                b"principal",
                &tenant.to_le_bytes(),
                user.as_bytes(),
                application.as_bytes(),
            ]),
            // Without tenant and user in the token, only the credential itself distinguishes users.
            _ => credential,
        };
        let seconds = |time: serde_json::Number| {
            time.as_u64()
                .or_else(|| time.as_f64().map(|time| time as u64))
        };
        Identity {
            tenant,
            principal,
            expires: claims.exp.and_then(seconds),
            not_before: claims.nbf.and_then(seconds),
        }
    }

    fn hash(&self, pieces: &[&[u8]]) -> u128 {
        let mut hasher = self.0;
        for piece in pieces {
            hasher.write_usize(piece.len());
            hasher.write(piece);
        }
        hasher.finish128().as_u128()
    }
}
