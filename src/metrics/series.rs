//! Series named by the settings and the policy in force. They end when those are replaced.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    IntCounter, IntCounterVec, IntGaugeVec,
    core::{Collector as _, MetricVec, MetricVecBuilder},
};

use super::{
    OTHER_TENANT,
    label::{TenantOutcome, TransitionVerdict},
    table::Table,
};
use crate::policy::judging::Decision;

/// The metrics with labels that the settings or the policy name.
#[derive(Debug)]
pub(super) struct Series {
    policy_info: IntGaugeVec,
    decisions: IntCounterVec,
    transitions: IntCounterVec,
    repairs: IntCounterVec,
    tenant_requests: IntCounterVec,
    /// Those of all tenants without an alias; they never end.
    other_tenants: Vec<IntCounter>,
    /// Locked while series begin and end together, and while all are read.
    in_force: Mutex<InForce>,
}

/// What has series at present.
#[derive(Debug, Default)]
pub(super) struct InForce {
    /// Digest and name.
    policy: (String, String),
    /// Each rule with each of its modes.
    rules: HashSet<(String, &'static str)>,
    statuses: HashSet<String>,
    tenants: HashSet<String>,
}

impl Series {
    pub(super) fn new(table: &Table) -> Self {
        let tenant_requests = table.open_counters(
            "tenant_requests_total",
            "Requests by tenant.",
            &["tenant", "outcome"],
        );
        Self {
            other_tenants: TenantOutcome::ALL
                .iter()
                .map(|outcome| tenant_requests.with_label_values(&[OTHER_TENANT, outcome.as_str()]))
                .collect(),
            tenant_requests,
            policy_info: table.open_gauges(
                "policy_info",
                "The policy in force.",
                &["digest", "name"],
            ),
            decisions: table.open_counters(
                "policy_decisions_total",
                "Evaluations of policy rules on writes, by rule, mode and verdict.",
                &["rule", "mode", "verdict"],
            ),
            transitions: table.open_counters(
                "policy_transitions_total",
                "Judged status transitions.",
                &["from", "to", "verdict"],
            ),
            repairs: table.open_counters(
                "policy_repairs_total",
                "Repairs of requests that passed.",
                &["repair"],
            ),
            in_force: Mutex::default(),
        }
    }

    pub(super) fn set_tenants<'a>(&self, aliases: impl Iterator<Item = &'a str>) {
        let mut in_force = self.lock();
        in_force.tenants = aliases.map(str::to_owned).collect();
        for alias in &in_force.tenants {
            for outcome in TenantOutcome::ALL {
                self.tenant_requests
                    .with_label_values(&[alias, outcome.as_str()]);
            }
        }
        self.end_others(&in_force);
    }

    pub(super) fn set_policy<'a>(
        &self,
        digest: &str,
        name: &str,
        rules: impl Iterator<Item = (&'a str, &'static str)>,
        statuses: &[&str],
    ) {
        let mut in_force = self.lock();
        in_force.policy = (digest.to_owned(), name.to_owned());
        in_force.rules = rules.map(|(rule, mode)| (rule.to_owned(), mode)).collect();
        in_force.statuses = statuses.iter().map(|&status| status.to_owned()).collect();
        self.policy_info.with_label_values(&[digest, name]).set(1);
        for (rule, mode) in &in_force.rules {
            for verdict in Decision::ALL {
                self.decisions
                    .with_label_values(&[rule, *mode, verdict.as_str()]);
            }
        }
        for from in statuses {
            for to in statuses {
                for verdict in TransitionVerdict::ALL {
                    self.transitions
                        .with_label_values(&[*from, *to, verdict.as_str()]);
                }
            }
        }
        self.end_others(&in_force);
    }

    pub(super) fn decisions(&self, rule: &str, mode: &'static str) -> Decisions {
        Decisions(Decision::ALL.map(|verdict| {
            self.decisions
                .with_label_values(&[rule, mode, verdict.as_str()])
        }))
    }

    pub(super) fn transition(&self, from: &str, to: &str, verdict: TransitionVerdict) {
        self.transitions
            .with_label_values(&[from, to, verdict.as_str()])
            .inc();
    }

    pub(super) fn begin_repair(&self, repair: &'static str) {
        self.repairs.with_label_values(&[repair]);
    }

    pub(super) fn repaired(&self, repair: &'static str) {
        self.repairs.with_label_values(&[repair]).inc();
    }

    pub(super) fn tenant_request(&self, alias: Option<&str>, outcome: TenantOutcome) {
        let Some(alias) = alias else {
            if let Some(series) = self.other_tenants.get(outcome as usize) {
                series.inc();
            }
            return;
        };
        self.tenant_requests
            .with_label_values(&[alias, outcome.as_str()])
            .inc();
    }

    /// Ends the series that are no longer in force: a request that began under an earlier policy may have brought one
    /// back. Settings and policy cannot change while the caller holds the guard.
    pub(super) fn settle(&self) -> MutexGuard<'_, InForce> {
        let in_force = self.lock();
        self.end_others(&in_force);
        in_force
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_others(&self, in_force: &InForce) {
        retain(&self.policy_info, ["digest", "name"], |labels| {
            labels == [&in_force.policy.0, &in_force.policy.1]
        });
        retain(
            &self.decisions,
            ["rule", "mode", "verdict"],
            |[rule, mode, _]| {
                let mut rules = in_force.rules.iter();
                rules.any(|(id, known)| id == rule && *known == mode)
            },
        );
        retain(
            &self.transitions,
            ["from", "to", "verdict"],
            |[from, to, _]| in_force.statuses.contains(from) && in_force.statuses.contains(to),
        );
        retain(
            &self.tenant_requests,
            ["tenant", "outcome"],
            |[alias, _]| alias == OTHER_TENANT || in_force.tenants.contains(alias),
        );
    }
}

/// The series of one rule in one mode, by what it makes of a write.
#[derive(Debug)]
pub struct Decisions([IntCounter; Decision::ALL.len()]);

impl Decisions {
    /// The rule was applied to a write.
    pub fn inc(&self, decision: Decision) {
        if let Some(series) = self.0.get(decision as usize) {
            series.inc();
        }
    }
}

/// Removes the series that `keep` rejects.
fn retain<B: MetricVecBuilder, const N: usize>(
    all: &MetricVec<B>,
    names: [&str; N],
    keep: impl Fn([&str; N]) -> bool,
) {
    for family in all.collect() {
        for series in family.get_metric() {
            let labels = names.map(|name| {
                let mut labels = series.get_label().iter();
                let label = labels.find(|label| label.name() == name);
                label.map_or("", |label| label.value())
            });
            if !keep(labels) {
                let _ = all.remove_label_values(&labels);
            }
        }
    }
}
