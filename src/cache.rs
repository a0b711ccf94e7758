//! Snapshots: the state of each referral at an entity tag, per caller.
//!
//! A snapshot holds no body and no personal data. A tag belongs to one state for ever, since every write makes a new tag;
//! so a snapshot can be old, but not wrong.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use self::{
    states::States,
    version::{HashedTags, Version},
};
use crate::{
    metrics::{Metrics, label::Eviction},
    referral::{EntityTag, ReferralId, Sighting, State, Tags},
    table::{Key, Table},
    tenant::Caller,
};

mod states;
mod version;

#[cfg(test)]
mod tests;

/// The bounds of the cache, and who shares a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The maximum number of referrals.
    pub max_entries: u64,
    /// The maximum age of a snapshot.
    pub max_age: Duration,
    /// Who shares a snapshot.
    pub scope: Scope,
}

/// Who shares a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One user of one application of one tenant (claims `tid`, `oid`, `appid` or `azp`).
    Principal,
    /// All callers of the tenant that their tokens name.
    Tenant,
}

/// The maximum number of versions of one referral. A client with an older one gets a 412 from the upstream.
const TAGS_PER_REFERRAL: usize = 4;

/// The result of looking up a referral at one entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Its state at that tag, and how long ago it was seen.
    Known(State, Duration),
    /// It is known at other tags only.
    OtherTag,
    /// It is not known.
    Unknown,
}

/// One version of a referral, for operators.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Keyed hashes of its tags.
    pub tags: Vec<u128>,
    /// Its state.
    pub state: State,
    /// How long ago it was seen.
    pub age: Duration,
}

/// The last seen states of referrals, by the callers that may use them.
pub struct Snapshots {
    entries: Table<Version>,
    states: States,
    /// Hashes ids with scopes, and tags. Its key is chosen by chance.
    hasher: SipHasher13,
    start: Instant,
    max_entries: usize,
    max_age: Duration,
    scope: Scope,
    metrics: Arc<Metrics>,
}

impl Snapshots {
    /// An empty cache with these bounds.
    pub fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Self {
        let key = |n: u64| RandomState::new().hash_one(n);
        let max_entries = usize::try_from(settings.max_entries).unwrap_or(usize::MAX);
        Self {
            entries: Table::new(max_entries),
            states: States::default(),
            hasher: SipHasher13::new_with_keys(key(0), key(1)),
            start: Instant::now(),
            max_entries,
            max_age: settings.max_age,
            scope: settings.scope,
            metrics: Arc::clone(metrics),
        }
    }

