//! Identifies the caller and the tenant of a request by the token's claims.
//!
//! The upstream decides whether a credential is valid, so a claim alone grants nothing: a credential is proven once the
//! upstream has answered it with a 2xx on a referral route. Until then it pays for itself. With a key set the signature
//! decides who pays, and the claims of an unsigned token do not count.

use std::{collections::HashMap, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tracing::warn;

use self::{
    claims::{Claims, bearer, claimed},
    keys::Keys,
    memo::Memo,
    proof::{Identity, Proofs, Verifier, now, proofs},
};

mod caller;
mod claims;
mod key_set;
mod keys;
mod memo;
mod prehashed;
mod proof;

pub use caller::{Caller, Name, Tenant};
pub use key_set::{BadKeySet, KeySet};
pub use prehashed::PrehashedKey;
pub use proof::Payer;

#[cfg(test)]
mod tests;

/// How tenants are identified.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The header that names the tenant when the token has no `tid`.
    pub header: Option<HeaderName>,
    /// The keys that verify tokens. Without them the upstream's answers prove credentials.
    pub key_set: Option<KeySet>,
    /// Tenants known by an alias, which may appear in logs and metrics.
    pub known: Vec<Known>,
}

/// A tenant known by an alias.
#[derive(Debug, Clone)]
pub struct Known {
    /// The name in logs and metrics.
    pub alias: String,
    /// The tenant's id: the `tid` claim or the value of the tenant header.
    pub id: String,
}

/// Identifies callers.
pub struct Tenants {
    header: Option<HeaderName>,
    /// The indexes of the known tenants by key.
    known: HashMap<u128, usize, PrehashedKey>,
    names: Vec<Arc<str>>,
    /// The key of requests that name no tenant.
    anonymous: u128,
    keys: Keys,
    memo: Arc<Memo>,
    proofs: Proofs,
    verifier: Option<Verifier>,
}

/// The claims of a token as text; empty where there is none.
#[derive(Debug, Default)]
pub struct Said<'a> {
    /// The alias of its tenant.
    pub alias: Option<&'a str>,
    /// The claim `tid`.
    pub tenant: String,
    /// The claim `appid`, or `azp`.
    pub application: String,
}

/// More than one `Authorization` field, or one with more than one credential: recipients differ in which one they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedCredential;

impl Tenants {
    /// Identifies callers by these settings. Each process has its own hash keys.
    pub fn new(settings: &Settings) -> Self {
        let verifier = settings.key_set.clone().map(Verifier::new);
        Self::of(settings, Keys::fresh(), Arc::default(), proofs(), verifier)
    }

    /// The same with other settings. Hash keys and proofs are kept.
    pub fn renewed(&self, settings: &Settings) -> Self {
        let verifier = match (&settings.key_set, &self.verifier) {
            // Results of verifying hold for these keys only.
            (Some(keys), Some(verifier)) if *keys == verifier.key_set => Some(verifier.clone()),
            (keys, _) => keys.clone().map(Verifier::new),
        };
        let proofs = match (&verifier, &self.verifier) {
            // With a key set, a proof holds the identity that the signature shows. That may be none, and without the key
            // set such a caller could name any tenant in a header.
            (None, Some(_)) => proofs(),
            _ => self.proofs.clone(),
        };
        // What a token says of itself does not depend on the settings.
        Self::of(
            settings,
            self.keys,
            Arc::clone(&self.memo),
            proofs,
            verifier,
        )
    }

    fn of(
        settings: &Settings,
        keys: Keys,
        memo: Arc<Memo>,
        proofs: Proofs,
        verifier: Option<Verifier>,
    ) -> Self {
        let mut tenants = Self {
            header: settings.header.clone(),
            known: HashMap::default(),
            names: Vec::new(),
            anonymous: keys.anonymous(),
            keys,
            memo,
            proofs,
            verifier,
        };
        for (at, known) in settings.known.iter().enumerate() {
            tenants.known.insert(tenants.key(&known.id), at);
            tenants.names.push(known.alias.as_str().into());
        }
        tenants
    }

    /// The key of the tenant with this id.
    pub fn key(&self, id: &str) -> u128 {
        self.keys.tenant(id)
    }

