//! How much of their limits tenants use, for operators.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::{Limits, OVERFLOW, RateLimit, Terms};

/// How much of its limits a tenant uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// GET, HEAD, OPTIONS.
    pub reads: OfClass,
    /// Every other method.
    pub writes: OfClass,
    /// Requests in flight.
    pub in_flight: u32,
}

/// The same of one class of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfClass {
    /// The part of the burst that is spent, 0 to 1.
    pub spent: f64,
    /// How long the service has asked to wait from now on.
    pub cooldown: Option<Duration>,
}

/// Whose limits they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Those of the tenant, or of the credential that is not proven, with this key.
    Key(u128),
    /// Those that all tenants beyond `max_tenants` share.
    Overflow,
}

/// A tenant with its limits, and how much of them it uses.
#[derive(Debug, Clone, Copy)]
pub struct Holding {
    /// Whose they are.
    pub whose: Whose,
    /// The limits.
    pub limits: Limits,
    /// What is used.
    pub usage: Usage,
}

impl RateLimit {
    /// The tenants that use most of their limits, first those that the service asked to wait; so many at most.
    pub fn top(&self, terms: &Terms, most: usize, now: Instant) -> Vec<Holding> {
        let now = self.micros(now);
        let mut top = Vec::new();
        self.slots.each(|key, slot| {
            let key = key.into();
            let allowance = terms.of(key);
            let usage = slot.usage(allowance, now);
            let whose = match key {
                OVERFLOW if usage.rank() == Rank::default() => return,
                OVERFLOW => Whose::Overflow,
                key => Whose::Key(key),
            };
            top.push(Holding {
                whose,
                limits: allowance.limits,
                usage,
            });
            if top.len() > 2 * most {
                keep(&mut top, most);
            }
        });
        keep(&mut top, most);
        top
    }
}

fn keep(top: &mut Vec<Holding>, most: usize) {
    top.sort_unstable_by_key(|holding| Reverse((holding.usage.rank(), holding.whose)));
    top.truncate(most);
}

/// The order of tenants: whether it waits, the part of its limits that is spent in millionths, requests in flight.
type Rank = (bool, u32, u32);

impl Usage {
    fn rank(&self) -> Rank {
        let waits = self.reads.cooldown.is_some() || self.writes.cooldown.is_some();
        let spent = self.reads.spent.max(self.writes.spent);
        (waits, (spent * 1e6) as u32, self.in_flight)
    }
}
