//! One step of a connection, and how it went.

use std::time::Duration;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// `dns`, `tcp`, `proxy`, `tls`, `alpn`, `http` or `clock`.
    pub name: &'static str,
    /// How it went.
    pub result: Outcome,
    /// What was seen, without a full stop.
    pub seen: String,
    /// What to do about it; none if it went well.
    pub remedy: Option<String>,
    /// How long it took, if it waited for somebody.
    pub took: Option<Duration>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Ok,
    /// Well enough to go on.
    Warning,
    /// Not at all.
    Failed,
}

impl Outcome {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Step {
    pub(super) fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self {
            name,
            result: Outcome::Ok,
            seen: seen.into(),
            remedy: None,
            took: None,
        }
    }

    pub(super) fn warning(
        name: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            result: Outcome::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, seen)
        }
    }

    pub(super) fn failed(
        name: &'static str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            result: Outcome::Failed,
            ..Self::warning(name, seen, remedy)
        }
    }

    pub(super) fn taking(self, took: Duration) -> Self {
        Self {
            took: Some(took),
            ..self
        }
    }
}
