//! Snapshots: the state of each referral at an entity tag, per caller.
//!
//! A snapshot holds no body and no personal data. A tag belongs to one state for ever, since every write makes a new tag;
//! so a snapshot can be old, but not wrong.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::notification::RemovalCause;

use crate::{
    metrics::{Metrics, label::Eviction},
    referral::{EntityTag, ReferralId, State, Tags},
    tenant::Caller,
};

#[cfg(test)]
mod tests;

/// The bounds of the cache, and who shares a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The maximum number of referrals, in units of 512 bytes.
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

/// An entry weighs one for each started piece of this many bytes, so that the bound of entries bounds memory too.
const BYTES_PER_WEIGHT: usize = 512;

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

/// The last seen states of referrals, by the callers that may use them.
pub struct Snapshots {
    entries: moka::sync::Cache<Key, Arc<[Seen]>>,
    max_age: Duration,
    scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    scope: u128,
    id: ReferralId,
}

/// One version of a referral. Tags and state never change: a write makes a new tag.
#[derive(Debug, Clone)]
struct Seen {
    tags: Tags,
    state: State,
    at: Instant,
}

impl Snapshots {
    /// An empty cache with these bounds.
    pub fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Self {
        let metrics = Arc::clone(metrics);
        let entries = moka::sync::Cache::builder()
            .max_capacity(settings.max_entries)
            .weigher(|key: &Key, seen: &Arc<[Seen]>| {
                let bytes = key.id.as_str().len() + seen.iter().map(Seen::bytes).sum::<usize>();
                u32::try_from(bytes.div_ceil(BYTES_PER_WEIGHT)).unwrap_or(u32::MAX)
            })
            .time_to_live(settings.max_age)
            .eviction_listener(move |_, _, cause| {
                let cause = match cause {
                    RemovalCause::Expired => Eviction::Age,
                    RemovalCause::Explicit => Eviction::Forgotten,
                    RemovalCause::Size => Eviction::Size,
                    RemovalCause::Replaced => return,
                };
                metrics.snapshot_evicted(cause);
            })
            .build();
        Self {
            entries,
            max_age: settings.max_age,
            scope: settings.scope,
        }
    }

    /// The state of a referral at the tag that a caller names.
    pub fn look_up(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> Lookup {
        let Some(seen) = self.entries.get(&self.key(caller, id)) else {
            return Lookup::Unknown;
        };
        match seen.iter().find(|seen| seen.tags.contain(tag.as_bytes())) {
            Some(seen) if seen.at.elapsed() <= self.max_age => {
                Lookup::Known(seen.state.clone(), seen.at.elapsed())
            }
            Some(_) => Lookup::Unknown,
            None => Lookup::OtherTag,
        }
    }

    /// Stores the state of a referral at the tags of a version. Returns whether the cache changed.
    pub fn learn(&self, caller: &Caller, id: &ReferralId, tags: &Tags, state: &State) -> bool {
        let key = self.key(caller, id);
        let known = self.entries.get(&key);
        let newest = known.as_ref().and_then(|seen| seen.first());
        let is_newest = newest.is_some_and(|seen| seen.tags == *tags && seen.state == *state);
        // An insertion costs more than a lookup, so a referral that is read repeatedly is stored only now and then.
        if is_newest && newest.is_some_and(|seen| seen.at.elapsed() < self.max_age / 4) {
            return false;
        }
        let older = known
            .iter()
            .flat_map(|seen| seen.iter())
            .filter(|seen| !tags.all().any(|tag| seen.tags.contain(tag)));
        let newest = Seen {
            tags: tags.clone(),
            state: state.clone(),
            at: Instant::now(),
        };
        self.entries.insert(
            key,
            [newest]
                .into_iter()
                .chain(older.cloned())
                .take(TAGS_PER_REFERRAL)
                .collect(),
        );
        !is_newest
    }

    /// Whether this is the newest tag and was seen recently. An answer with it holds nothing new.
    pub fn is_known_tag(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> bool {
        let seen = self.entries.get(&self.key(caller, id));
        let newest = seen.as_ref().and_then(|seen| seen.first());
        newest.is_some_and(|newest| {
            newest.tags.contain(tag.as_bytes()) && newest.at.elapsed() < self.max_age / 4
        })
    }

    /// Whether this answer shows a known version: a tag never belongs to two states.
    ///
    /// Searching for the tag is far cheaper than parsing the answer. A text that only mentions the tag costs one lookup
    /// later.
    pub fn is_known_version(&self, caller: &Caller, id: &ReferralId, answer: &[u8]) -> bool {
        let Some(seen) = self.entries.get(&self.key(caller, id)) else {
            return false;
        };
        let Some(newest) = seen
            .first()
            .filter(|seen| seen.at.elapsed() < self.max_age / 4)
        else {
            return false;
        };
        newest.tags.all().any(|tag| {
            let tag = tag.strip_prefix(b"\"");
            let tag = tag.and_then(|tag| tag.strip_suffix(b"\""));
            tag.is_some_and(|tag| !tag.is_empty() && memchr::memmem::find(answer, tag).is_some())
        })
    }

    /// Whether this is the newest known tag of a referral; `None` if the referral is not known.
    pub fn is_newest(&self, caller: &Caller, id: &ReferralId, tag: EntityTag<'_>) -> Option<bool> {
        let seen = self.entries.get(&self.key(caller, id))?;
        seen.first()
            .map(|newest| newest.tags.contain(tag.as_bytes()))
    }

    /// Forgets a referral: it has changed, is gone, or may have changed.
    pub fn forget(&self, caller: &Caller, id: &ReferralId) {
        self.entries.invalidate(&self.key(caller, id));
    }

    /// The number of referrals in the cache, after expired ones are removed.
    pub fn len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, caller: &Caller, id: &ReferralId) -> Key {
        let scope = match self.scope {
            Scope::Principal => caller.principal,
            Scope::Tenant => caller.tenant_scope(),
        };
        Key {
            scope,
            id: id.clone(),
        }
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Seen {
    fn bytes(&self) -> usize {
        self.tags.all().map(<[u8]>::len).sum::<usize>()
            + self.state.status.len()
            + self
                .state
                .substatus
                .as_ref()
                .map_or(0, |substatus| substatus.len())
            + 112
    }
}
