//! What proves that a caller belongs to a tenant: the upstream's answer, or a signature.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{key_set::KeySet, prehashed::PrehashedKey};

/// Who pays for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The caller's tenant.
    Tenant,
    /// This credential alone: nothing proves that the caller belongs to its tenant.
    Unproven(u128),
}

/// What is remembered of a credential. It outlives a change of the settings, so it holds no alias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// The key of the tenant that the token names. A tenant header does not count: it can change with each request.
    pub(super) tenant: Option<u128>,
    /// A keyed hash over tenant, user and application.
    pub(super) principal: u128,
    /// Seconds since 1970.
    pub(super) expires: Option<u64>,
    /// Seconds since 1970.
    pub(super) not_before: Option<u64>,
}

/// Verifies each token once.
///
/// The results are kept apart from the proofs: anybody can fill this cache with made-up tokens, and all that they gain
/// is that other tokens are verified again.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) key_set: KeySet,
    pub(super) outcomes: moka::sync::Cache<u128, (Identity, Payer), PrehashedKey>,
}

/// The maximum number of proofs.
const MAX_PROOFS: u64 = 100_000;

/// The longest life of a proof, whatever the token says.
const MAX_PROOF_AGE: Duration = Duration::from_secs(3600);

/// The maximum number of verified tokens, good and bad (10 MB). Made-up tokens can fill the cache, and verifying one again
/// costs some 20 µs, so it is smaller than that of the proofs.
pub(super) const MAX_OUTCOMES: u64 = 20_000;

/// The tolerated difference between the clocks of the issuer and of this machine, in seconds.
const LEEWAY: u64 = 60;

impl Verifier {
    pub(super) fn new(key_set: KeySet) -> Self {
        // A cached result may have expired: its times are compared with the clock at each use.
        let outcomes = moka::sync::Cache::builder()
            .max_capacity(MAX_OUTCOMES)
            .time_to_live(MAX_PROOF_AGE)
            .build_with_hasher(PrehashedKey::default());
        Self { key_set, outcomes }
    }
}

impl Identity {
    /// Whether the token is valid at this time, in seconds since 1970 (RFC 7519 4.1.4, 4.1.5). A token without an end
    /// never is.
    pub(super) fn is_valid_at(&self, now: u64) -> bool {
        self.expires
            .is_some_and(|expires| now < expires.saturating_add(LEEWAY))
            && self
                .not_before
                .is_none_or(|start| start <= now.saturating_add(LEEWAY))
    }
}

/// The credentials that the upstream has accepted.
pub(super) type Proofs = moka::sync::Cache<u128, Identity, PrehashedKey>;

/// No credential is proven yet.
pub(super) fn proofs() -> Proofs {
    moka::sync::Cache::builder()
        .max_capacity(MAX_PROOFS)
        .expire_after(UntilExpiry)
        .build_with_hasher(PrehashedKey::default())
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

/// The time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
