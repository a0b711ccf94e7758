//! The versions of one referral.

use std::{sync::Arc, time::Duration};

use crate::{referral::State, table::Key};

/// One version of a referral, and those before it. Tags and state never change: a write makes a new tag.
///
/// Most referrals have one version with one tag, so everything else lies apart.
#[derive(Debug)]
pub(super) struct Version {
    tag: Key,
    state: Arc<State>,
    seconds: u32,
    millis: u16,
    /// Whether a write has asked for the referral. One that nobody asks for is the first to leave.
    pub(super) is_used: bool,
    rest: Option<Box<Rest>>,
}

#[derive(Debug)]
struct Rest {
    /// The second tag of the version.
    other: Option<Key>,
    older: Option<Version>,
}

/// The tags of a version, hashed: mostly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HashedTags {
    pub(super) first: Key,
    pub(super) other: Option<Key>,
}

impl HashedTags {
    pub(super) fn contain(self, tag: Key) -> bool {
        self.first == tag || self.other == Some(tag)
    }

    pub(super) fn all(self) -> impl Iterator<Item = Key> {
        [Some(self.first), self.other].into_iter().flatten()
    }

    fn overlap(self, others: Self) -> bool {
        self.contain(others.first) || others.other.is_some_and(|tag| self.contain(tag))
    }
}

impl Version {
    /// A version that was seen at this time since the cache was made.
    pub(super) fn new(tags: HashedTags, state: Arc<State>, at: Duration) -> Self {
        let mut version = Self {
            tag: tags.first,
            state,
            seconds: 0,
            millis: 0,
            is_used: false,
            rest: None,
        };
        version.see(at);
        version.set_rest(tags.other, None);
        version
    }

    /// It was seen again.
    pub(super) fn see(&mut self, at: Duration) {
        self.seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        self.millis = at.subsec_millis() as u16;
    }

    /// Takes its place in front of the versions that were known before, `max` in all. Those that share a
    /// tag with it are forgotten: a tag names one version.
    pub(super) fn follow(&mut self, older: Self, max: usize) {
        self.is_used = older.is_used;
        let tags = self.tags();
        let (mut kept, mut next) = (Vec::new(), Some(older));
        while let Some(mut version) = next {
            next = version.rest.as_mut().and_then(|rest| rest.older.take());
            if kept.len() + 1 < max && !version.tags().overlap(tags) {
                kept.push(version);
            }
        }
        let chain = |older, mut version: Self| {
            version.set_rest(version.tags().other, older);
            Some(version)
        };
        let older = kept.into_iter().rev().fold(None, chain);
        self.set_rest(tags.other, older);
    }

    fn set_rest(&mut self, other: Option<Key>, older: Option<Self>) {
        let is_empty = other.is_none() && older.is_none();
        self.rest = (!is_empty).then(|| Box::new(Rest { other, older }));
    }

    /// When it was seen, since the cache was made.
    pub(super) fn at(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) + Duration::from_millis(self.millis.into())
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn tags(&self) -> HashedTags {
        HashedTags {
            first: self.tag,
            other: self.rest.as_ref().and_then(|rest| rest.other),
        }
    }

    /// Whether this is one of its tags.
    pub(super) fn has(&self, tag: Key) -> bool {
        self.tags().contain(tag)
    }

    /// How long ago it was seen.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at())
    }

    /// This version and those before it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |version| version.rest.as_ref()?.older.as_ref())
    }

    /// What a further version, or a second tag, takes.
    #[cfg(test)]
    pub(super) fn size_of_rest() -> usize {
        size_of::<Rest>()
    }
}
