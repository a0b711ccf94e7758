//! Reads Rust sources into what they name: the paths of `use` lists, expressions, types and macros.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    slice::{self, Iter},
};

use super::lexer::{self, Tree};

type Path = Vec<String>;
type Trees<'t> = Peekable<Iter<'t, Tree>>;

/// One file of the program.
#[derive(Debug)]
pub(super) struct Source {
    /// From `src`: `policy/if_match.rs`.
    pub(super) file: String,
    /// `policy`, `if_match`; nothing for `lib.rs`.
    pub(super) module: Path,
    /// Whether it holds tests only.
    pub(super) is_test: bool,
    /// Its lines without the tests at its end.
    pub(super) lines: usize,
    scopes: Vec<Scope>,
}

/// The names of one module; a file has one for itself and one for each `mod name { .. }`.
#[derive(Debug, Default)]
struct Scope {
    module: Path,
    children: BTreeSet<String>,
    /// The names that `use` brings in, with the paths that they stand for.
    aliases: BTreeMap<String, Path>,
    /// Each path as it is written, and whether only tests name it.
    paths: Vec<(Path, bool)>,
    /// Every word of the code, tests excepted.
    words: BTreeSet<String>,
}

/// A path from the root of whatever crate it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// `crate::policy::Mode`.
    Ours(Path),
    /// `tokio::time::sleep`.
    Foreign(Path),
}

impl Source {
    pub(super) fn of(file: &str, text: &str) -> Self {
        let mut module: Path = file
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        let is_test = module.iter().any(|part| part == "tests");
        if module == ["lib"] {
            module.clear();
        }
        let mut scopes = vec![Scope::new(module.clone())];
        read(&lexer::read(text), 0, is_test, &mut scopes);
        Self {
            file: file.to_owned(),
            module,
            is_test,
            lines: text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .map_or(0, |code| code.lines().count()),
            scopes,
        }
    }

    /// What the file names, and whether only tests name it.
    pub(super) fn names(&self) -> impl Iterator<Item = (Named, bool)> {
        self.scopes.iter().flat_map(|scope| {
            scope
                .paths
                .iter()
                .filter_map(|(path, is_test)| Some((scope.resolve(path, 0)?, *is_test)))
        })
    }

    /// What a name of this file stands for, if a `use` brings it in.
    pub(super) fn alias(&self, name: &str) -> Option<Named> {
        let scope = self.scopes.first()?;
        scope.resolve(scope.aliases.get(name)?, 1)
    }

    /// Whether a word stands in the code, tests excepted.
    pub(super) fn says(&self, word: &str) -> bool {
        self.scopes.iter().any(|scope| scope.words.contains(word))
    }

    /// The paths that climb more than one module.
    pub(super) fn climbs(&self) -> impl Iterator<Item = String> {
        let paths = self.scopes.iter().flat_map(|scope| &scope.paths);
        paths
            .filter(|(path, _)| path.iter().filter(|part| *part == "super").count() > 1)
            .map(|(path, _)| path.join("::"))
    }
}

impl Scope {
    fn new(module: Path) -> Self {
        Self {
            module,
            ..Self::default()
        }
    }

    /// `None` for a path that stands for a type: `Self::new`.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Named> {
        let (first, rest) = path.split_first()?;
        let below = |module: &[String], rest: &[String]| Some(Named::Ours([module, rest].concat()));
        match first.as_str() {
            "crate" | "referral_gateway" => below(&[], rest),
            "self" => below(&self.module, rest),
            "super" => {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let kept = self.module.len().saturating_sub(supers);
                below(&self.module[..kept], &path[supers..])
            }
            "Self" => None,
            name if self.children.contains(name) => below(&self.module, path),
            name => match self.aliases.get(name) {
                // `use bytes::Bytes` alone makes no `bytes`; a name may also stand for itself.
                Some(alias) if depth < 8 && alias[0] != name => {
                    self.resolve(&[alias, rest].concat(), depth + 1)
                }
                _ => Some(Named::Foreign(path.to_vec())),
            },
        }
    }
}

