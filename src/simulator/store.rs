//! All referrals, each with its entity tag, and the writes to them.

use std::{collections::HashMap, time::SystemTime};

use http::{
    HeaderMap,
    header::{HeaderValue, IF_MATCH},
};
use serde_json::{Value, json};

use super::{
    MAX_BODY,
    answer::Refusal,
    patch::Patch,
    random::Random,
    resource::{self, Members},
    time::{in_ticks, time_text, unix_seconds},
};

/// The largest size of all referrals together, in bytes of JSON text.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The first group of the first entity tag; each write counts it up.
const FIRST_TAG: u32 = 0x0a00_b1c2;

/// A referral as it is kept: without `links` and `eTag`.
#[derive(Debug, Clone)]
pub(super) struct Referral {
    members: Members,
    bytes: usize,
    pub(super) etag: String,
    pub(super) created: SystemTime,
    pub(super) updated: SystemTime,
}

impl Referral {
    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// The text at a JSON Pointer.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.value(pointer)?.as_str()
    }

    /// The value at a JSON Pointer.
    pub(super) fn value(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
            Some((first, rest)) => (first, format!("/{rest}")),
            None => (pointer.strip_prefix('/')?, String::new()),
        };
        self.members.get(first)?.pointer(&rest)
    }
}

/// The condition of `If-Match`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// None.
    None,
    /// None, although the method requires one.
    Missing,
    /// The referral is still at one of these.
    Tags(Vec<String>),
}

impl Condition {
    pub(super) fn required(headers: &HeaderMap) -> Self {
        match Self::optional(headers) {
            Self::None => Self::Missing,
            condition => condition,
        }
    }

    pub(super) fn optional(headers: &HeaderMap) -> Self {
        if !headers.contains_key(IF_MATCH) {
            return Self::None;
        }
        let lines = headers.get_all(IF_MATCH).iter();
        let tags = lines
            .filter_map(|line: &HeaderValue| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|tag| tag.trim().to_owned());
        Self::Tags(tags.collect())
    }

    fn holds(&self, etag: &str) -> Result<(), Refusal> {
        match self {
            Self::None => Ok(()),
            Self::Missing => Err(Refusal::precondition("the write needs If-Match")),
            Self::Tags(tags) if tags.iter().any(|tag| tag == "*" || tag == etag) => Ok(()),
            Self::Tags(_) => Err(Refusal::precondition(
                "If-Match does not match the current eTag of the referral",
            )),
        }
    }
}

/// All referrals, in the order of creation.
#[derive(Debug)]
pub(super) struct Store {
    referrals: Vec<Referral>,
    places: HashMap<String, usize>,
    random: Random,
    writes: u32,
    bytes: usize,
    capacity: usize,
}

impl Store {
    pub(super) fn new(random: Random, capacity: usize) -> Self {
        Self {
            referrals: Vec::new(),
            places: HashMap::new(),
            random,
            writes: 0,
            bytes: 0,
            capacity,
        }
    }

    pub(super) fn all(&self) -> &[Referral] {
        &self.referrals
    }

    pub(super) fn get(&self, id: &str) -> Result<&Referral, Refusal> {
        self.places
            .get(id)
            .and_then(|place| self.referrals.get(*place))
            .ok_or_else(|| Refusal::not_found("no referral has this id"))
    }

    /// Stores a referral that a partner sent.
    pub(super) fn create(&mut self, sent: Members, now: SystemTime) -> Result<&Referral, Refusal> {
        let owned = [
            ("id", self.random.guid()),
            ("engagementId", self.random.guid()),
            (
                "organizationId",
                "aaaaaaaa-0001-4000-8000-00000000f001".to_owned(),
            ),
            ("organizationName", "Northwind Services".to_owned()),
            ("direction", "Outgoing".to_owned()),
        ];
        let owned = owned
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let members = resource::created(sent, owned)?;
        self.insert(members, now, now)
    }

