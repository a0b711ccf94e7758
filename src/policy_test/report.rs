//! The report of a run: text, JSON, `JUnit`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{CaseReport, Coverage, Report, diff::visible};

/// At most so many lines without coverage are listed; the JSON form has them all.
const MAX_MISSING: usize = 500;

impl Report {
    /// For people. With `coverage`, also the coverage of each document; `min` is the required coverage in percent.
    pub fn text(&self, coverage: bool, min: Option<u8>) -> String {
        let mut text = String::new();
        let (mut passed, mut failed, mut unread) = (0, 0, 0);
        for file in &self.files {
            let path = visible(&file.path.display().to_string());
            match &file.outcome {
                Err(error) => {
                    unread += 1;
                    let _ = writeln!(text, "{}", lines_visible(error));
                }
                Ok(cases) => {
                    let bad: Vec<_> = cases.iter().filter(|case| !case.diff.is_empty()).collect();
                    passed += cases.len() - bad.len();
                    failed += bad.len();
                    let good = cases.len() - bad.len();
                    let _ = writeln!(text, "{path}: {good} of {} passed", cases.len());
                    for case in cases {
                        if let Some(warning) = &case.warning {
                            let (line, column) = case.place;
                            let warning = visible(warning);
                            let _ = writeln!(text, "{path}:{line}:{column}: Warning: {warning}");
                        }
                    }
                    for case in bad {
                        let (line, column) = case.place;
                        let name = visible(&case.name);
                        let _ = writeln!(text, "{path}:{line}:{column}: {name}");
                        for line in differences(case) {
                            let _ = writeln!(text, "    {line}");
                        }
                    }
                }
            }
        }
        if coverage && unread > 0 {
            text.push_str("coverage without the files that cannot be run:\n");
        }
        if coverage {
            for document in &self.coverage {
                text.push_str(&document.text());
            }
        }
        if let Some(min) = min.filter(|min| !self.covers(*min)) {
            let _ = writeln!(text, "coverage is below {min} %");
        }
        let _ = write!(text, "{passed} passed, {failed} failed");
        if unread > 0 {
            let files = if unread == 1 { "file" } else { "files" };
            let _ = write!(text, ", {unread} {files} cannot be run");
        }
        text.push('\n');
        text
    }

    /// For programs.
    pub fn to_json(&self, coverage: bool, min: Option<u8>) -> Value {
        let case = |case: &CaseReport| {
            json!({
                "name": case.name,
                "line": case.place.0,
                "column": case.place.1,
                "passed": case.diff.is_empty(),
                "diff": case.diff,
                "findings": case.findings,
                "warning": case.warning,
            })
        };
        let files = self.files.iter().map(|file| {
            let (cases, error) = match &file.outcome {
                Ok(cases) => (cases.iter().map(case).collect(), None),
                Err(error) => (Vec::new(), Some(error)),
            };
            json!({ "file": file.path.display().to_string(), "error": error, "cases": cases })
        });
        let documents = self.coverage.iter().map(|document| {
            let missing = document.missing().map(ToString::to_string);
            json!({
                "policy": document.document,
                "covered": document.covered(),
                "all": document.targets.len(),
                "percent": document.percent(),
                "missing": missing.collect::<Vec<_>>(),
            })
        });
        json!({
            "ok": self.passed() && min.is_none_or(|min| self.covers(min)),
            "files": files.collect::<Vec<_>>(),
            "coverage": coverage.then(|| documents.collect::<Vec<_>>()),
        })
    }

    /// For build servers: XML in the form of `JUnit`.
    pub fn junit(&self, min: Option<u8>) -> String {
        let mut suites = String::new();
        let mut sum = [0; 3];
        for file in &self.files {
            let name = xml(&file.path.display().to_string());
            let mut cases = String::new();
            let mut counts = [0; 3];
            match &file.outcome {
                Err(error) => {
                    counts = [1, 0, 1];
                    let error = xml(error);
                    let _ = write!(
                        cases,
                        "    <testcase name=\"the file can be run\" classname=\"{name}\">\n      \
                         <error message=\"{error}\"/>\n    </testcase>\n"
                    );
                }
                Ok(all) => {
                    for case in all {
                        counts[0] += 1;
                        let id = xml(&case.name);
                        let line = case.place.0;
                        let head = format!(
                            "    <testcase name=\"{id}\" classname=\"{name}\" file=\"{name}\" line=\"{line}\""
                        );
                        if case.diff.is_empty() {
                            let _ = writeln!(cases, "{head}/>");
                            continue;
                        }
                        counts[1] += 1;
                        let failure = xml(&differences(case).join("\n"));
                        let _ = write!(
                            cases,
                            "{head}>\n      <failure message=\"line {line}: not as expected\">{failure}</failure>\n    \
                             </testcase>\n"
                        );
                    }
                }
            }
            add(&mut suites, &mut sum, &name, counts, &cases);
        }
        if let Some(min) = min {
            let mut cases = String::new();
            let mut counts = [0; 3];
            for document in &self.coverage {
                counts[0] += 1;
                let name = xml(&document.document);
                let head = format!("    <testcase name=\"{name}\" classname=\"coverage\"");
                if document.percent() >= min.into() {
                    let _ = writeln!(cases, "{head}/>");
                    continue;
                }
                counts[1] += 1;
                let failure = xml(&document.text());
                let _ = write!(
                    cases,
                    "{head}>\n      <failure message=\"below {min} %\">{failure}</failure>\n    </testcase>\n"
                );
            }
            add(&mut suites, &mut sum, "coverage", counts, &cases);
        }
        let [tests, failures, errors] = sum;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"referral-gateway test\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n\
             {suites}</testsuites>\n"
        )
    }
}

impl Coverage {
    fn text(&self) -> String {
        let (covered, all) = (self.covered(), self.targets.len());
        let mut text = format!(
            "coverage of {}: {covered} of {all} ({} %)\n",
            visible(&self.document),
            self.percent()
        );
        for target in self.missing().take(MAX_MISSING) {
            let _ = writeln!(text, "    no case: {}", visible(&target.to_string()));
        }
        if let Some(more @ 1..) = (all - covered).checked_sub(MAX_MISSING) {
            let _ = writeln!(text, "    and {more} more");
        }
        text
    }
}

/// The lines that report a failed case.
fn differences(case: &CaseReport) -> Vec<String> {
    let findings = case.findings.iter();
    let findings = findings.map(|finding| format!("  found: {}", visible(finding)));
    case.diff.iter().cloned().chain(findings).collect()
}

fn add(suites: &mut String, sum: &mut [usize; 3], name: &str, counts: [usize; 3], cases: &str) {
    let [tests, failures, errors] = counts;
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
    let _ = write!(
        suites,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n"
    );
}

/// Without control characters, but for the ends of lines.
fn lines_visible(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// A text as it may stand in an attribute or between tags (XML 1.0, 2.2 and 2.4).
fn xml(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // An attribute would read them as spaces.
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            // XML allows these in no form.
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