/// Reads code into the scope at `at`, modules within it into scopes of their own.
fn read(trees: &[Tree], at: usize, is_test: bool, scopes: &mut Vec<Scope>) {
    let mut trees = trees.iter().peekable();
    // The signs before a word decide whether a path begins with it.
    let mut before = ['\0'; 3];
    let mut is_marked = false;
    while let Some(tree) = trees.next() {
        let is_test = is_test || is_marked;
        // `.name` is a field, but `..name` a path; `>::name` goes on, but `::name` alone begins one.
        let begins =
            !matches!(before, [_, other, '.'] if other != '.') && before != ['>', ':', ':'];
        if let Tree::Sign(sign) = tree {
            before = [before[1], before[2], *sign];
            match (sign, trees.peek()) {
                ('#', Some(Tree::Group('[', attribute))) => is_marked |= is_cfg_test(attribute),
                (';' | ',', _) => is_marked = false,
                _ => {}
            }
            continue;
        }
        before = ['\0'; 3];
        let word = match tree {
            Tree::Word(word) => word.as_str(),
            Tree::Group(bracket, inner) => {
                read(inner, at, is_test, scopes);
                is_marked &= *bracket != '{';
                continue;
            }
            Tree::Sign(_) => continue,
        };
        let scope = &mut scopes[at];
        if !is_test {
            scope.words.insert(word.to_owned());
        }
        match word {
            "use" if !is_sign(trees.peek(), '<') => {
                let mut names = Vec::new();
                uses(&mut trees, &[], &mut names);
                for (path, name) in names {
                    scope.paths.push((path.clone(), is_test));
                    if let Some(name) = name {
                        scope.aliases.insert(name, path);
                    }
                }
                is_marked = false;
            }
            "mod" => {
                let Some(Tree::Word(name)) = trees.next() else {
                    panic!("a module without a name");
                };
                scope.children.insert(name.clone());
                if let Some(Tree::Group('{', body)) = trees.peek() {
                    let module = [&scope.module[..], slice::from_ref(name)].concat();
                    scopes.push(Scope::new(module));
                    let inner = scopes.len() - 1;
                    read(body, inner, is_test, scopes);
                    trees.next();
                }
                is_marked = false;
            }
            _ if begins => {
                let path = rest_of_path(word, &mut trees);
                if path.len() > 1 {
                    scope.paths.push((path, is_test));
                }
            }
            _ => {}
        }
    }
}

/// Whether an attribute keeps something for tests.
fn is_cfg_test(attribute: &[Tree]) -> bool {
    let test = [
        Tree::Word("cfg".to_owned()),
        Tree::Group('(', vec![Tree::Word("test".to_owned())]),
    ];
    let is_path = matches!(attribute, [Tree::Word(name), Tree::Sign('='), ..] if name == "path");
    assert!(!is_path, "a module lies where its name does not say");
    attribute == test
}

/// The path that begins with a word: as far as `::` leads to another word.
fn rest_of_path(first: &str, trees: &mut Trees<'_>) -> Path {
    let mut path = vec![first.to_owned()];
    loop {
        let mut ahead = trees.clone();
        let [one, other] = [ahead.next(), ahead.next()];
        match (one, other, ahead.next()) {
            (Some(Tree::Sign(':')), Some(Tree::Sign(':')), Some(Tree::Word(word))) => {
                path.push(word.clone());
                *trees = ahead;
            }
            _ => return path,
        }
    }
}

/// The paths of a `use`, each with the name that it brings in.
fn uses(trees: &mut Trees<'_>, prefix: &[String], into: &mut Vec<(Path, Option<String>)>) {
    let mut path = prefix.to_vec();
    let (mut name, mut is_renamed) = (None, false);
    for tree in trees.by_ref() {
        match tree {
            Tree::Word(word) if word == "as" => is_renamed = true,
            Tree::Word(word) if is_renamed => name = Some(word.clone()),
            // In a list, `self` names the list's own path.
            Tree::Word(word) if word == "self" && !path.is_empty() => name = path.last().cloned(),
            Tree::Word(word) => {
                name = Some(word.clone());
                path.push(word.clone());
            }
            Tree::Sign('*') => {
                path.push("*".to_owned());
                name = None;
            }
            Tree::Sign(':') => {}
            Tree::Sign(_) => break,
            Tree::Group(_, list) => {
                let mut list = list.iter().peekable();
                while list.peek().is_some() {
                    uses(&mut list, &path, into);
                }
                path.clear();
            }
        }
    }
    if path.len() > prefix.len() || (name.is_some() && !path.is_empty()) {
        into.push((path, name));
    }
}

fn is_sign(tree: Option<&&Tree>, wanted: char) -> bool {
    matches!(tree, Some(Tree::Sign(sign)) if *sign == wanted)
}
