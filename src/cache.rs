//! What is known of each referral: its status at an entity tag, per caller.

use std::time::Duration;

/// Bounds of what is remembered, and for whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Referrals remembered at most.
    pub max_entries: u64,
    /// A snapshot older than this is forgotten.
    pub max_age: Duration,
    /// Who shares a snapshot.
    pub scope: Scope,
}

/// Who shares a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One user of one application of one tenant (claims `tid`, `oid`, `appid` or `azp`).
    Principal,
    /// All callers of one tenant.
    Tenant,
}
