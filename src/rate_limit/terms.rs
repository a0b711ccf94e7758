//! How much each tenant may ask for, by the settings in force.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::quota::{Quota, Rate};
use crate::tenant::PrehashedKey;

/// How much one tenant may ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of a tenant without an override.
    pub default: Limits,
    /// Limits by tenant, in the order of `tenant::Settings::known`.
    pub known: Vec<Limits>,
    /// The maximum number of tenants tracked; further ones share one bucket.
    pub max_tenants: NonZeroUsize,
    /// How long a tenant waits after the upstream asked for it.
    pub cooldown: Cooldown,
}

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// GET, HEAD, OPTIONS.
    pub reads: Quota,
    /// Every other method.
    pub writes: Quota,
    /// Requests in flight at once.
    pub concurrency: NonZeroU32,
}

/// How long a tenant waits after the upstream asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Cooldown {
    /// If the upstream named no time.
    pub default: Duration,
    /// The maximum, whatever the upstream asks for.
    pub max: Duration,
}

/// Whether a request reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// GET, HEAD, OPTIONS.
    Reads,
    /// Every other method.
    Writes,
}

impl Class {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::Reads, Self::Writes];

    /// The name in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        }
    }
}

impl Limits {
    pub(super) fn of(&self, class: Class) -> Quota {
        match class {
            Class::Reads => self.reads,
            Class::Writes => self.writes,
        }
    }
}

/// How many times the default limits of one tenant all unproven credentials share.
pub(super) const UNPROVEN_SHARE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// What each tenant may ask for, by the settings in force.
#[derive(Debug)]
pub struct Terms {
    default: Allowance,
    known: HashMap<u128, Allowance, PrehashedKey>,
    unproven: Allowance,
    max_tenants: usize,
    cooldown: Cooldown,
}

/// The limits of one tenant, ready to draw by.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) limits: Limits,
    reads: Rate,
    writes: Rate,
}

impl Allowance {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            reads: Rate::new(limits.reads),
            writes: Rate::new(limits.writes),
        }
    }

    pub(super) fn rate(&self, class: Class) -> &Rate {
        match class {
            Class::Reads => &self.reads,
            Class::Writes => &self.writes,
        }
    }
}

impl Terms {
    /// The terms of these settings; `keys` are those of the known tenants, in the order of [`Settings::known`].
    pub fn new(settings: &Settings, keys: impl IntoIterator<Item = u128>) -> Self {
        let share = |quota: Quota| Quota {
            per_minute: quota.per_minute.saturating_mul(UNPROVEN_SHARE),
            burst: quota.burst.saturating_mul(UNPROVEN_SHARE),
        };
        let default = settings.default;
        let known = settings.known.iter().copied().map(Allowance::new);
        Self {
            default: Allowance::new(default),
            known: keys.into_iter().zip(known).collect(),
            unproven: Allowance::new(Limits {
                reads: share(default.reads),
                writes: share(default.writes),
                ..default
            }),
            max_tenants: settings.max_tenants.get(),
            cooldown: settings.cooldown,
        }
    }

    /// The maximum number of tenants and unproven credentials tracked.
    pub fn max_tenants(&self) -> usize {
        self.max_tenants
    }

    /// The allowance of the tenant with this key, or the default one: also for an unproven credential, whose key is no
    /// tenant's.
    pub(super) fn of(&self, key: u128) -> &Allowance {
        self.known.get(&key).unwrap_or(&self.default)
    }

    pub(super) fn unproven(&self) -> &Allowance {
        &self.unproven
    }

    pub(super) fn cooldown(&self) -> Cooldown {
        self.cooldown
    }
}
