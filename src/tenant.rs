//! Whose request this is, from the token's claims.
//!
//! The token is not verified here; the upstream does that. A claim alone therefore grants nothing: it names a
//! bucket. A credential counts as proven once the upstream has answered it with a 2xx on a referral route.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use siphasher::sip128::{Hasher128, SipHasher13};

#[cfg(test)]
mod tests;

/// How a tenant is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The header that names the tenant when the token has no `tid`.
    pub header: Option<HeaderName>,
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

/// Proofs remembered at once.
const MAX_PROOFS: u64 = 100_000;

/// A proof is forgotten after this long, whatever the token says.
const MAX_PROOF_AGE: Duration = Duration::from_secs(3600);

/// Tells callers apart.
pub struct Tenants {
    header: Option<HeaderName>,
    aliases: HashMap<String, usize>,
    names: Vec<Arc<str>>,
    hasher: SipHasher13,
    proofs: moka::sync::Cache<u128, Identity>,
}

/// Who sent a request, as far as the gateway can tell.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant that the request belongs to, by what is said of it.
    pub tenant: Tenant,
    /// Whose quota the request spends.
    pub payer: Payer,
    /// A keyed hash over tenant, user and application.
    pub principal: u128,
    /// A keyed hash of the credential, if the request carries one: the token, or the cookies where there is none.
    pub credential: Option<u128>,
    /// Whether the upstream has accepted this very credential.
    pub proven: bool,
    identity: Option<Identity>,
}

/// Whose quota a request spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The caller's tenant.
    Tenant,
    /// Nothing shows that the caller belongs to its tenant: this very credential.
    Stranger(u128),
}

/// A tenant: a keyed hash of its id, and its alias if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// A keyed hash of the tenant's id.
    pub key: u128,
    /// The place of the tenant among the known ones.
    pub known: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    /// What the token says; a tenant header can change from request to request.
    tenant: Option<Tenant>,
    principal: u128,
    expires: Option<u64>,
}

/// More than one `Authorization` field: readers differ in which one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedCredential;

/// The claims that tell callers apart. All may be missing.
#[derive(Debug, Default, Deserialize)]
struct Claims {
    tid: Option<String>,
    oid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    exp: Option<serde_json::Number>,
}

impl Tenants {
    /// Tells callers apart by these settings; the hashes are keyed anew in each process.
    pub fn new(settings: &Settings) -> Self {
        // A keyed hash, so that nobody can choose a credential that looks like another.
        let key = |n: u64| RandomState::new().hash_one(n);
        let hasher = SipHasher13::new_with_keys(key(0), key(1));
        let aliases = settings
            .known
            .iter()
            .enumerate()
            .map(|(at, known)| (known.id.to_ascii_lowercase(), at));
        let proofs = moka::sync::Cache::builder()
            .max_capacity(MAX_PROOFS)
            .expire_after(UntilExpiry)
            .build();
        Self {
            header: settings.header.clone(),
            aliases: aliases.collect(),
            names: settings
                .known
                .iter()
                .map(|known| Arc::from(known.alias.as_str()))
                .collect(),
            hasher,
            proofs,
        }
    }

