//! `/tenants`: who uses most of its limits, and who waits.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Status;
use crate::rate_limit::{Holding, OfClass, Quota, Whose};

/// The most tenants that are shown.
const MOST: usize = 100;

impl Status {
    /// The tenants that use most of their limits.
    pub(super) fn tenants(&self) -> Value {
        let in_force = self.gateway.in_force();
        let now = Instant::now();
        let top = self.rate_limit.top(&in_force.terms, MOST, now);
        let shown = top.iter().map(|holding| {
            let Holding {
                whose,
                limits,
                usage,
            } = holding;
            let name = match whose {
                Whose::Key(key) => in_force.tenants.name_of(*key).to_string(),
                Whose::Overflow => "overflow".to_owned(),
            };
            json!({
                "tenant": name,
                "in_flight": usage.in_flight,
                "concurrency": limits.concurrency,
                "reads": class(&usage.reads, limits.reads),
                "writes": class(&usage.writes, limits.writes),
            })
        });
        json!({
            "tracked": self.rate_limit.tracked(),
            "max": self.in_force.load().max_tenants,
            "cooldowns": self.rate_limit.cooldowns(now),
            "tenants": shown.collect::<Vec<_>>(),
        })
    }
}

fn class(usage: &OfClass, quota: Quota) -> Value {
    json!({
        "spent": (usage.spent * 1000.0).round() / 1000.0,
        "per_minute": quota.per_minute,
        "burst": quota.burst,
        "cooldown_seconds": usage.cooldown.map(whole_seconds),
    })
}

/// Rounded up: what is left of less than a second is not over.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
