//! `/snapshots/{id}`: what is remembered of one referral.

use http::{Response, StatusCode};
use serde_json::json;

use super::{
    Status,
    answer::{self, plain},
};
use crate::{body::Body, referral::ReferralId};

impl Status {
    /// The states of a referral that proven callers may be judged by.
    pub(super) fn snapshots(&self, id: &str) -> Response<Body> {
        let Some(id) = ReferralId::parse(id) else {
            return plain(
                StatusCode::BAD_REQUEST,
                "Write the id of a referral: 1 to 128 letters, digits, `-`, `.`, `_` and `~`.\n",
            );
        };
        let mut callers = Vec::new();
        let in_force = self.gateway.in_force();
        in_force
            .tenants
            .each_proven(|principal, tenant| callers.push((principal, tenant)));
        let remembered = self.snapshots.remembered(&callers, &id);
        let scopes = remembered.into_iter().map(|(scope, versions)| {
            let versions = versions.into_iter().map(|version| {
                json!({
                    "etag_hashes": version.tags.iter().map(|tag| hash(*tag)).collect::<Vec<_>>(),
                    "status": version.state.status,
                    "substatus": version.state.substatus,
                    "age_seconds": version.age.as_secs(),
                })
            });
            json!({ "scope": hash(scope), "versions": versions.collect::<Vec<_>>() })
        });
        let shown = json!({
            "referral": id.as_str(),
            "proven_callers": callers.len(),
            "scopes": scopes.collect::<Vec<_>>(),
        });
        answer::json(StatusCode::OK, &shown)
    }
}

/// The part of a keyed hash that logs show of tenants.
fn hash(key: u128) -> String {
    format!("{:016x}", (key >> 64) as u64)
}
