//! Arrows point one way: a module names the modules listed for it, and no others.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Left may name right. The table of the house plan, and `yaml`, which names nothing.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("body", &[]),
    ("capture", &[]),
    ("metrics", &[]),
    ("referral", &[]),
    ("telemetry", &[]),
    ("tenant", &[]),
    ("yaml", &[]),
    ("policy", &["referral", "yaml"]),
    ("cache", &["metrics", "referral", "tenant"]),
    ("rate_limit", &["metrics", "tenant"]),
    ("upstream", &["body", "metrics"]),
    ("server", &["body", "metrics"]),
    ("simulator", &["body", "server"]),
    (
        "problem",
        &["body", "policy", "rate_limit", "tenant", "upstream"],
    ),
    (
        "proxy",
        &[
            "body",
            "cache",
            "metrics",
            "policy",
            "problem",
            "rate_limit",
            "referral",
            "tenant",
            "upstream",
        ],
    ),
    (
        "admin",
        &[
            "body",
            "cache",
            "metrics",
            "policy",
            "rate_limit",
            "server",
            "telemetry",
            "upstream",
        ],
    ),
    (
        "config",
        &[
            "admin",
            "cache",
            "policy",
            "proxy",
            "rate_limit",
            "server",
            "simulator",
            "telemetry",
            "tenant",
            "upstream",
            "yaml",
        ],
    ),
    (
        "offline",
        &[
            "capture", "config", "policy", "problem", "proxy", "referral", "tenant", "upstream",
        ],
    ),
    (
        "policy_test",
        &["capture", "config", "offline", "policy", "referral", "yaml"],
    ),
    (
        "app",
        &[
            "admin",
            "body",
            "cache",
            "config",
            "metrics",
            "policy",
            "problem",
            "proxy",
            "rate_limit",
            "referral",
            "server",
            "telemetry",
            "tenant",
            "upstream",
            "yaml",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "capture",
            "config",
            "offline",
            "policy",
            "policy_test",
            "referral",
            "simulator",
            "yaml",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The code of a file without comments and without its tests.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The names after `crate::`, also inside braces: `use crate::{a, b::{c, d}, e}` names a, b and e.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = BTreeSet::new();
    for (at, start) in code
        .match_indices("crate::")
        .chain(code.match_indices("referral_gateway::"))
    {
        // `some_crate::` is another word.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + start.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut is_start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                c if is_start && (c.is_alphabetic() || c == '_') => {
                    names.insert(word(&list[at..]));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    names.remove("");
    names
}

/// `src/policy/if_match.rs` belongs to `policy`.
fn module(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap();
    let first = path
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn a_module_names_only_what_it_may() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let modules: BTreeSet<String> = files.iter().map(|path| module(path)).collect();

    let mut wrong = Vec::new();
    for path in &files {
        let from = module(path);
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == from) else {
            wrong.push(format!("{from} is not in the table"));
            continue;
        };
        for to in named(&code(&fs::read_to_string(path).unwrap())) {
            // What is no module is an item that lib.rs shows, which would be an arrow too.
            if to != from
                && !allowed.contains(&to.as_str())
                && (modules.contains(&to) || to == "lib")
            {
                wrong.push(format!(
                    "{} names {to}",
                    path.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_has_no_ring() {
    let to = |from: &str| {
        ALLOWED
            .iter()
            .find(|(name, _)| *name == from)
            .map_or(&[][..], |(_, to)| *to)
    };
    for (start, _) in ALLOWED {
        let mut reached: Vec<&str> = to(start).to_vec();
        let mut next = 0;
        while let Some(name) = reached.get(next).copied() {
            assert_ne!(name, start, "{start} reaches itself");
            for further in to(name) {
                if !reached.contains(further) {
                    reached.push(further);
                }
            }
            next += 1;
        }
    }
}

#[test]
fn names_are_found_in_every_form_of_use() {
    let text = "use crate::alpha::X; // crate::no\nuse crate::{beta::{A, B}, gamma, delta::C};\nfn f() { crate::epsilon::g(); $crate::x; mycrate::zeta(); }";
    let found: Vec<_> = named(&code(text)).into_iter().collect();
    assert_eq!(found, ["alpha", "beta", "delta", "epsilon", "gamma", "x"]);
}
