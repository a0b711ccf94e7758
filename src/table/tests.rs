//! What the map promises, next to a map of the standard library.

use std::{collections::HashMap, thread};

use proptest::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::*;

fn key(number: u64) -> Key {
    let mut hasher = SipHasher13::new();
    std::hash::Hasher::write_u64(&mut hasher, number);
    hasher.finish128().as_u128().into()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Add(u64),
    Put(u64),
    Remove(u64),
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u64).prop_map(Step::Add),
        4 => (0..40_u64).prop_map(Step::Put),
        3 => (0..40_u64).prop_map(Step::Remove),
        1 => (1..5_u64).prop_map(Step::Retain),
    ]
}

proptest! {
    #[test]
    fn it_is_a_map(steps in prop::collection::vec(step(), 0..200)) {
        let table = Table::new(1);
        let mut model = HashMap::new();
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add(number) => {
                    let mut locked = table.lock(key(number));
                    if locked.get(key(number)).is_none() {
                        prop_assert!(locked.add(usize::MAX, key(number), value));
                        model.insert(number, value);
                    }
                }
                Step::Put(number) => {
                    let gone = table.lock(key(number)).put(usize::MAX, key(number), value, |_| 0);
                    prop_assert_eq!(gone, None);
                    model.insert(number, value);
                }
                Step::Remove(number) => {
                    let removed = table.lock(key(number)).remove(key(number));
                    prop_assert_eq!(removed, model.remove(&number));
                }
                Step::Retain(each) => {
                    table.retain(|_, value| !(*value as u64).is_multiple_of(each));
                    model.retain(|_, value| !(*value as u64).is_multiple_of(each));
                }
            }
            prop_assert_eq!(table.count(), model.len());
            for number in 0..40 {
                let found = table.lock(key(number)).get(key(number)).copied();
                prop_assert_eq!(found, model.get(&number).copied());
            }
        }
    }
}

#[test]
fn the_bound_is_exact_whichever_shard_an_entry_belongs_to() {
    const MAX: usize = 20_000;
    let table = Table::new(MAX);
    for number in 0..30_000 {
        let added = table.lock(key(number)).add(MAX, key(number), number);
        assert_eq!(added, number < MAX as u64, "{number}");
    }
    assert_eq!(table.count(), MAX);
}

#[test]
fn the_bound_is_exact_while_threads_add() {
    let table = Table::new(20_000);
    thread::scope(|scope| {
        for thread in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for number in 0..2000 {
                    let key = key(thread * 10_000 + number);
                    table.lock(key).add(5000, key, ());
                }
            });
        }
    });
    assert_eq!(table.count(), 5000);
}

#[test]
fn a_full_map_takes_every_new_entry_and_lets_low_ranks_go() {
    const MAX: usize = 2000;
    let table = Table::new(MAX);
    for number in 0..20_000 {
        let gone = table
            .lock(key(number))
            .put(MAX, key(number), number, |rank| *rank);
        assert_eq!(gone.is_some(), number >= MAX as u64);
        assert!(table.lock(key(number)).get(key(number)).is_some());
        assert_eq!(table.count(), (number as usize + 1).min(MAX));
    }
    // The last thousand rank highest: hardly one of them has been the least of eight.
    let kept =
        (19_000..20_000).filter(|number| table.lock(key(*number)).get(key(*number)).is_some());
    assert!(kept.count() > 950);
}

#[test]
fn memory_is_given_back() {
    let table = Table::new(1);
    let shard = table.shard(key(0));
    for number in 0..10_000 {
        table
            .lock(key(number))
            .add(usize::MAX, key(number), [0_u64; 4]);
    }
    let room = || {
        let entries = shard.lock().entries;
        (entries.list.capacity(), entries.index.capacity())
    };
    assert!(room().0 <= 12_600, "{:?}", room());
    table.retain(|kept, _| kept == key(7));
    assert!(room() < (64, 64), "{:?}", room());
    assert!(table.lock(key(7)).get(key(7)).is_some());
}

#[test]
fn all_bits_of_a_key_count() {
    let table = Table::new(1);
    // The same place in the index, and one shard.
    let keys = [7, 7 | 1 << 64, 7 | 1 << 127];
    for (at, key) in keys.into_iter().enumerate() {
        let mut entries = table.lock(key.into());
        assert!(entries.get(key.into()).is_none(), "{key:x}");
        assert!(entries.add(10, key.into(), at));
    }
    for (at, key) in keys.into_iter().enumerate() {
        assert_eq!(table.lock(key.into()).get(key.into()), Some(&at), "{key:x}");
    }
}
