//! What proves that a caller belongs to a tenant: the upstream's answer, or a signature.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{key_set::KeySet, prehashed::PrehashedKey};
use crate::table::{Key, Table};

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
const MAX_PROOFS: usize = 100_000;

/// A proof that was not used between so many sweeps is not in use: at one every ten seconds, for ten minutes.
const MAX_SWEEPS: u8 = 60;

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
///
/// Only its 2xx makes a proof, so nobody can push out proofs with made-up credentials. Clones share the proofs.
#[derive(Clone)]
pub(super) struct Proofs {
    proofs: Arc<Table<Proof>>,
    start: Instant,
}

/// What is remembered of a credential that is proven.
#[derive(Debug)]
struct Proof {
    tenant: Option<Key>,
    principal: Key,
    /// When it ends, in seconds since [`Proofs::start`].
    end: u32,
    /// Sweeps since it was last used; `u8::MAX` if only the request that made it did.
    sweeps: u8,
}

/// No credential is proven yet.
pub(super) fn proofs() -> Proofs {
    Proofs {
        proofs: Arc::new(Table::new(MAX_PROOFS)),
        start: Instant::now(),
    }
}

impl Proofs {
    /// Whom a credential shows, if it is proven. The times of its token are not kept: a proof ends with it.
    pub(super) fn get(&self, credential: &u128) -> Option<Identity> {
        let now = self.now();
        let key = Key::from(*credential);
        let mut proofs = self.proofs.lock(key);
        let proof = proofs.get_mut(key)?;
        proof.sweeps = 0;
        (now < proof.end).then(|| Identity {
            tenant: proof.tenant.map(Into::into),
            principal: proof.principal.into(),
            expires: None,
            not_before: None,
        })
    }

    /// Proves a credential until its token ends. If there are too many, one that was not used for long is forgotten, else one
    /// that ends soon: who has many credentials proven must use them all to push out those of others.
    pub(super) fn insert(&self, credential: u128, identity: Identity) {
        let life = match identity.expires {
            Some(expires) => Duration::from_secs(expires)
                .saturating_sub(now())
                .min(MAX_PROOF_AGE),
            None => MAX_PROOF_AGE,
        };
        let proof = Proof {
            tenant: identity.tenant.map(Into::into),
            principal: identity.principal.into(),
            end: seconds(self.start.elapsed() + life),
            sweeps: u8::MAX,
        };
        let key = credential.into();
        let mut proofs = self.proofs.lock(key);
        proofs.put(MAX_PROOFS, key, proof, |proof| {
            (proof.sweeps < MAX_SWEEPS, proof.end)
        });
    }

    /// Looks at principal and tenant of each proof.
    pub(super) fn each(&self, mut look: impl FnMut(u128, Option<u128>)) {
        let now = self.now();
        self.proofs.each(|_, proof| {
            if now < proof.end {
                look(proof.principal.into(), proof.tenant.map(Into::into));
            }
        });
    }

    /// Ends a proof.
    pub(super) fn invalidate(&self, credential: &u128) {
        let key = Key::from(*credential);
        self.proofs.lock(key).remove(key);
    }

    /// Forgets the proofs that have ended.
    pub(super) fn sweep(&self) {
        let now = self.now();
        self.proofs.retain(|_, proof| {
            proof.sweeps = proof.sweeps.saturating_add(1);
            now < proof.end
        });
    }

    fn now(&self) -> u32 {
        seconds(self.start.elapsed())
    }
}

/// Whole seconds, so that a proof ends up to a second early, and never late.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// The time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(expires: Option<u64>) -> Identity {
        Identity {
            tenant: Some(1),
            principal: 2,
            expires,
            not_before: None,
        }
    }

    #[test]
    fn a_proof_ends_with_its_token_or_after_an_hour() {
        let in_time = |seconds| Some(now().as_secs() + seconds);
        for (expires, alive, over) in [
            (None, 3598, 3600),
            (in_time(86_400), 3598, 3600),
            (in_time(100), 97, 100),
            (Some(0), 0, 0),
        ] {
            let mut proofs = proofs();
            proofs.insert(7, identity(expires));
            let mut is_proven_after = |seconds| {
                proofs.start = Instant::now()
                    .checked_sub(Duration::from_secs(seconds))
                    .expect("a time since the start of the machine");
                proofs.get(&7).is_some()
            };
            assert_eq!(is_proven_after(alive), alive > 0, "{expires:?}");
            assert!(!is_proven_after(over), "{expires:?}");
            proofs.sweep();
            assert_eq!(proofs.proofs.count(), 0, "{expires:?}");
        }
    }

    #[test]
    fn a_credential_shows_the_identity_that_it_was_proven_with() {
        let proofs = proofs();
        proofs.insert(7, identity(None));
        proofs.insert(
            7 << 64,
            Identity {
                tenant: None,
                ..identity(None)
            },
        );
        let shown = |credential| {
            proofs
                .get(&credential)
                .map(|shown| (shown.tenant, shown.principal))
        };
        assert_eq!(shown(7), Some((Some(1), 2)));
        assert_eq!(shown(7 << 64), Some((None, 2)));
        assert_eq!(shown(7 | 7 << 64), None);
        proofs.invalidate(&7);
        assert_eq!((shown(7), shown(7 << 64)), (None, Some((None, 2))));
    }

    #[test]
    fn proofs_are_bounded_and_small() {
        assert!(
            size_of::<(Key, Proof)>() <= 56,
            "{}",
            size_of::<(Key, Proof)>()
        );
        let proofs = proofs();
        for number in 0..MAX_PROOFS as u128 + 5000 {
            let credential = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            proofs.insert(credential, identity(None));
            assert!(proofs.get(&credential).is_some(), "{number}");
        }
        assert_eq!(proofs.proofs.count(), MAX_PROOFS);
    }

    #[test]
    fn proofs_in_use_stay_when_the_table_is_full() {
        let proofs = proofs();
        let credential =
            |number: u128| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let soon = Some(now().as_secs() + 600);
        // Those that end first.
        let in_use = 1..=20;
        for number in in_use.clone() {
            proofs.insert(credential(number), identity(soon));
        }
        let many = MAX_PROOFS as u128;
        for number in 21..=many {
            proofs.insert(credential(number), identity(None));
        }
        for number in in_use.clone() {
            assert!(proofs.get(&credential(number)).is_some(), "{number}");
        }
        // They need not be used all the time.
        (1..MAX_SWEEPS).for_each(|_| proofs.sweep());
        for number in many + 1..2 * many {
            proofs.insert(credential(number), identity(None));
        }
        for number in in_use {
            assert!(proofs.get(&credential(number)).is_some(), "{number}");
        }
    }
}
