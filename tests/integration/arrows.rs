//! What `docs/architecture.md` says of the house: which module names which, where no I/O is, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::page::{only, root, rows, sources, text};

mod lexer;
mod source;

use source::{Named, Source};

/// Crates, modules and words that do I/O, read a clock or wait.
const IMPURE: [&[&str]; 11] = [
    &["tokio"],
    &["tokio_util"],
    &["hyper"],
    &["hyper_util"],
    &["hyper_rustls"],
    &["std", "time"],
    &["core", "time"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
];

/// A longer file is two things, or says why it is one.
const MAX_LINES: usize = 400;

/// The sources of a program.
struct House {
    files: Vec<Source>,
}

impl House {
    fn ours() -> Self {
        let src = root().join("src");
        let mut paths = BTreeSet::new();
        sources(&src, &mut paths);
        let read = |path: &std::path::PathBuf| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
            Source::of(name, &text(path))
        };
        Self {
            files: paths.iter().map(read).collect(),
        }
    }

    fn of(files: &[(&str, &str)]) -> Self {
        let read = |(name, text): &(&str, &str)| Source::of(name, text);
        Self {
            files: files.iter().map(read).collect(),
        }
    }

    fn modules(&self) -> BTreeSet<String> {
        self.files.iter().map(top).collect()
    }

    /// The files of a module.
    fn of_module(&self, module: &str) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(move |file| top(file) == module)
    }

    /// Which module names which, in which file, and whether only tests do.
    fn arrows(&self) -> Vec<(String, String, String, bool)> {
        let modules = self.modules();
        let mut arrows = Vec::new();
        for file in &self.files {
            for (named, is_test) in file.names() {
                let Named::Ours(path) = named else { continue };
                let to = path.first().map_or("lib", String::as_str);
                // What is no module is an item that lib.rs shows, which would be an arrow too.
                let to = if modules.contains(to) { to } else { "lib" };
                if to != top(file) {
                    arrows.push((top(file), to.to_owned(), file.file.clone(), is_test));
                }
            }
        }
        arrows
    }

    /// The arrows that a table does not allow.
    fn forbidden_arrows(&self, allowed: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        self.arrows()
            .into_iter()
            .filter(|(from, to, ..)| !allowed[from].contains(to))
            .map(|(_, to, file, _)| format!("{file} -> {to}"))
            .collect()
    }

    /// The file that a path leads to, through what other files bring in under another name.
    fn file_of(&self, path: &[String]) -> Option<&Source> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let is_in = |file: &&Source| path.starts_with(&file.module);
            let file = self
                .files
                .iter()
                .filter(is_in)
                .max_by_key(|file| file.module.len())?;
            let rest = &path[file.module.len()..];
            match rest.first().and_then(|name| file.alias(name)) {
                Some(Named::Ours(next)) if next != path => path = [&next[..], &rest[1..]].concat(),
                _ => return Some(file),
            }
        }
        None
    }

    /// Files that name each other in a ring. A file may name what the file of the module around it has.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.is_test) {
            for (named, is_test) in file.names() {
                if let (Named::Ours(path), false) = (named, is_test)
                    && let Some(to) = self.file_of(&path)
                    && !file.module.starts_with(&to.module)
                {
                    names.entry(&file.file).or_default().insert(&to.file);
                }
            }
        }
        let reached = |from: &str| {
            let mut all = BTreeSet::new();
            let mut next: Vec<&str> = names.get(from).into_iter().flatten().copied().collect();
            while let Some(file) = next.pop() {
                if all.insert(file) {
                    next.extend(names.get(file).into_iter().flatten());
                }
            }
            all
        };
        let all: BTreeMap<&str, BTreeSet<&str>> =
            names.keys().map(|file| (*file, reached(file))).collect();
        let in_ring = all.iter().filter(|(file, reached)| reached.contains(*file));
        in_ring
            .map(|(file, reached)| {
                let back = reached
                    .iter()
                    .filter(|to| all.get(*to).is_some_and(|to| to.contains(file)));
                back.map(|to| (*to).to_owned()).collect()
            })
            .collect()
    }

    /// Where a module does I/O, reads a clock or waits.
    fn impure(&self, module: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for file in self.of_module(module) {
            for word in ["async", "await"] {
                if file.says(word) {
                    found.insert(format!("{}: {word}", file.file));
                }
            }
            for (named, is_test) in file.names() {
                if let (Named::Foreign(path), false) = (named, is_test)
                    && IMPURE.iter().any(|impure| {
                        path.iter()
                            .zip(*impure)
                            .all(|(one, other)| one == other || one == "*")
                    })
                {
                    found.insert(format!("{}: {}", file.file, path.join("::")));
                }
            }
        }
        found
    }

    /// Paths that climb more than one module.
    fn climbs(&self) -> Vec<String> {
        let climb = |file: &Source| {
            let name = file.file.clone();
            file.climbs()
                .map(move |path| format!("{name}: {path}"))
                .collect::<Vec<_>>()
        };
        self.files.iter().flat_map(climb).collect()
    }

    fn long_files(&self) -> BTreeSet<String> {
        let long = |file: &&Source| !file.is_test && file.lines > MAX_LINES;
        self.files
            .iter()
            .filter(long)
            .map(|file| file.file.clone())
            .collect()
    }
}

