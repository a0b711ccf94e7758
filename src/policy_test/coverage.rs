//! Coverage: which parts of a document the cases exercise.

use std::{fmt, sync::Arc};

use super::actual::Actual;
use crate::policy::{Check, Method, Mode, Policy, Rule, repair::Repair};

/// One thing that a case can cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A rule finds something, or nothing, in one of its modes.
    Rule {
        /// Its id.
        rule: Arc<str>,
        /// The mode.
        mode: Mode,
        /// The method of the request.
        method: Method,
        /// Whether it finds something.
        finds: bool,
    },
    /// A rule repairs a request.
    Repair {
        /// Its id.
        rule: Arc<str>,
        /// What it does.
        repair: Repair,
    },
    /// A cell of the table of states: a change from one status to another.
    Transition {
        /// The method of the request.
        method: Method,
        /// The status of the referral.
        from: String,
        /// The requested status.
        to: String,
    },
    /// A request with a status and a substatus.
    Pair {
        /// The method of the request.
        method: Method,
        /// The status.
        status: String,
        /// The substatus.
        substatus: String,
    },
    /// A request for another substatus in a status that does not allow it to change.
    Final {
        /// The method of the request.
        method: Method,
        /// The status.
        status: String,
        /// The substatus of the referral.
        from: String,
        /// The requested substatus.
        to: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                rule,
                mode,
                method,
                finds,
            } => {
                let what = if *finds { "something" } else { "nothing" };
                write!(f, "rule {rule} ({mode}) finds {what} in a {method}")
            }
            Self::Repair { rule, repair } => write!(f, "rule {rule} repairs by {repair}"),
            Self::Transition { method, from, to } => {
                write!(f, "transition from {from} to {to} by a {method}")
            }
            Self::Pair {
                method,
                status,
                substatus,
            } => write!(
                f,
                "status {status} with substatus {substatus} in a {method}"
            ),
            Self::Final {
                method,
                status,
                from,
                to,
            } => write!(f, "{status}: substatus from {from} to {to} by a {method}"),
        }
    }
}

/// The coverage of one document.
#[derive(Debug)]
pub struct Coverage {
    /// The document, as the test files name it.
    pub document: String,
    /// Each target, and whether a passed case covers it.
    pub targets: Vec<(Target, bool)>,
}

impl Coverage {
    /// A document that no case covers yet.
    pub(super) fn of(document: &str, policy: &Policy) -> Self {
        let mut targets = Vec::new();
        for rule in &policy.rules {
            add_rule(rule, policy, &mut targets);
        }
        let mut coverage = Self {
            document: document.to_owned(),
            targets: Vec::new(),
        };
        for target in targets {
            // Several tenants may share a mode, and several statuses a substatus.
            if coverage.targets.iter().all(|(other, _)| *other != target) {
                coverage.targets.push((target, false));
            }
        }
        coverage
    }

    /// Adds what a case covers.
    pub(super) fn note(&mut self, actual: &Actual) {
        for target in shown(actual) {
            if let Some((_, covered)) = self.targets.iter_mut().find(|(other, _)| *other == target)
            {
                *covered = true;
            }
        }
    }

    /// How many of the targets are covered.
    pub fn covered(&self) -> usize {
        self.targets.iter().filter(|(_, covered)| *covered).count()
    }

    /// The targets that no case covers.
    pub fn missing(&self) -> impl Iterator<Item = &Target> {
        let missing = self.targets.iter().filter(|(_, covered)| !covered);
        missing.map(|(target, _)| target)
    }

    /// The covered part in percent, rounded down, so that 100 means all.
    pub fn percent(&self) -> usize {
        match self.targets.len() {
            0 => 100,
            all => self.covered() * 100 / all,
        }
    }
}

/// The targets that a case covers.
fn shown(actual: &Actual) -> Vec<Target> {
    let Some(method) = actual.method else {
        return Vec::new();
    };
    let mut shown: Vec<_> = actual
        .repaired
        .iter()
        .map(|(rule, repair)| Target::Repair {
            rule: Arc::clone(rule),
            repair: *repair,
        })
        .collect();
    for look in &actual.looks {
        shown.push(Target::Rule {
            rule: Arc::clone(&look.rule),
            mode: look.mode,
            method,
            finds: look.finds,
        });
    }
    let looked = |check| actual.looks.iter().any(|look| look.check == check);
    if let (true, Some(to)) = (looked(Check::Substatus), &actual.to)
        && let Some(substatus) = &to.substatus
    {
        shown.push(Target::Pair {
            method,
            status: to.status.to_string(),
            substatus: substatus.to_string(),
        });
    }
    if let (true, Some(from), Some(to)) = (looked(Check::Transition), &actual.from, &actual.to) {
        shown.push(Target::Transition {
            method,
            from: from.status.to_string(),
            to: to.status.to_string(),
        });
        if let (true, Some(was), Some(is)) =
            (from.status == to.status, &from.substatus, &to.substatus)
        {
            shown.push(Target::Final {
                method,
                status: from.status.to_string(),
                from: was.to_string(),
                to: is.to_string(),
            });
        }
    }
    shown
}

fn add_rule(rule: &Rule, policy: &Policy, targets: &mut Vec<Target>) {
    let mut modes = vec![rule.mode];
    modes.extend(rule.modes.iter().map(|(_, mode)| *mode));
    modes.retain(|mode| *mode != Mode::Off);
    for method in rule.on.iter().copied() {
        for mode in modes.iter().copied() {
            targets.extend([false, true].map(|finds| Target::Rule {
                rule: Arc::clone(&rule.id),
                mode,
                method,
                finds,
            }));
        }
        let rows = &policy.states.rows;
        let substatuses = || rows.iter().flat_map(|row| &row.substatus).cloned();
        if modes.is_empty() {
            continue;
        }
        match rule.check {
            Check::Substatus => targets.extend(rows.iter().flat_map(|row| {
                substatuses().map(|substatus| Target::Pair {
                    method,
                    status: row.status.clone(),
                    substatus,
                })
            })),
            Check::Transition => {
                targets.extend(rows.iter().flat_map(|from| {
                    rows.iter().map(|to| Target::Transition {
                        method,
                        from: from.status.clone(),
                        to: to.status.clone(),
                    })
                }));
                let closed = rows.iter().filter(|row| !row.substatus_may_change);
                targets.extend(closed.flat_map(|row| {
                    let pairs = row
                        .substatus
                        .iter()
                        .flat_map(|from| row.substatus.iter().map(move |to| (from, to)));
                    pairs.map(|(from, to)| Target::Final {
                        method,
                        status: row.status.clone(),
                        from: from.clone(),
                        to: to.clone(),
                    })
                }));
            }
            // No other check judges by the cells of the table.
            _ => {}
        }
    }
    if modes.contains(&Mode::Repair) {
        targets.extend(rule.repairs.iter().map(|repair| Target::Repair {
            rule: Arc::clone(&rule.id),
            repair: *repair,
        }));
    }
}
