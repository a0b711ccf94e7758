//! Whose request this is, from the token's claims.
//!
//! Whether a credential is good is the upstream's business. A claim alone therefore grants nothing: a credential counts
//! as proven once the upstream has answered it with a 2xx on a referral route. Until then it pays for itself, unless
//! there is a key set: then the signature decides who pays, and an unsigned claim counts for nothing at all.

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
use tracing::warn;

pub use key_set::{BadKeySet, KeySet};

mod key_set;

#[cfg(test)]
mod tests;

/// How a tenant is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The header that names the tenant when the token has no `tid`.
    pub header: Option<HeaderName>,
    /// The keys by which a token's claims are believed; without them the upstream's word is waited for.
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

/// Proofs remembered at once.
const MAX_PROOFS: u64 = 100_000;

/// A proof is forgotten after this long, whatever the token says.
const MAX_PROOF_AGE: Duration = Duration::from_secs(3600);

/// Verified tokens remembered at once, good and bad. Made-up ones can take all the places (10 MB), and verifying anew costs
/// some 20 µs, so there are fewer than of proofs.
const MAX_OUTCOMES: u64 = 20_000;

/// How far the clocks of the issuer and of this machine may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Hashes keys that are keyed hashes already: nobody can choose them, so any part of one will do.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsIs(u64);

impl BuildHasher for AsIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 ^= (key ^ (key >> 64)) as u64;
    }
}

/// Tells callers apart.
pub struct Tenants {
    header: Option<HeaderName>,
    /// The places of the known tenants, by their keys.
    known: HashMap<u128, usize, AsIs>,
    names: Vec<Arc<str>>,
    hasher: SipHasher13,
    proofs: moka::sync::Cache<u128, Identity, AsIs>,
    verifier: Option<Verifier>,
}

/// Verifies each token once.
///
/// What came of it is kept apart from the proofs: anybody can fill this cache with made-up tokens, and all they gain is
/// that others are verified again.
#[derive(Clone)]
struct Verifier {
    key_set: KeySet,
    outcomes: moka::sync::Cache<u128, (Identity, Payer), AsIs>,
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

/// What a token says, in words; empty where it says nothing.
#[derive(Debug, Default)]
pub struct Said<'a> {
    /// The alias of its tenant.
    pub alias: Option<&'a str>,
    /// The claim `tid`.
    pub tenant: String,
    /// The claim `appid`, or `azp`.
    pub application: String,
}

/// A tenant: a keyed hash of its id, and its alias if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// A keyed hash of the tenant's id.
    pub key: u128,
    /// The place of the tenant among the known ones.
    pub known: Option<usize>,
}

/// What is remembered of a credential, also beyond a change of the settings: so it says nothing of aliases.
#[derive(Debug, Clone, Copy)]
struct Identity {
    /// The key of the tenant that the token names; a tenant header can change from request to request.
    tenant: Option<u128>,
    principal: u128,
    expires: Option<u64>,
    not_before: Option<u64>,
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
    nbf: Option<serde_json::Number>,
}

impl Tenants {
    /// Tells callers apart by these settings; the hashes are keyed anew in each process.
    pub fn new(settings: &Settings) -> Self {
        // A keyed hash, so that nobody can choose a credential that looks like another.
        let key = |n: u64| RandomState::new().hash_one(n);
        let hasher = SipHasher13::new_with_keys(key(0), key(1));
        let verifier = settings.key_set.clone().map(Verifier::new);
        Self::of(settings, hasher, proofs(), verifier)
    }

    /// Tells callers apart by other settings from here on. The hashes stay what they are, and so do the proofs.
    pub fn renewed(&self, settings: &Settings) -> Self {
        let verifier = match (&settings.key_set, &self.verifier) {
            // What came of verifying is true of these keys alone.
            (Some(keys), Some(verifier)) if *keys == verifier.key_set => Some(verifier.clone()),
            (keys, _) => keys.clone().map(Verifier::new),
        };
        let proofs = match (&verifier, &self.verifier) {
            // With a key set a proof says whom the signature shows. Without one that may be nobody, who could then name
            // any tenant in a header.
            (None, Some(_)) => proofs(),
            _ => self.proofs.clone(),
        };
        Self::of(settings, self.hasher, proofs, verifier)
    }

