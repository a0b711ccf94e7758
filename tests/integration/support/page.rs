//! Pages of the documentation, read for what they promise.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of a page below a heading.
pub(crate) fn section(page: &str, heading: &str) -> String {
    let whole = text(page);
    let start = format!("\n## {heading}\n");
    let (_, rest) = whole
        .split_once(&start)
        .unwrap_or_else(|| panic!("{page} has no section {heading:?}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The cells of every table in a text, without the heads.
pub(crate) fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_head = lines.get(at + 1).is_some_and(|next| is_rule(next));
        if let Some(line) = line.strip_prefix('|')
            && !is_head
            && !is_rule(lines[at])
        {
            let cells = line.strip_suffix('|').unwrap_or(line).split('|');
            rows.push(cells.map(str::trim).collect());
        }
    }
    rows
}

/// What stands in backticks.
pub(crate) fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

pub(crate) fn only(cell: &str) -> &str {
    match ticked(cell).as_slice() {
        [one] => one,
        other => panic!("{cell:?} names {} things", other.len()),
    }
}

/// The fenced blocks of a language.
pub(crate) fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let parts = text.split(&*fence).skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap())
        .collect()
}

/// Both sides have the same entries; says what only one of them has.
#[track_caller]
pub(crate) fn check_same<T: Ord + std::fmt::Debug>(page: &BTreeSet<T>, program: &BTreeSet<T>) {
    let missing: Vec<_> = program.difference(page).collect();
    let wrong: Vec<_> = page.difference(program).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "not on the page: {missing:#?}\nonly on the page: {wrong:#?}"
    );
}

pub(crate) fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

/// Whether `part` stands in `whole`: members may be left out, elements of a list may not.
#[track_caller]
pub(crate) fn check_part(part: &Value, whole: &Value) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (name, value) in part {
                check_part(value, whole.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            assert_eq!(part.len(), whole.len(), "{whole:?}");
            for (part, whole) in part.iter().zip(whole) {
                check_part(part, whole);
            }
        }
        _ => assert_eq!(part, whole),
    }
}

pub(crate) fn sources(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(path);
        }
    }
}
