//! The states that snapshots share: a service knows few, whatever the number of referrals.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::referral::State;

/// The states in use.
#[derive(Debug, Default)]
pub(super) struct States(Mutex<HashSet<Arc<State>>>);

/// The maximum number of different states at once. The service documents 19.
pub(super) const MAX_STATES: usize = 1024;

impl States {
    /// The one that is equal to this; `None` if there are too many different ones.
    pub(super) fn shared(&self, state: &State) -> Option<Arc<State>> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = states.get(state) {
            return Some(Arc::clone(known));
        }
        if states.len() >= MAX_STATES {
            // Nobody else can take one that only this set owns: it is locked.
            states.retain(|known| Arc::strong_count(known) > 1);
        }
        if states.len() >= MAX_STATES {
            return None;
        }
        let state = Arc::new(state.clone());
        states.insert(Arc::clone(&state));
        Some(state)
    }
}