    /// Stores a new referral as it is.
    pub(super) fn insert(
        &mut self,
        members: Members,
        created: SystemTime,
        updated: SystemTime,
    ) -> Result<&Referral, Refusal> {
        if self.referrals.len() >= self.capacity {
            return Err(Refusal::full());
        }
        let referral = self.written(members, created, updated, 0)?;
        let id = referral.text("/id").unwrap_or_default().to_owned();
        self.places.insert(id.clone(), self.referrals.len());
        self.referrals.push(referral);
        self.get(&id)
    }

    /// Replaces the members of a referral by those of a body.
    pub(super) fn replace(
        &mut self,
        id: &str,
        condition: &Condition,
        sent: Members,
        now: SystemTime,
    ) -> Result<&Referral, Refusal> {
        self.change(id, condition, now, |stored| {
            Ok(resource::replaced(stored, sent))
        })
    }

    /// Changes members of a referral.
    pub(super) fn patch(
        &mut self,
        id: &str,
        condition: &Condition,
        patch: &Patch,
        now: SystemTime,
    ) -> Result<&Referral, Refusal> {
        self.change(id, condition, now, |stored| {
            Ok(resource::patched(stored, patch.apply(stored)?))
        })
    }

    fn change(
        &mut self,
        id: &str,
        condition: &Condition,
        now: SystemTime,
        change: impl FnOnce(&Members) -> Result<Members, Refusal>,
    ) -> Result<&Referral, Refusal> {
        let stored = self.get(id)?;
        condition.holds(&stored.etag)?;
        let (created, bytes) = (stored.created, stored.bytes);
        let members = change(&stored.members)?;
        resource::check(&members)?;
        let next = self.written(members, created, now, bytes)?;
        let place = self.places.get(id).copied().unwrap_or_default();
        if let Some(stored) = self.referrals.get_mut(place) {
            *stored = next;
        }
        self.get(id)
    }

    /// A referral with the times and tag of a write, if there is room for it in place of `freed` bytes.
    fn written(
        &mut self,
        mut members: Members,
        created: SystemTime,
        updated: SystemTime,
        freed: usize,
    ) -> Result<Referral, Refusal> {
        let (created, updated) = (in_ticks(created), in_ticks(updated));
        members.insert("createdDateTime".to_owned(), json!(time_text(created)));
        members.insert("updatedDateTime".to_owned(), json!(time_text(updated)));
        let bytes = json!(members).to_string().len();
        let total = (self.bytes - freed).saturating_add(bytes);
        if bytes > MAX_BODY {
            return Err(Refusal::too_large());
        }
        if total > MAX_BYTES {
            return Err(Refusal::full());
        }
        let etag = etag(self.writes, updated);
        self.writes = self.writes.wrapping_add(1);
        self.bytes = total;
        Ok(Referral {
            members,
            bytes,
            etag,
            created,
            updated,
        })
    }
}

/// The shape of Cosmos DB: the last group begins with the second of the write.
fn etag(write: u32, updated: SystemTime) -> String {
    let count = FIRST_TAG.wrapping_add(write);
    let second = unix_seconds(updated) & 0xffff_ffff;
    format!("\"{count:08x}-0000-0100-0000-{second:08x}0000\"")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, header::IF_MATCH};

    use super::{Condition, etag};

    #[track_caller]
    fn check(lines: &[&'static str], required: bool, passes: bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, line.parse().expect("a header value"));
        }
        let condition = match required {
            true => Condition::required(&headers),
            false => Condition::optional(&headers),
        };
        assert_eq!(condition.holds("\"a\"").is_ok(), passes, "{condition:?}");
    }

    #[test]
    fn if_match_compares_character_by_character() {
        for (lines, passes) in [
            (&["\"a\""][..], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"b\""], false),
            (&["W/\"a\""], false),
            (&["a"], false),
            (&["\\\"a\\\""], false),
            (&[""], false),
        ] {
            check(lines, true, passes);
            check(lines, false, passes);
        }
        check(&[], true, false);
        check(&[], false, true);
    }

    #[test]
    fn an_entity_tag_holds_the_second_of_the_write() {
        let written = UNIX_EPOCH + Duration::new(0x65f0_1d42, 46_000_000);
        assert_eq!(etag(0, written), "\"0a00b1c2-0000-0100-0000-65f01d420000\"");
        assert_ne!(etag(0, written), etag(1, written));
    }
}