    /// Who sent a request with this header section.
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
            let tenant = self.named(self.header_tenant(headers));
            return Ok(Caller {
                tenant,
                payer: Payer::Tenant,
                principal: tenant.key,
                credential: None,
                proven: false,
                identity: None,
            });
        }

        let credential = match authorization {
            Some(value) => self.hash(&[
                b"token",
                bearer(value.as_bytes()).unwrap_or(value.as_bytes()),
            ]),
            None => {
                let mut pieces = vec![&b"cookies"[..]];
                pieces.extend(
                    headers
                        .get_all(header::COOKIE)
                        .iter()
                        .map(HeaderValue::as_bytes),
                );
                self.hash(&pieces)
            }
        };
        let proof = self.proofs.get(&credential);
        let proven = proof.is_some();
        let (identity, payer) = match proof {
            Some(identity) => (identity, Payer::Tenant),
            None => (
                self.claimed(authorization, credential),
                Payer::Stranger(credential),
            ),
        };
        Ok(Caller {
            tenant: identity
                .tenant
                .unwrap_or_else(|| self.named(self.header_tenant(headers))),
            payer,
            principal: identity.principal,
            credential: Some(credential),
            proven,
            identity: Some(identity),
        })
    }

    /// What a credential says of itself.
    fn claimed(&self, authorization: Option<&HeaderValue>, credential: u128) -> Identity {
        let claims = authorization
            .and_then(|value| claims(value.as_bytes()))
            .unwrap_or_default();
        let tenant = claims.tid.as_deref().map(|tid| self.named(Some(tid)));
        let application = claims
            .appid
            .as_deref()
            .or(claims.azp.as_deref())
            .unwrap_or_default();
        let user = claims.oid.filter(|user| !user.is_empty());
        let principal = match (&tenant, &user) {
            (Some(tenant), Some(user)) => self.hash(&[
                b"principal",
                &tenant.key.to_le_bytes(),
                user.as_bytes(),
                application.as_bytes(),
            ]),
            // Without a user of a tenant in the token, only the credential itself tells users apart.
            _ => credential,
        };
        let expires = claims
            .exp
            .and_then(|exp| exp.as_u64().or_else(|| exp.as_f64().map(|exp| exp as u64)));
        Identity {
            tenant,
            principal,
            expires,
        }
    }

    /// The upstream accepted this caller's credential.
    pub fn prove(&self, caller: &Caller) {
        if let (Some(credential), Some(identity), false) =
            (caller.credential, caller.identity, caller.proven)
        {
            self.proofs.insert(credential, identity);
        }
    }

    /// The upstream refused this caller's credential.
    pub fn disprove(&self, caller: &Caller) {
        if let Some(credential) = caller.credential {
            self.proofs.invalidate(&credential);
        }
    }

    /// The name of a tenant in logs: its alias, or a hash that changes with each start of the program.
    pub fn name(&self, tenant: Tenant) -> String {
        match self.alias(tenant) {
            Some(alias) => alias.to_owned(),
            None if tenant == self.named(None) => "anonymous".to_owned(),
            None => format!("{:016x}", tenant.key >> 64),
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
        match id.map(str::to_ascii_lowercase) {
            None => Tenant {
                key: self.hash(&[b"anonymous"]),
                known: None,
            },
            Some(id) => Tenant {
                key: self.hash(&[b"tenant", id.as_bytes()]),
                known: self.aliases.get(&id).copied(),
            },
        }
    }

    fn hash(&self, pieces: &[&[u8]]) -> u128 {
        let mut hasher = self.hasher;
        for piece in pieces {
            hasher.write_usize(piece.len());
            hasher.write(piece);
        }
        hasher.finish128().as_u128()
    }
}

impl Caller {
    /// With whom the caller shares what a tenant may know: with the tenant that its token names. A header can name any
    /// tenant, so a caller without such a token shares with nobody.
    pub fn tenant_scope(&self) -> u128 {
        let told = self.identity.and_then(|identity| identity.tenant);
        told.map_or(self.principal, |tenant| tenant.key)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// A proof ends with its token.
struct UntilExpiry;

impl moka::Expiry<u128, Identity> for UntilExpiry {
    fn expire_after_create(&self, _: &u128, identity: &Identity, _: Instant) -> Option<Duration> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Some(match identity.expires {
            Some(expires) => Duration::from_secs(expires)
                .saturating_sub(now)
                .min(MAX_PROOF_AGE),
            None => MAX_PROOF_AGE,
        })
    }
}

/// The token of a bearer credential, however its scheme is spelt (RFC 6750 2.1), so that a spelling makes no new caller.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.trim_ascii_start().split_at_checked(6)?;
    let token = scheme.eq_ignore_ascii_case(b"bearer").then_some(token)?;
    token
        .first()
        .filter(|blank| matches!(blank, b' ' | b'\t'))
        .map(|_| token.trim_ascii())
}

/// The claims of a bearer token that has the shape of a JWT (RFC 7519); its signature is the upstream's business.
fn claims(authorization: &[u8]) -> Option<Claims> {
    let mut parts = bearer(authorization)?.split(|byte| *byte == b'.');
    let payload = parts.nth(1)?;
    parts.next()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
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
                tenant: Some(tenant),
                principal,
                expires: None,
            }),
        }
    }
}
