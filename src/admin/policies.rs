//! `/policies`: the policy in force.

use serde_json::{Map, Value, json};

use super::InForce;

impl InForce {
    /// The documents in force, with their rules.
    pub(super) fn policies(&self) -> Value {
        let rules = self.policy.rules.iter().map(|rule| {
            let methods: Vec<_> = rule.on.iter().map(|method| method.as_str()).collect();
            let modes = rule.modes.iter();
            let modes: Map<_, _> = modes
                .map(|(alias, mode)| (alias.clone(), mode.as_str().into()))
                .collect();
            json!({
                "id": &*rule.id,
                "check": rule.check,
                "methods": methods,
                "mode": rule.mode.as_str(),
                "modes": modes,
                "status": rule.status.map(|status| status.as_u16()),
            })
        });
        json!([{
            "name": self.policy.name,
            "digest": self.policy.digest,
            "rules": rules.collect::<Vec<_>>(),
            "document": &*self.policy.text,
        }])
    }
}
