//! Admit or not.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// How much one tenant may ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of a tenant without an override.
    pub default: Limits,
    /// Limits by tenant, in the order of `tenant::Settings::known`.
    pub known: Vec<Limits>,
    /// Tenants remembered at once; further ones share one bucket.
    pub max_tenants: NonZeroUsize,
    /// How long a tenant is held back after the upstream asked for it.
    pub cooldown: Cooldown,
}

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// GET, HEAD, OPTIONS.
    pub reads: Quota,
    /// Every other method.
    pub writes: Quota,
    /// Requests under way at once.
    pub concurrency: NonZeroU32,
}

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The steady rate, in requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// How long a tenant is held back after the upstream asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Cooldown {
    /// When the upstream said no time.
    pub default: Duration,
    /// The longest time the upstream is believed.
    pub max: Duration,
}
