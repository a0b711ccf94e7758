//! The states that snapshots share: a service knows few, whatever the number of referrals.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::referral::State;

/// The states in use.
#[derive(Debug, Default)]
pub(super) struct States(Mutex<HashSet<Arc<State>>>);

/// The maximum number of different states that are shared. The service documents 19.
pub(super) const MAX_STATES: usize = 1024;

impl States {
    /// The one that is equal to this. A service that shows ever new states fills no memory by it: those beyond the maximum
    /// belong to their referral alone.
    pub(super) fn shared(&self, state: &State) -> Arc<State> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = states.get(state) {
            return Arc::clone(known);
        }
        if states.len() >= MAX_STATES {
            // Nobody else can take one that only this set owns: it is locked.
            states.retain(|known| Arc::strong_count(known) > 1);
        }
        let state = Arc::new(state.clone());
        if states.len() < MAX_STATES {
            states.insert(Arc::clone(&state));
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_beyond_the_maximum_are_not_shared() {
        let states = States::default();
        let count = || states.0.lock().expect("no panic").len();
        let state = |n: usize| State {
            status: format!("{n}").into(),
            substatus: None,
        };
        let held: Vec<_> = (0..=MAX_STATES).map(|n| states.shared(&state(n))).collect();
        for (n, held) in held.iter().enumerate() {
            assert_eq!(**held, state(n));
            let is_shared = Arc::ptr_eq(held, &states.shared(&state(n)));
            assert_eq!(is_shared, n < MAX_STATES, "{n}");
        }
        assert_eq!(count(), MAX_STATES);
        // Those that nobody holds make room.
        drop(held);
        states.shared(&state(MAX_STATES));
        assert_eq!(count(), 1);
    }
}
