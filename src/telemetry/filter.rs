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
const TARGETS: &[&str] = &[
    "access",
    "admin",
    "app",
    "body",
    "cache",
    "capture",
    "certificate",
    "cli",
    "config",
    "decision",
    "identity",
    "metrics",
    "nearest",
    "offline",
    "pace",
    "plain",
    "policy",
    "policy_test",
    "problem",
    "proxy",
    "rate_limit",
    "rebase",
    "referral",
    "server",
    "simulator",
    "table",
    "target",
    "telemetry",
    "tenant",
    "trace",
    "upstream",
    "version",
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
        if let Some((_, level)) = part.rsplit_once('=')
            && !level.contains(['[', ']', '{', '}'])
            && !is_level(level.trim())
        {
            return Err(BadFilter {
                why: format!("{level:?} is not a level"),
            });
        }
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{TARGETS, filter};

    #[test]
    fn a_filter_says_nothing_about_the_rest_only_if_it_says_so() {
        for (text, told) in [
            ("warn", "warn"),
            ("off", "off"),
            (
                "referral_gateway::access=off",
                "referral_gateway::access=off,info",
            ),
            (
                "warn,referral_gateway::access=off",
                "referral_gateway::access=off,warn",
            ),
            (
                "referral_gateway::proxy::judge=debug",
                "referral_gateway::proxy::judge=debug,info",
            ),
            ("hyper=debug, ERROR", "hyper=debug,error"),
            ("referral_gateway=debug", "referral_gateway=debug,info"),
        ] {
            let filter = filter(text).map(|filter| filter.to_string());
            assert_eq!(filter.expect(text), told);
        }
    }

    #[test]
    fn a_misspelt_target_of_ours_is_refused() {
        for (text, hint) in [
            (
                "referral_gateway::acces=off",
                "did you mean referral_gateway::access?",
            ),
            (
                "warn,referral_gateway::prxy::judge=off",
                "did you mean referral_gateway::proxy?",
            ),
            ("referral_gateway::=off", "known are access, admin"),
            (
                "info,referral_gateway::everything",
                "known are access, admin",
            ),
        ] {
            let error = filter(text).expect_err(text);
            assert!(error.why.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn every_module_is_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = fs::read_dir(folder).expect("the sources");
        let mut names: BTreeSet<String> = files
            .filter_map(|file| {
                let name = file.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(".rs").map(str::to_owned)
            })
            .filter(|name| !matches!(name.as_str(), "lib" | "main"))
            .collect();
        names.extend(["access".to_owned(), "decision".to_owned()]);
        assert!(names.iter().eq(TARGETS), "{names:?}");
    }
}
