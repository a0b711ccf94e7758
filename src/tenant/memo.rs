//! Remembers what credentials say of themselves, so that one that comes again is neither hashed nor parsed.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use secrecy::{ExposeSecret as _, SecretSlice};

use super::proof::Identity;

/// What a credential says of itself. Nothing of it is proven.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The keyed hash of the credential.
    pub(super) credential: u128,
    /// The identity that its claims name.
    pub(super) claimed: Identity,
    /// Whether it holds more than one credential.
    pub(super) is_joined: bool,
}

/// The readings of the credentials that came last.
///
/// They are kept with their credentials, which are compared whole and overwritten when they leave. Anybody can push out
/// others: then those are read again.
pub(super) struct Memo {
    sets: Box<[Mutex<Set>]>,
    hasher: RandomState,
}

/// The credentials whose keyed hash leads there; those that come often stand in front.
type Set = [Option<Box<Known>>; WAYS];

struct Known {
    /// A keyed hash of the end of the credential.
    ///
    /// Who does not know the end of a token learns nothing about its other bytes from how long a comparison takes.
    tag: u64,
    authorization: SecretSlice<u8>,
    reading: Reading,
    /// Sweeps since it was last read.
    sweeps: u8,
}

/// The places are enough for a thousand tenants: few sets get more than they have room for.
const SETS: usize = 512;
/// The places of a set.
const WAYS: usize = 4;
/// A longer credential is read each time, in bytes. All together they take 8 MiB at most.
const MAX_LENGTH: usize = 4096;
/// A credential that is not read between so many sweeps is overwritten: at one every ten seconds, for ten minutes.
const MAX_SWEEPS: u8 = 60;
/// The bytes at the end that choose the place: those of a token's signature.
const END: usize = 32;

impl Memo {
    /// The reading of the value of an `Authorization` field.
    pub(super) fn read(&self, authorization: &[u8], read: impl FnOnce() -> Reading) -> Reading {
        let end = authorization.len().saturating_sub(END);
        let tag = self.hasher.hash_one(authorization.get(end..));
        let set = self.sets.get(tag as usize % SETS);
        let Some(set) = set.filter(|_| authorization.len() <= MAX_LENGTH) else {
            return read();
        };
        {
            let mut known = set.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = known
                .iter()
                .position(|known| holds(known, tag, authorization))
            {
                let reading = known.get_mut(at).and_then(Option::as_mut).map(|known| {
                    known.sweeps = 0;
                    known.reading
                });
                // Those that come often stay in front; the last one is the next to leave.
                known.swap(at, at.saturating_sub(1));
                if let Some(reading) = reading {
                    return reading;
                }
            }
        }
        let reading = read();
        let mut known = set.lock().unwrap_or_else(PoisonError::into_inner);
        let [.., last] = &mut *known;
        *last = Some(Box::new(Known {
            tag,
            authorization: authorization.to_vec().into(),
            reading,
            sweeps: 0,
        }));
        known.rotate_right(1);
        reading
    }

    /// Overwrites the credentials that were not read for long.
    pub(super) fn sweep(&self) {
        for set in &self.sets {
            let mut known = set.lock().unwrap_or_else(PoisonError::into_inner);
            for place in known.iter_mut() {
                if let Some(known) = place {
                    known.sweeps += 1;
                    if known.sweeps > MAX_SWEEPS {
                        *place = None;
                    }
                }
            }
        }
    }
}

fn holds(known: &Option<Box<Known>>, tag: u64, authorization: &[u8]) -> bool {
    known.as_ref().is_some_and(|known| {
        known.tag == tag && known.authorization.expose_secret() == authorization
    })
}

impl Default for Memo {
    fn default() -> Self {
        let sets = std::iter::repeat_with(Mutex::default).take(SETS);
        Self {
            sets: sets.collect(),
            hasher: RandomState::new(),
        }
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Reads by counting, so that each reading differs.
    #[derive(Default)]
    struct Reader {
        memo: Memo,
        read: Cell<u128>,
    }

    impl Reader {
        fn read(&self, authorization: &[u8]) -> u128 {
            let read = || {
                let credential = self.read.get() + 1;
                self.read.set(credential);
                let claimed = Identity {
                    tenant: None,
                    principal: credential,
                    expires: None,
                    not_before: None,
                };
                Reading {
                    credential,
                    claimed,
                    is_joined: false,
                }
            };
            self.memo.read(authorization, read).credential
        }
    }

    #[test]
    fn a_credential_is_read_once() {
        let reader = Reader::default();
        for _ in 0..3 {
            assert_eq!(reader.read(b"Bearer one"), 1);
            assert_eq!(reader.read(b"Bearer two"), 2);
            assert_eq!(reader.read(b""), 3);
        }
    }

    #[test]
    fn credentials_that_differ_in_one_byte_are_not_taken_for_each_other() {
        let token: Vec<u8> = (0..1200).map(|at| b'a' + at as u8 % 26).collect();
        let reader = Reader::default();
        assert_eq!(reader.read(&token), 1);
        // The same end chooses the same place.
        for at in [0, 7, 600, 1199 - END, 1199] {
            let mut other = token.clone();
            other.splice(at..=at, [b'-']);
            assert!(reader.read(&other) > 1, "{at}");
        }
        assert!(reader.read(token.split_at(1).1) > 1);
        assert!(reader.read(&[&*token, b" "].concat()) > 1);
    }

    #[test]
    fn a_set_keeps_those_that_come_often() {
        let reader = Reader::default();
        // The same end: one set.
        let of_set = |n: u32| [&n.to_be_bytes()[..], &[b'e'; END]].concat();
        for n in 0..100 {
            assert_eq!(reader.read(&of_set(1000)), 1, "{n}");
            reader.read(&of_set(n));
        }
        assert_eq!(reader.read.get(), 101);
        assert!(reader.read(&of_set(0)) > 101);
    }

    #[test]
    fn a_credential_that_is_not_seen_for_long_is_overwritten() {
        let reader = Reader::default();
        let is_kept = || {
            let mut sets = reader.memo.sets.iter();
            sets.any(|set| set.lock().expect("no panic").iter().any(Option::is_some))
        };
        for _ in 0..2 {
            assert_eq!(reader.read(b"Bearer one"), 1);
            (0..MAX_SWEEPS).for_each(|_| reader.memo.sweep());
            assert!(is_kept());
        }
        reader.memo.sweep();
        assert!(!is_kept());
        assert_eq!(reader.read(b"Bearer one"), 2);
    }

    #[test]
    fn a_long_credential_is_read_each_time() {
        let reader = Reader::default();
        for (length, read) in [
            (MAX_LENGTH, 1),
            (MAX_LENGTH, 1),
            (MAX_LENGTH + 1, 2),
            (MAX_LENGTH + 1, 3),
        ] {
            assert_eq!(reader.read(&vec![b'a'; length]), read, "{length}");
        }
    }
}
