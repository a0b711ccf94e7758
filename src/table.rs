//! A bounded map from keyed hashes to small values, made for one entry a tenant.
//!
//! Entries lie side by side, and an index of four bytes each finds them. So an entry costs its key, its value, some seven
//! bytes, and up to a quarter of all that for entries to come. Shards with a lock each let threads work at the same time.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;

#[cfg(test)]
mod tests;

/// A keyed hash of 128 bits. Nobody can choose two things with the same one: among a million of them, the chance of a
/// collision is 2^-89. It is kept as bytes, so that it adds no padding to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl From<u128> for Key {
    fn from(hash: u128) -> Self {
        Self(hash.to_ne_bytes())
    }
}

impl From<Key> for u128 {
    fn from(key: Key) -> Self {
        Self::from_ne_bytes(key.0)
    }
}

impl Key {
    /// Finds the entry in its shard.
    fn hash(self) -> u64 {
        u128::from(self) as u64
    }

    /// Selects the shard, by other bits than [`Self::hash`].
    fn high(self) -> u64 {
        (u128::from(self) >> 64) as u64
    }
}

/// The map.
#[derive(Debug)]
pub struct Table<V> {
    shards: Box<[Arc<Shard<V>>]>,
    len: Arc<AtomicUsize>,
}

/// A part of the map. What belongs to one entry for longer, such as a permit, keeps the shard, and locks it for each look.
pub struct Shard<V> {
    entries: Mutex<Entries<V>>,
    /// The number of entries of all shards.
    len: Arc<AtomicUsize>,
}

/// A shard that is locked.
#[derive(Debug)]
pub struct Locked<'t, V> {
    entries: MutexGuard<'t, Entries<V>>,
    len: &'t AtomicUsize,
}

#[derive(Debug)]
struct Entries<V> {
    /// Places in `list`.
    index: HashTable<u32>,
    list: Vec<(Key, V)>,
}

/// So many entries a shard that none is empty when the map is full: else it would find none to replace.
const ENTRIES_PER_SHARD: usize = 1024;

/// Shards of large maps stay small too: a sweep looks at a whole one under its lock.
const MAX_SHARDS: usize = 4096;

/// The number of entries of which one leaves when the map is full.
const CANDIDATES: u32 = 8;

impl<V> Table<V> {
    /// An empty map for about this many entries.
    pub fn new(capacity: usize) -> Self {
        let shards = (capacity / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        // A power of two, so that bits of a key select the shard.
        let shards = 1 << shards.ilog2();
        let len = Arc::new(AtomicUsize::new(0));
        let shard = |_| {
            Arc::new(Shard {
                entries: Mutex::new(Entries {
                    index: HashTable::new(),
                    list: Vec::new(),
                }),
                len: Arc::clone(&len),
            })
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            len,
        }
    }

    /// The shard that holds this key.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is at least one shard, and bits of the last one's number select an earlier one or that"
    )]
    pub fn shard(&self, key: Key) -> &Arc<Shard<V>> {
        &self.shards[key.high() as usize & (self.shards.len() - 1)]
    }

    /// Locks the shard that holds this key.
    pub fn lock(&self, key: Key) -> Locked<'_, V> {
        self.shard(key).lock()
    }

    /// The number of entries.
    pub fn count(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Looks at all entries, one shard after the other.
    pub fn each(&self, mut look: impl FnMut(Key, &V)) {
        for shard in &self.shards {
            let shard = shard.lock();
            shard
                .entries
                .list
                .iter()
                .for_each(|(key, value)| look(*key, value));
        }
    }

    /// Keeps the entries that `keep` accepts, one shard after the other, and gives back memory that is free.
    pub fn retain(&self, mut keep: impl FnMut(Key, &mut V) -> bool) {
        for shard in &self.shards {
            shard.lock().retain(&mut keep);
        }
    }
}

impl<V> Shard<V> {
    /// Locks the shard. Hold it for a few instructions only.
    pub fn lock(&self) -> Locked<'_, V> {
        Locked {
            entries: self.entries.lock().unwrap_or_else(PoisonError::into_inner),
            len: &self.len,
        }
    }
}

/// Who shows a permit shows no keys of others.
impl<V> fmt::Debug for Shard<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").finish_non_exhaustive()
    }
}

