//! Arrows point one way: a module names the modules listed for it, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Left may name right: the table of the documentation.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("\n### Arrows\n").unwrap();
    let mut table = BTreeMap::new();
    for line in section.lines().skip_while(|line| !line.starts_with("    ")) {
        let Some((left, right)) = line.split_once(" -> ") else {
            break;
        };
        let right = right.replace("nothing of ours", "");
        let right: BTreeSet<String> = right.split_whitespace().map(str::to_owned).collect();
        for from in left.split_whitespace() {
            let twice = table.insert(from.to_owned(), right.clone());
            assert!(twice.is_none(), "{from} stands twice on the left");
        }
    }
    assert!(table.len() > 10, "{table:?}");
    table
}

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

/// Which module names which, and in which file.
fn arrows() -> Vec<(String, String, String)> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let modules: BTreeSet<String> = files.iter().map(|path| module(path)).collect();
    let mut arrows = Vec::new();
    for path in &files {
        let from = module(path);
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        for to in named(&code(&fs::read_to_string(path).unwrap())) {
            // What is no module is an item that lib.rs shows, which would be an arrow too.
            if to != from && (modules.contains(&to) || to == "lib") {
                arrows.push((from.clone(), to, file.clone()));
            }
        }
    }
    arrows
}

#[test]
fn a_module_names_only_what_it_may() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let modules: BTreeSet<String> = files.iter().map(|path| module(path)).collect();
    let allowed = allowed();
    assert_eq!(allowed.keys().cloned().collect::<BTreeSet<_>>(), modules);

    let wrong: Vec<_> = arrows()
        .into_iter()
        .filter(|(from, to, _)| !allowed[from].contains(to))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_arrow_of_the_table_is_used() {
    let used: BTreeSet<(String, String)> = arrows()
        .into_iter()
        // What only tests name is no reason for an arrow.
        .filter(|(_, _, file)| !file.contains("tests"))
        .map(|(from, to, _)| (from, to))
        .collect();
    for (from, to) in allowed() {
        for to in to {
            let arrow = (from.clone(), to);
            assert!(used.contains(&arrow), "nobody needs {arrow:?}");
        }
    }
}

#[test]
fn the_table_has_no_ring() {
    let allowed = allowed();
    for (start, to) in &allowed {
        let mut reached: Vec<&String> = to.iter().collect();
        let mut next = 0;
        while let Some(name) = reached.get(next).copied() {
            assert_ne!(name, start, "{start} reaches itself");
            for further in &allowed[name] {
                if !reached.contains(&further) {
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
