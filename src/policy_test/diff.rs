//! Expected against actual values, line by line.

use std::fmt::Write as _;

use http::HeaderMap;

use super::{
    actual::Actual,
    case::{Expect, Outcome},
};

/// A longer line of a body is shown from the first difference, in characters.
const MAX_LINE: usize = 160;

/// Lines of a body that are shown on each side; the rest is counted.
const MAX_LINES: usize = 40;

/// The lines of a diff: two spaces before an equal value, `-` before the expected one, `+` before the actual one.
/// Empty if all values are equal.
pub(super) fn of(expect: &Expect, actual: &Actual) -> Vec<String> {
    let mut diff = Diff::default();
    diff.line("verdict", word(expect.verdict), word(actual.verdict));
    if let (Outcome::Pass, Some(status), Some(code)) = (expect.verdict, actual.status, &actual.code)
    {
        diff.line("answer", "", &format!("{status} {code}"));
    }
    if let Some(status) = expect.status {
        let seen = actual.status.map(|status| status.to_string());
        diff.line("status", &status.to_string(), &seen.unwrap_or_default());
    }
    if let Some(code) = &expect.code {
        diff.line("code", code, actual.code.as_deref().unwrap_or_default());
    }
    let sorted = |names: &mut dyn Iterator<Item = &str>| {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.join(", ")
    };
    let findings = actual.findings.iter();
    let seen = sorted(&mut findings.clone().map(|finding| &*finding.rule));
    diff.line("rules", &expect.rules.join(", "), &seen);
    if let Some(codes) = &expect.findings {
        let seen = sorted(&mut findings.clone().map(|finding| finding.code));
        diff.line("findings", &codes.join(", "), &seen);
    }
    if let Some(warnings) = &expect.warnings {
        let seen = sorted(&mut actual.warnings.iter().map(|rule| &**rule));
        diff.line("warnings", &warnings.join(", "), &seen);
    }
    let names: Vec<_> = expect.repaired.iter().map(|name| name.as_str()).collect();
    let seen: Vec<_> = actual
        .repaired
        .iter()
        .map(|(_, name)| name.as_str())
        .collect();
    diff.line("repaired", &names.join(", "), &seen.join(", "));
    if let Some(sent) = &actual.sent {
        for (name, lines) in &expect.headers {
            diff.line(name, &lines.join(" | "), &values(&sent.headers, name));
        }
        if let Some(body) = &expect.body {
            diff.body(body, &sent.body);
        }
    }
    if diff.differs { diff.lines } else { Vec::new() }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Refuse => "refuse",
    }
}

fn values(headers: &HeaderMap, name: &str) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    lines.join(" | ")
}

#[derive(Default)]
struct Diff {
    lines: Vec<String>,
    differs: bool,
}

impl Diff {
    fn line(&mut self, key: &str, expected: &str, actual: &str) {
        let show = |sign: &str, value: &str| {
            let value = if value.is_empty() { "(none)" } else { value };
            format!("{sign} {key}: {}", visible(value))
        };
        if expected == actual {
            if !expected.is_empty() {
                self.lines.push(show(" ", expected));
            }
        } else {
            self.differs = true;
            self.lines.extend([show("-", expected), show("+", actual)]);
        }
    }

    /// Lines that both have at the beginning and at the end are left out.
    fn body(&mut self, expected: &[u8], actual: &[u8]) {
        if expected == actual {
            return;
        }
        self.differs = true;
        let lines = |body: &[u8]| -> Vec<String> {
            body.split_inclusive(|byte| *byte == b'\n')
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect()
        };
        let (expected, actual) = (lines(expected), lines(actual));
        let start = common(expected.iter(), actual.iter());
        let rest = |lines: &[String]| lines.get(start..).unwrap_or_default().to_vec();
        let (expected, actual) = (rest(&expected), rest(&actual));
        let end = common(expected.iter().rev(), actual.iter().rev());
        let middle = |lines: &[String]| lines.get(..lines.len() - end).unwrap_or_default().to_vec();
        let (expected, actual) = (middle(&expected), middle(&actual));

        self.lines.push(format!("  body, from line {}:", start + 1));
        // Of two long lines, the part far before the first difference does not help.
        let first = |lines: &[String]| lines.first().cloned().unwrap_or_default();
        let at = common(first(&expected).chars(), first(&actual).chars());
        for (sign, lines) in [("-", expected), ("+", actual)] {
            for (number, line) in lines.iter().take(MAX_LINES).enumerate() {
                let from = if number == 0 {
                    at.saturating_sub(MAX_LINE / 2)
                } else {
                    0
                };
                self.lines.push(format!("{sign}   {}", cut(line, from)));
            }
            if let Some(more @ 1..) = lines.len().checked_sub(MAX_LINES) {
                self.lines.push(format!("{sign}   ({more} more lines)"));
            }
        }
    }
}

/// How many items two sequences have in common at the beginning.
fn common<T: PartialEq>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> usize {
    one.zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

fn cut(line: &str, from: usize) -> String {
    let has_end = line.ends_with('\n');
    let line = line.strip_suffix('\n').unwrap_or(line);
    let letters = line.chars().count();
    let shown: String = line.chars().skip(from).take(MAX_LINE).collect();
    let mut cut = String::new();
    if from > 0 {
        cut.push_str("...");
    }
    cut.push_str(&visible(&shown));
    if letters > from + MAX_LINE {
        cut.push_str("...");
    } else if !has_end {
        // Two bodies may differ in their last line feed alone.
        cut.push_str(" (end)");
    }
    cut
}

/// A text without control characters, as a terminal may show it.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(shown, "{}", letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}