    /// The state of a referral at the tag that a caller names.
    pub fn look_up(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> Lookup {
        let (key, tag) = (self.key(caller, id), self.hash(&[tag.as_bytes()]));
        let now = self.now();
        let mut entries = self.entries.lock(key);
        let newest = entries.get_mut(key);
        let Some(newest) = newest.filter(|newest| newest.age(now) < self.max_age) else {
            return Lookup::Unknown;
        };
        newest.is_used = true;
        match newest.all().find(|version| version.has(tag)) {
            Some(version) if version.age(now) < self.max_age => {
                Lookup::Known(version.state().clone(), version.age(now))
            }
            Some(_) => Lookup::Unknown,
            None => Lookup::OtherTag,
        }
    }

    /// Stores the state of a referral at the tags of a version. Returns whether the cache changed.
    pub fn learn(&self, caller: &Caller, id: &ReferralId, tags: &Tags, state: &State) -> bool {
        let (key, tags) = (self.key(caller, id), self.tags(tags));
        let now = self.now();
        let mut entries = self.entries.lock(key);
        if let Some(newest) = entries.get_mut(key)
            && newest.tags() == tags
            && newest.state() == state
            && newest.age(now) < self.max_age
        {
            newest.see(now);
            return false;
        }
        let version = Version::new(tags, self.states.shared(state), now);
        if let Some(newest) = entries.get_mut(key) {
            let older = std::mem::replace(newest, version);
            if older.age(now) < self.max_age {
                newest.follow(older, TAGS_PER_REFERRAL);
            } else {
                self.removed(Some(older), Eviction::Age, now);
            }
            return true;
        }
        // One that no write has asked for leaves first, then the one that was not seen for longest.
        let rank = |version: &Version| (version.is_used, version.at());
        let gone = entries.put(self.max_entries, key, version, rank);
        self.removed(gone, Eviction::Size, now);
        true
    }

    /// Whether this is the newest tag and was seen recently. An answer with it holds nothing new.
    pub fn is_known_tag(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> bool {
        let recent = self.recent(caller, id);
        recent.is_some_and(|tags| tags.contain(self.hash(&[tag.as_bytes()])))
    }

    /// Whether this answer shows a known version: a tag never belongs to two states.
    ///
    /// Searching for the tag is far cheaper than parsing the answer. An answer that has the tag elsewhere costs one look-up
    /// later.
    pub fn is_known_version(&self, caller: &Caller, id: &ReferralId, answer: &[u8]) -> bool {
        let recent = self.recent(caller, id);
        recent.is_some_and(|tags| {
            let mut named = Sighting::tags_in(answer);
            named.any(|tag| tags.contain(self.hash(&[b"\"", tag, b"\""])))
        })
    }

    /// What is remembered of a referral for callers of these principals and tenants: each scope with its versions, the newest
    /// first.
    pub fn remembered(
        &self,
        callers: &[(u128, Option<u128>)],
        id: &ReferralId,
    ) -> Vec<(u128, Vec<Remembered>)> {
        let scopes = callers.iter().map(|(principal, tenant)| match self.scope {
            Scope::Principal => *principal,
            Scope::Tenant => tenant.unwrap_or(*principal),
        });
        let scopes: BTreeSet<u128> = scopes.collect();
        let now = self.now();
        let remembered = scopes.into_iter().filter_map(|scope| {
            let key = self.key_of(scope, id);
            let entries = self.entries.lock(key);
            let versions = entries.get(key)?.all();
            let young = versions.filter(|version| version.age(now) < self.max_age);
            let versions: Vec<_> = young
                .map(|version| Remembered {
                    tags: version.tags().all().map(Into::into).collect(),
                    state: version.state().clone(),
                    age: version.age(now),
                })
                .collect();
            (!versions.is_empty()).then_some((scope, versions))
        });
        remembered.collect()
    }

    /// Whether this is the newest known tag of a referral; `None` if the referral is not known.
    pub fn is_newest(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> Option<bool> {
        let tag = self.hash(&[tag.as_bytes()]);
        Some(self.newest(caller, id, self.max_age)?.contain(tag))
    }

    /// Forgets a referral: it has changed, is gone, or may have changed.
    pub fn forget(&self, caller: &Caller, id: &ReferralId) {
        let key = self.key(caller, id);
        let gone = self.entries.lock(key).remove(key);
        self.removed(gone, Eviction::Forgotten, self.now());
    }

    /// Forgets the referrals that were not seen for too long.
    pub fn sweep(&self) {
        let now = self.now();
        self.entries.retain(|_, newest| {
            let is_kept = newest.age(now) < self.max_age;
            if !is_kept {
                self.metrics.snapshot_evicted(Eviction::Age);
            }
            is_kept
        });
    }

    /// The number of referrals in the cache, after expired ones are removed.
    pub fn len(&self) -> u64 {
        self.sweep();
        self.entries.count() as u64
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tags of the newest version, if it was seen so recently that its state need not be read again.
    fn recent(&self, caller: &Caller, id: &ReferralId) -> Option<HashedTags> {
        self.newest(caller, id, self.max_age / 4)
    }

    /// The tags of the newest version, if it is younger than this.
    fn newest(&self, caller: &Caller, id: &ReferralId, age: Duration) -> Option<HashedTags> {
        let key = self.key(caller, id);
        let entries = self.entries.lock(key);
        let newest = entries.get(key)?;
        (newest.age(self.now()) < age).then(|| newest.tags())
    }

    /// Counts a referral that is gone.
    fn removed(&self, gone: Option<Version>, cause: Eviction, now: Duration) {
        if let Some(gone) = gone {
            let is_old = gone.age(now) >= self.max_age;
            let cause = if is_old { Eviction::Age } else { cause };
            self.metrics.snapshot_evicted(cause);
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn key(&self, caller: &Caller, id: &ReferralId) -> Key {
        let scope = match self.scope {
            Scope::Principal => caller.principal,
            Scope::Tenant => caller.tenant_scope(),
        };
        self.key_of(scope, id)
    }

    fn key_of(&self, scope: u128, id: &ReferralId) -> Key {
        self.hash(&[&scope.to_le_bytes(), id.as_str().as_bytes()])
    }

    fn tags(&self, tags: &Tags) -> HashedTags {
        HashedTags {
            first: self.hash(&[tags.first()]),
            other: tags.other().map(|tag| self.hash(&[tag])),
        }
    }

    /// A keyed hash: what callers and the service choose cannot be made to look like something else.
    fn hash(&self, pieces: &[&[u8]]) -> Key {
        let mut hasher = self.hasher;
        for piece in pieces {
            hasher.write(piece);
        }
        hasher.finish128().as_u128().into()
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
