//! The metrics and labels that a query names.
//!
//! Prometheus itself parses the query and writes it in its one canonical form; what is left is to tell names apart.

use std::collections::BTreeSet;

use regex::Regex;

/// One selector of a query: `name{label="value"}`.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// One condition of a selector.
#[derive(Debug, PartialEq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) operator: String,
    pub(super) value: String,
}

/// What a query names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    pub(super) selectors: Vec<Selector>,
    /// The labels in `by`, `without`, `on`, `ignoring` and `group_left`.
    pub(super) grouped_by: BTreeSet<String>,
}

impl Matcher {
    /// Whether a series whose label has this value is selected.
    pub(super) fn takes(&self, value: &str) -> bool {
        let is_match = || {
            let pattern = format!("^(?:{})$", self.value);
            Regex::new(&pattern).unwrap().is_match(value)
        };
        match self.operator.as_str() {
            "=" => self.value == value,
            "!=" => self.value != value,
            "=~" => is_match(),
            "!~" => !is_match(),
            other => panic!("{other} is no operator of a matcher"),
        }
    }
}

const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 8] = [
    "and", "or", "unless", "bool", "offset", "atan2", "Inf", "NaN",
];

impl Names {
    /// The names in a query in its canonical form.
    pub(super) fn of(canonical: &str) -> Self {
        let mut names = Self::default();
        let tokens = tokens(canonical);
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            let next = after.first().map_or("", String::as_str);
            if !is_name(first) || OPERATORS.contains(&first.as_str()) {
                continue;
            }
            let end = |close: &str| after.iter().position(|token| token == close).unwrap();
            if GROUPING.contains(&first.as_str()) {
                let labels = &after[1..end(")")];
                let labels = labels.iter().filter(|token| is_name(token)).cloned();
                names.grouped_by.extend(labels);
                rest = &after[end(")")..];
            } else if next == "{" {
                let matchers = after[1..end("}")].split(|token| token == ",");
                names.selectors.push(Selector {
                    metric: first.clone(),
                    matchers: matchers.map(matcher).collect(),
                });
                rest = &after[end("}")..];
            // Otherwise it is a function, or an aggregation with its labels in front.
            } else if next != "(" && !GROUPING.contains(&next) {
                names.selectors.push(Selector {
                    metric: first.clone(),
                    matchers: Vec::new(),
                });
            }
        }
        names
    }
}

fn matcher(tokens: &[String]) -> Matcher {
    let [label, operator @ .., value] = tokens else {
        panic!("{tokens:?} is no matcher");
    };
    Matcher {
        label: label.clone(),
        operator: operator.concat(),
        value: serde_json::from_str(value).unwrap(),
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
}

/// Names, numbers, texts in their quotes, and single signs.
fn tokens(text: &str) -> Vec<String> {
    let token = Regex::new(r#"[A-Za-z_][\w:]*|\d[\w.]*|"(?:[^"\\]|\\.)*"|\S"#).unwrap();
    let found = token.find_iter(text);
    found.map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn names_are_told_from_functions_operators_and_numbers() {
    let names = Names::of(
        r#"sum by (job, le) (rate(a_total{x="1,}",y!~"2|3"}[5m] offset 1h)) / on (z) group_left () max without (w) (b:c) >= bool 1e3 and time() - d > Inf"#,
    );
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    let selector = |metric: &str, matchers| Selector {
        metric: metric.to_owned(),
        matchers,
    };
    assert_eq!(
        names,
        Names {
            selectors: vec![
                selector(
                    "a_total",
                    vec![matcher("x", "=", "1,}"), matcher("y", "!~", "2|3")]
                ),
                selector("b:c", Vec::new()),
                selector("d", Vec::new()),
            ],
            grouped_by: ["job", "le", "z", "w"].map(str::to_owned).into(),
        }
    );
}