    fn of(
        settings: &Settings,
        hasher: SipHasher13,
        proofs: moka::sync::Cache<u128, Identity, AsIs>,
        verifier: Option<Verifier>,
    ) -> Self {
        let mut tenants = Self {
            header: settings.header.clone(),
            known: HashMap::default(),
            names: Vec::new(),
            hasher,
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
        self.hash(&[b"tenant", id.to_ascii_lowercase().as_bytes()])
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
            let named = self.header_tenant(headers);
            let tenant = self.named(named);
            // Anybody can write a header: it must not spend what the tenant has.
            let payer = match named {
                Some(_) => Payer::Stranger(self.hash(&[b"header", &tenant.key.to_le_bytes()])),
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

        let credential = match authorization {
            Some(value) => match bearer(value.as_bytes()) {
                Some(token) => self.hash(&[b"token", token]),
                None => self.hash(&[b"other", value.as_bytes()]),
            },
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
        let (identity, payer) = match (&self.verifier, proof) {
            (Some(verifier), _) => {
                self.verified(verifier, authorization, credential, now().as_secs())
            }
            (None, Some(identity)) => (identity, Payer::Tenant),
            (None, None) => (
                self.identity(claimed(authorization), credential),
                Payer::Stranger(credential),
            ),
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

    /// Whose a credential is by its signature, and who pays. Claims of a token that does not verify are not believed.
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
            let identity = self.identity(claims, credential);
            let payer = match identity.tenant {
                Some(_) => Payer::Tenant,
                None => Payer::Stranger(credential),
            };
            verifier.outcomes.insert(credential, (identity, payer));
            (identity, payer)
        });
        if identity.holds_at(now) {
            return (identity, payer);
        }
        let nobody = Identity {
            tenant: None,
            principal: credential,
            ..identity
        };
        (nobody, Payer::Stranger(credential))
    }

    /// Whose a credential with these claims is.
    fn identity(&self, claims: Claims, credential: u128) -> Identity {
        let tenant = claims.tid.as_deref().map(|tid| self.key(tid));
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
            // Without a user of a tenant in the token, only the credential itself tells users apart.
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
                "The service accepted a credential whose tenant tenants.jwks_file does not show, so it pays for itself; \
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
        // A token for somebody else is signed by the same keys. Whoever was given one must not spend its tenant's quota.
        if let (Some(verifier), Payer::Tenant) = (&self.verifier, caller.payer) {
            let outcome = (identity, Payer::Stranger(credential));
            verifier.outcomes.insert(credential, outcome);
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

    /// The alias of the tenant that a caller's token names, if it has one. A header does not count: whoever sends it could
    /// choose the rules.
    ///
    /// A token counts whether it verifies or not: the service accepts none that says what is not so, and a genuine one
    /// may fail here for an old key set. So a rule for this tenant cannot be dodged, and a forger gains a 401.
    pub fn token_alias(&self, headers: &HeaderMap, caller: &Caller) -> Option<&str> {
        let unverified = || {
            self.verifier.as_ref()?;
            let claims = claimed(headers.get(header::AUTHORIZATION));
            Some(self.named(Some(&claims.tid?)))
        };
        let verified = caller.identity?.tenant.map(|named| self.tenant(named));
        self.alias(verified.or_else(unverified)?)
    }

    /// What a caller's token says of tenant and application, in words; it counts as in [`Self::token_alias`].
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
                key: self.hash(&[b"anonymous"]),
                known: None,
            },
            Some(id) => self.tenant(self.key(id)),
        }
    }

    fn tenant(&self, key: u128) -> Tenant {
        let known = self.known.get(&key).copied();
        Tenant { key, known }
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
        told.unwrap_or(self.principal)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    fn new(key_set: KeySet) -> Self {
        // How long an outcome is kept says nothing about how long it holds: the clock is asked each time.
        let outcomes = moka::sync::Cache::builder()
            .max_capacity(MAX_OUTCOMES)
            .time_to_live(MAX_PROOF_AGE)
            .build_with_hasher(AsIs::default());
        Self { key_set, outcomes }
    }
}

impl Identity {
    /// Whether the token may be believed at this time (RFC 7519 4.1.4, 4.1.5); one that never ends may not.
    fn holds_at(&self, now: u64) -> bool {
        self.expires
            .is_some_and(|expires| now < expires.saturating_add(LEEWAY))
            && self
                .not_before
                .is_none_or(|start| start <= now.saturating_add(LEEWAY))
    }
}

/// Nobody is proven yet.
fn proofs() -> moka::sync::Cache<u128, Identity, AsIs> {
    moka::sync::Cache::builder()
        .max_capacity(MAX_PROOFS)
        .expire_after(UntilExpiry)
        .build_with_hasher(AsIs::default())
}

/// A proof ends with its token.
struct UntilExpiry;

impl moka::Expiry<u128, Identity> for UntilExpiry {
    fn expire_after_create(&self, _: &u128, identity: &Identity, _: Instant) -> Option<Duration> {
        Some(match identity.expires {
            Some(expires) => Duration::from_secs(expires)
                .saturating_sub(now())
                .min(MAX_PROOF_AGE),
            None => MAX_PROOF_AGE,
        })
    }
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
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

/// What a token in the shape of a JWT (RFC 7519) says of itself; anything else says nothing.
fn claimed(authorization: Option<&HeaderValue>) -> Claims {
    authorization
        .and_then(|value| claims(value.as_bytes()))
        .unwrap_or_default()
}

fn claims(authorization: &[u8]) -> Option<Claims> {
    // Some services take a token under any scheme, or under none: it must not dodge the rules for its tenant.
    let mut words = authorization
        .trim_ascii_end()
        .rsplit(u8::is_ascii_whitespace);
    let token = bearer(authorization).or_else(|| words.next())?;
    let mut parts = token.split(|byte| *byte == b'.');
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
                tenant: Some(tenant.key),
                principal,
                expires: None,
                not_before: None,
            }),
        }
    }
}
