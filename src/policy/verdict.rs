//! What rules found, and what is to be done.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use http::StatusCode;

use super::{Check, Mode, Rule, repair::Repair};

/// One thing that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: Arc<str>,
    /// What the rule looks for.
    pub check: Check,
    /// What the finding leads to.
    pub mode: Mode,
    /// The status of a refusal for it.
    pub status: StatusCode,
    /// The stable name of what was found.
    pub code: &'static str,
    /// The header or member it is about.
    pub target: &'static str,
    /// What was seen and what was expected.
    pub message: String,
    /// How to mend it.
    pub fix: Cow<'static, str>,
}

/// All findings of one request, in order of precedence.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    repairs: Vec<(Arc<str>, Repair)>,
}

/// The longest piece of a request that an answer repeats, in characters.
const MAX_QUOTE: usize = 64;

impl Verdict {
    /// All findings, the one that chooses the status first among the enforced ones.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The repairs that were made before this was found, each with the rule that asked for it.
    pub fn repairs(&self) -> &[(Arc<str>, Repair)] {
        &self.repairs
    }

    /// The request was repaired before it was judged.
    pub(super) fn after(self, repairs: Vec<(Arc<str>, Repair)>) -> Self {
        Self { repairs, ..self }
    }

    /// All findings, owned.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Whether a finding refuses the request.
    pub fn refuses(&self) -> bool {
        self.leading().is_some()
    }

    /// Whether an enforced finding is about this header or member.
    pub(super) fn refuses_for(&self, target: &str) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.mode.refuses() && finding.target == target)
    }

    /// The enforced finding that chooses status and code of a refusal.
    pub fn leading(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.mode.refuses())
    }

    /// Whether a rule in mode `repair` has found something.
    pub(super) fn asks_for_repair(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.mode == Mode::Repair)
    }

    /// The findings that the answer carries as a `Warning`.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.mode == Mode::Warn)
    }

    /// What `rule` found, if anything.
    pub(super) fn of(&self, rule: &Rule) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule == rule.id)
    }

    /// Adds a finding at its place in the order of precedence.
    pub(super) fn add(&mut self, rule: &Rule, found: Found) {
        let finding = Finding {
            rule: Arc::clone(&rule.id),
            check: rule.check,
            mode: rule.mode,
            status: rule.status.unwrap_or(found.status),
            code: found.code,
            target: found.target,
            message: found.message,
            fix: found.fix,
        };
        let at = self
            .findings
            .partition_point(|other| other.check <= finding.check);
        self.findings.insert(at, finding);
    }
}

/// A finding as a check tells it: everything but the rule.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) target: &'static str,
    pub(super) message: String,
    pub(super) fix: Cow<'static, str>,
}

/// A piece of the request as an answer may repeat it: visible ASCII, short.
pub(super) fn quote(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut quoted = String::new();
    for letter in text.chars().take(MAX_QUOTE) {
        if letter == ' ' || letter.is_ascii_graphic() {
            quoted.push(letter);
        } else {
            let _ = write!(quoted, "{}", letter.escape_unicode());
        }
    }
    if text.chars().nth(MAX_QUOTE).is_some() {
        quoted.push_str("...");
    }
    quoted
}
