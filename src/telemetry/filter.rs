//! The log filter: a level, or levels by target.

use tracing_subscriber::EnvFilter;

use crate::nearest::nearest;

/// The filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}; {}", Self::REMEDY)]
pub struct BadFilter {
    /// What is wrong with it.
    pub why: String,
}

impl BadFilter {
    /// What to write instead.
    pub const REMEDY: &str = "write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off";
}

/// The names after `referral_gateway::` in a target: the two kinds of record, and every module.
pub(super) const TARGETS: &[&str] = &[
    "access",
    "admin",
    "app",
    "body",
    "cache",
    "capture",
    "cli",
    "config",
    "decision",
    "metrics",
    "nearest",
    "offline",
    "policy",
    "policy_test",
    "problem",
    "proxy",
    "rate_limit",
    "referral",
    "server",
    "simulator",
    "telemetry",
    "tenant",
    "upstream",
    "yaml",
];

/// Reads a filter: a level, or levels by target. All other targets are logged at `info`.
///
/// # Errors
///
/// When it cannot be used.
pub fn filter(text: &str) -> Result<EnvFilter, BadFilter> {
    // `EnvFilter` takes a lone unknown word for a target, and then nothing else is logged.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |part: &str| levels.iter().any(|level| part.eq_ignore_ascii_case(level));
    // `EnvFilter` takes a blank for a part of the name.
    let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut named = parts.iter();
    let unknown =
        named.find(|part| !part.contains(['=', ':', '[', ']', '{', '}']) && !is_level(part));
    if let Some(part) = unknown {
        return Err(BadFilter {
            why: format!("{part:?} is not a level"),
        });
    }
    for part in &parts {
        known_target(part)?;
    }
    // Without a level of its own, a filter would silence all targets that it does not name.
    if !parts.iter().any(|part| is_level(part)) {
        parts.push("info");
    }
    EnvFilter::try_new(parts.join(",")).map_err(|_| BadFilter {
        why: "not a filter".to_owned(),
    })
}

/// Refuses a mistyped target of this program: `EnvFilter` would ignore it.
fn known_target(part: &str) -> Result<(), BadFilter> {
    let Some(path) = part.strip_prefix("referral_gateway::") else {
        return Ok(());
    };
    let name = path
        .split(['=', ':', '['])
        .next()
        .unwrap_or_default()
        .trim();
    if TARGETS.contains(&name) {
        return Ok(());
    }
    let hint = match nearest(name, TARGETS.iter().copied()) {
        Some(target) => format!("did you mean referral_gateway::{target}?"),
        None => format!("known are {}", TARGETS.join(", ")),
    };
    Err(BadFilter {
        why: format!(
            "{:?} is no target ({hint})",
            format!("referral_gateway::{name}")
        ),
    })
}