impl<V> Locked<'_, V> {
    /// The value of a key.
    pub fn get(&self, key: Key) -> Option<&V> {
        let entries = &*self.entries;
        let (_, value) = entries.list.get(entries.place(key)?)?;
        Some(value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        let place = self.entries.place(key)?;
        let (_, value) = self.entries.list.get_mut(place)?;
        Some(value)
    }

    /// Adds an entry, whose key must be new, unless all shards together have `max` already. Returns whether it did.
    pub fn add(&mut self, max: usize, key: Key, value: V) -> bool {
        // The bound holds exactly: the place is counted before it is taken.
        if self.len.fetch_add(1, Ordering::AcqRel) >= max {
            self.len.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        self.entries.push(key, value);
        true
    }

    /// Sets the value of a key. If all shards together have `max` entries already, one of this shard leaves: that of a few,
    /// picked by chance, with the least `rank`. Returns the value that has left.
    pub fn put<R: Ord>(
        &mut self,
        max: usize,
        key: Key,
        value: V,
        rank: impl Fn(&V) -> R,
    ) -> Option<V> {
        if let Some(known) = self.get_mut(key) {
            *known = value;
            return None;
        }
        if self.len.fetch_add(1, Ordering::AcqRel) < max {
            self.entries.push(key, value);
            return None;
        }
        self.len.fetch_sub(1, Ordering::AcqRel);
        let least = self.entries.least_of_few(key, rank)?;
        let gone = self.entries.take(least);
        self.entries.push(key, value);
        gone
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: Key) -> Option<V> {
        let place = self.entries.place(key)?;
        self.len.fetch_sub(1, Ordering::AcqRel);
        self.entries.take(place)
    }

    fn retain(&mut self, keep: &mut impl FnMut(Key, &mut V) -> bool) {
        // From the end on: the entry that takes the place of a removed one was looked at before.
        for place in (0..self.entries.list.len()).rev() {
            let entry = self.entries.list.get_mut(place);
            if entry.is_some_and(|(key, value)| !keep(*key, value)) {
                self.len.fetch_sub(1, Ordering::AcqRel);
                self.entries.take(place);
            }
        }
        self.entries.shrink();
    }
}

impl<V> Entries<V> {
    fn place(&self, key: Key) -> Option<usize> {
        let is_it = |place: &u32| {
            let entry = self.list.get(*place as usize);
            entry.is_some_and(|(known, _)| *known == key)
        };
        self.index
            .find(key.hash(), is_it)
            .map(|place| *place as usize)
    }

    fn push(&mut self, key: Key, value: V) {
        let Self { index, list } = self;
        // By a quarter, not by twice as much: what is reserved in vain would be part of what a tenant costs.
        if list.len() == list.capacity() {
            list.reserve_exact(list.len() / 4 + 16);
        }
        let place = u32::try_from(list.len()).expect("a table has fewer entries than 2^32");
        list.push((key, value));
        index.insert_unique(key.hash(), place, hash_of(list));
    }

    /// Removes the entry at a place, which the last one takes.
    fn take(&mut self, place: usize) -> Option<V> {
        let (key, _) = self.list.get(place)?;
        let is_at = |at: usize| move |place: &u32| *place as usize == at;
        if let Ok(entry) = self.index.find_entry(key.hash(), is_at(place)) {
            entry.remove();
        }
        let (_, value) = self.list.swap_remove(place);
        if let Some((moved, _)) = self.list.get(place)
            && let Some(known) = self.index.find_mut(moved.hash(), is_at(self.list.len()))
        {
            *known = place as u32;
        }
        Some(value)
    }

    /// The place of that of a few entries with the least rank. The new key selects them: nobody can choose its bits.
    fn least_of_few<R: Ord>(&self, key: Key, rank: impl Fn(&V) -> R) -> Option<usize> {
        let candidates = (0..CANDIDATES).map(|n| {
            // Bits of the other half are the same in the whole shard.
            let part = u128::from(key.hash().rotate_left(u64::BITS / CANDIDATES * n));
            ((part * self.list.len() as u128) >> 64) as usize
        });
        let ranked = candidates.filter_map(|place| Some((rank(&self.list.get(place)?.1), place)));
        Some(ranked.min()?.1)
    }

    fn shrink(&mut self) {
        let Self { index, list } = self;
        let room = list.len() + list.len() / 4 + 16;
        if list.capacity() > 2 * room {
            list.shrink_to(room);
            index.shrink_to(room, hash_of(list));
        }
    }
}

/// The hash of the entry at a place.
fn hash_of<V>(list: &[(Key, V)]) -> impl Fn(&u32) -> u64 {
    |place| {
        let entry = list.get(*place as usize);
        entry.map_or(0, |(key, _)| key.hash())
    }
}