/// `policy/if_match.rs` belongs to `policy`.
fn top(file: &Source) -> String {
    file.module.first().map_or("lib", String::as_str).to_owned()
}

/// Left may name right: the table of the documentation.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = text("docs/architecture.md");
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

/// Every module that can be reached from some, those included.
fn below(from: &[&str], allowed: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut next: Vec<String> = from.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = next.pop() {
        if all.insert(name.clone()) {
            next.extend(allowed[&name].iter().cloned());
        }
    }
    all
}

#[test]
fn a_module_names_only_what_it_may() {
    let house = House::ours();
    let allowed = allowed();
    assert_eq!(
        allowed.keys().cloned().collect::<BTreeSet<_>>(),
        house.modules()
    );
    let wrong = house.forbidden_arrows(&allowed);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_arrow_of_the_table_is_used() {
    // What only tests name is no reason for an arrow.
    let used: BTreeSet<(String, String)> = House::ours()
        .arrows()
        .into_iter()
        .filter(|(.., is_test)| !is_test)
        .map(|(from, to, ..)| (from, to))
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
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        assert!(
            !below(&to, &allowed).contains(start),
            "{start} reaches itself"
        );
    }
}

#[test]
fn no_files_of_a_module_name_each_other_in_a_ring() {
    let circles = House::ours().circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_rules_and_all_below_them_do_no_io_read_no_clock_and_never_wait() {
    let house = House::ours();
    let below = below(&["policy", "referral"], &allowed());
    let impure: Vec<_> = below
        .iter()
        .flat_map(|module| house.impure(module))
        .collect();
    assert!(impure.is_empty(), "{impure:#?}");
}

#[test]
fn the_simulator_shares_nothing_with_the_gateway() {
    assert!(allowed()["simulator"].is_empty());
    let arrows = House::ours().arrows();
    let shared: Vec<_> = arrows
        .iter()
        .filter(|(from, ..)| from == "simulator")
        .collect();
    assert!(shared.is_empty(), "{shared:#?}");
}

#[test]
fn no_path_climbs_more_than_one_module() {
    let climbs = House::ours().climbs();
    assert!(climbs.is_empty(), "{climbs:#?}");
}

#[test]
fn a_long_file_has_a_reason() {
    let page = text("docs/architecture.md");
    let (_, section) = page.split_once("\n### Long files\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut listed = BTreeSet::new();
    for row in rows(section) {
        assert!(!row[1].is_empty(), "{row:?}");
        listed.insert(only(row[0]).to_owned());
    }
    assert_eq!(listed, House::ours().long_files());
}

#[test]
fn paths_are_found_in_every_form() {
    let text = r##"
        //! crate::no
        use crate::alpha::X; // crate::no
        use crate::{beta::{A, B as C, self}, gamma, delta::*};
        use super::epsilon as other;
        /* crate::no /* crate::no */ */
        fn f<'a>(policy: &'a str) -> crate::zeta::Y<'a> {
            let _ = ("crate::no", r#"crate::no"#, b"crate::no", '"', policy.no::<u8>());
            log!(crate::eta::Z, "crate::no");
            other::g(); C::new(); ::std::fs::read(""); some_crate::no(); inner::h();
            <crate::theta::T as crate::iota::U>::no();
            ..crate::kappa::V
        }
        #[cfg(test)]
        mod tests { use super::lambda::W; }
        mod inner;
    "##;
    let source = Source::of("a/b.rs", text);
    let mut ours = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    for (named, is_test) in source.names() {
        match named {
            Named::Ours(path) => drop(ours.insert(path.join("::"), is_test)),
            Named::Foreign(path) => drop(foreign.insert(path.join("::"))),
        }
    }
    let product: Vec<_> = ours.iter().filter(|(_, is_test)| !**is_test).collect();
    let product: Vec<_> = product.into_iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        product,
        [
            "a::b::inner::h",
            "a::epsilon",
            "a::epsilon::g",
            "alpha::X",
            "beta",
            "beta::A",
            "beta::B",
            "beta::B::new",
            "delta::*",
            "eta::Z",
            "gamma",
            "iota::U",
            "kappa::V",
            "theta::T",
            "zeta::Y",
        ]
    );
    assert_eq!(ours.get("a::b::lambda::W"), Some(&true));
    assert_eq!(
        foreign,
        ["some_crate::no", "std::fs::read"]
            .map(str::to_owned)
            .into()
    );
}