    /// The sender of a request with these headers.
    ///
    /// # Errors
    ///
    /// When the credential is ambiguous.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Caller, RepeatedCredential> {
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return Err(RepeatedCredential);
        }
        if authorization.is_none() && !headers.contains_key(header::COOKIE) {
            let named = self.header_tenant(headers);
            let tenant = self.named(named);
            // Anybody can write a header: it must not spend the tenant's quota.
            let payer = match named {
                Some(_) => Payer::Unproven(self.keys.named_by_header(tenant.key)),
                None => Payer::Tenant,
            };
            return Ok(Caller {
                tenant,
                payer,
                principal: tenant.key,
                credential: None,
                proven: false,
                identity: None,
            });
        }

        let reading = match authorization {
            Some(value) => self.memo.read(value.as_bytes(), || self.keys.read(value)),
            None => self.keys.read_cookies(headers),
        };
        let credential = reading.credential;
        let proof = self.proofs.get(&credential);
        let proven = proof.is_some();
        // One that is refused here is never proven.
        if !proven && reading.is_joined {
            return Err(RepeatedCredential);
        }
        let (identity, payer) = match (&self.verifier, proof) {
            (Some(verifier), _) => {
                self.verified(verifier, authorization, credential, now().as_secs())
            }
            (None, Some(identity)) => (identity, Payer::Tenant),
            (None, None) => (reading.claimed, Payer::Unproven(credential)),
        };
        Ok(Caller {
            tenant: match identity.tenant {
                Some(key) => self.tenant(key),
                None => self.named(self.header_tenant(headers)),
            },
            payer,
            principal: identity.principal,
            credential: Some(credential),
            proven,
            identity: Some(identity),
        })
    }

    /// The identity that the signature of a credential shows, and who pays. Claims of a token that does not verify are
    /// ignored.
    fn verified(
        &self,
        verifier: &Verifier,
        authorization: Option<&HeaderValue>,
        credential: u128,
        now: u64,
    ) -> (Identity, Payer) {
        let known = verifier.outcomes.get(&credential);
        let (identity, payer) = known.unwrap_or_else(|| {
            let claims = claimed(authorization);
            let token = authorization.and_then(|value| bearer(value.as_bytes()));
            let claims = if token.is_some_and(|token| verifier.key_set.verifies(token)) {
                claims
            } else {
                Claims {
                    exp: claims.exp,
                    ..Claims::default()
                }
            };
            let identity = self.keys.identity(claims, credential);
            let payer = match identity.tenant {
                Some(_) => Payer::Tenant,
                None => Payer::Unproven(credential),
            };
            verifier.outcomes.insert(credential, (identity, payer));
            (identity, payer)
        });
        if identity.is_valid_at(now) {
            return (identity, payer);
        }
        let nobody = Identity {
            tenant: None,
            principal: credential,
            ..identity
        };
        (nobody, Payer::Unproven(credential))
    }

    /// The upstream accepted this caller's credential.
    pub fn prove(&self, caller: &Caller) {
        let (Some(credential), Some(identity), false) =
            (caller.credential, caller.identity, caller.proven)
        else {
            return;
        };
        self.proofs.insert(credential, identity);
        let Some(verifier) = &self.verifier else {
            return;
        };
        if identity.tenant.is_some() {
            let outcome = (identity, Payer::Tenant);
            verifier.outcomes.insert(credential, outcome);
        } else {
            warn!(
                "The service accepted a credential that tenants.jwks_file does not verify, so it pays for itself; \
                 is the file out of date?"
            );
        }
    }

    /// The upstream refused this caller's credential.
    pub fn disprove(&self, caller: &Caller) {
        let (Some(credential), Some(identity)) = (caller.credential, caller.identity) else {
            return;
        };
        self.proofs.invalidate(&credential);
        // The same keys sign tokens for other services. Their recipients must not spend the tenant's quota.
        if let (Some(verifier), Payer::Tenant) = (&self.verifier, caller.payer) {
            let outcome = (identity, Payer::Unproven(credential));
            verifier.outcomes.insert(credential, outcome);
        }
    }

    /// Forgets the proofs that have ended, and credentials that were not seen for long.
    pub fn sweep(&self) {
        self.proofs.sweep();
        self.memo.sweep();
    }

    /// The name of a tenant in logs: its alias, or a hash that changes with each start of the program.
    pub fn name(&self, tenant: Tenant) -> Name<'_> {
        match self.alias(tenant) {
            Some(alias) => Name::Alias(alias),
            None if tenant.key == self.anonymous => Name::Anonymous,
            None => Name::Hash((tenant.key >> 64) as u64),
        }
    }

    /// The name of the tenant with this key. That of a credential which pays for itself is a hash too.
    pub fn name_of(&self, key: u128) -> Name<'_> {
        self.name(self.tenant(key))
    }

    /// Principal and tenant of each credential that is proven.
    pub fn each_proven(&self, look: impl FnMut(u128, Option<u128>)) {
        self.proofs.each(look);
    }

    /// The alias of the tenant that a caller's token names, if it has one. A header does not count: its sender could choose
    /// the rules.
    ///
    /// A token counts whether it verifies or not: the service accepts no forged one, and a genuine one may fail here because
    /// of an old key set. So nobody evades a rule for this tenant, and a forger only gets a 401.
    pub fn token_alias(&self, headers: &HeaderMap, caller: &Caller) -> Option<&str> {
        let unverified = || {
            self.verifier.as_ref()?;
            let claims = claimed(headers.get(header::AUTHORIZATION));
            Some(self.named(Some(&claims.tid?)))
        };
        let verified = caller.identity?.tenant.map(|named| self.tenant(named));
        self.alias(verified.or_else(unverified)?)
    }

    /// Tenant and application that a caller's token names; it counts as in [`Self::token_alias`].
    pub fn said(&self, headers: &HeaderMap, caller: &Caller) -> Said<'_> {
        let claims = claimed(headers.get(header::AUTHORIZATION));
        Said {
            alias: self.token_alias(headers, caller),
            tenant: claims.tid.unwrap_or_default(),
            application: claims.appid.or(claims.azp).unwrap_or_default(),
        }
    }

    /// The alias of a tenant, if it has one.
    pub fn alias(&self, tenant: Tenant) -> Option<&str> {
        self.names.get(tenant.known?).map(|name| &**name)
    }

    fn header_tenant<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        headers
            .get(self.header.as_ref()?)?
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|id| !id.is_empty())
    }

    fn named(&self, id: Option<&str>) -> Tenant {
        match id {
            None => Tenant {
                key: self.anonymous,
                known: None,
            },
            Some(id) => self.tenant(self.key(id)),
        }
    }

    fn tenant(&self, key: u128) -> Tenant {
        let known = self.known.get(&key).copied();
        Tenant { key, known }
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
