//! Ids for requests that have none.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use http::HeaderValue;
use uuid::fmt::Hyphenated;

/// Makes GUIDs that nobody can foretell, without a system call for each.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    keys: (RandomState, RandomState),
    count: AtomicU64,
}

impl RequestIds {
    /// A new id.
    pub(super) fn fresh(&self) -> HeaderValue {
        let (one, two) = &self.keys;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let bits = u128::from(one.hash_one(count)) << 64 | u128::from(two.hash_one(count));
        let id = uuid::Builder::from_random_bytes(bits.to_le_bytes()).into_uuid();
        let mut text = [0; Hyphenated::LENGTH];
        HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
            .unwrap_or(HeaderValue::from_static("unknown"))
    }
}