/// Each fault is put into a house that has none, and found.
#[test]
fn each_fault_is_found() {
    let sound = [
        (
            "lib.rs",
            "pub mod policy; pub mod proxy; pub mod simulator;",
        ),
        (
            "policy.rs",
            "mod rule; mod check; pub use rule::Rule; pub use check::Check; /// tokio::time::sleep\n fn f() { check::g(\"std::fs\") }",
        ),
        ("policy/rule.rs", "pub struct Rule; use super::Mode;"),
        (
            "policy/check.rs",
            "use super::rule::Rule; pub struct Check;",
        ),
        (
            "proxy.rs",
            "use crate::policy; async fn f() { tokio::spawn(policy::f()).await }",
        ),
        ("simulator.rs", "mod store; use store::Store;"),
        (
            "simulator/store.rs",
            "pub struct Store(std::time::Instant);",
        ),
    ];
    let none: BTreeSet<String> = BTreeSet::new();
    let allowed = BTreeMap::from([
        ("lib".to_owned(), none.clone()),
        ("policy".to_owned(), none.clone()),
        ("proxy".to_owned(), BTreeSet::from(["policy".to_owned()])),
        ("simulator".to_owned(), none),
    ]);
    let faults = |house: &House| {
        let mut faults = house.forbidden_arrows(&allowed);
        faults.extend(house.impure("policy"));
        faults.extend(house.circles().iter().map(|ring| ring.join(" <-> ")));
        faults.extend(house.climbs());
        faults.extend(house.long_files());
        faults
    };
    let found = faults(&House::of(&sound));
    assert!(found.is_empty(), "{found:?}");

    let long = "fn f() {}\n".repeat(MAX_LINES + 1);
    for (file, added, fault) in [
        (
            "policy/rule.rs",
            "use tokio::sync::Mutex;",
            "policy/rule.rs: tokio::sync::Mutex",
        ),
        (
            "policy/rule.rs",
            "fn f() { tokio::spawn(()) }",
            "policy/rule.rs: tokio::spawn",
        ),
        (
            "policy/rule.rs",
            "use std::{fmt, time::Instant};",
            "policy/rule.rs: std::time::Instant",
        ),
        (
            "policy/rule.rs",
            "use std::{self as s}; fn f() { s::fs::read() }",
            "policy/rule.rs: std::fs::read",
        ),
        (
            "policy/rule.rs",
            "const F: u8 = m!(::std::net::lookup());",
            "policy/rule.rs: std::net::lookup",
        ),
        ("policy/rule.rs", "async fn f() {}", "policy/rule.rs: async"),
        (
            "policy/rule.rs",
            "use super::check::g;",
            "policy/check.rs <-> policy/rule.rs",
        ),
        (
            "policy/rule.rs",
            "fn f() { crate::policy::check::g() }",
            "policy/check.rs <-> policy/rule.rs",
        ),
        // `policy.rs` shows it, and `policy/check.rs` has it.
        (
            "policy/rule.rs",
            "use super::Check;",
            "policy/check.rs <-> policy/rule.rs",
        ),
        (
            "simulator/store.rs",
            "use crate::policy::Rule;",
            "simulator/store.rs -> policy",
        ),
        (
            "simulator.rs",
            "fn f() { crate::policy::f() }",
            "simulator.rs -> policy",
        ),
        (
            "policy.rs",
            "use crate::{proxy::{self, Gateway}};",
            "policy.rs -> proxy",
        ),
        (
            "policy/rule.rs",
            "use super::super::proxy::Gateway;",
            "policy/rule.rs: super::super::proxy::Gateway",
        ),
        ("policy/rule.rs", &long, "policy/rule.rs"),
    ] {
        let changed = sound.map(|(name, text)| {
            let added = if name == file { added } else { "" };
            (name, format!("{text}\n{added}"))
        });
        let changed = changed
            .each_ref()
            .map(|(name, text)| (*name, text.as_str()));
        let found = faults(&House::of(&changed));
        assert!(
            found.iter().any(|found| found == fault),
            "{added}: {found:?}"
        );
    }
}
