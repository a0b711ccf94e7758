//! Arguments that have to be written out: the pattern of `matches`, the duration of `duration`.

use regex::{Regex, RegexBuilder};

use super::limits::MAX_PATTERN;

/// Compiles the pattern of `matches`, or says what is wrong with it and what to write.
pub(super) fn pattern(text: &str) -> Result<Regex, (String, &'static str)> {
    let compiled = RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => (
            "the pattern is too large".to_owned(),
            "repeat less, or write [0-9] for \\d and [A-Za-z] for \\w",
        ),
        error => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            let why = why.trim().trim_start_matches("error: ");
            let what = format!("the pattern cannot be used: {why}");
            (what, "correct the pattern")
        }
    })
}

/// Whether a text is a duration as CEL writes them: numbers with units, and a sign in front. The crate reads as much of
/// a text as it understands, and leaves the rest.
pub(super) fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let units = ["ns", "us", "ms", "h", "m", "s"];
    while let Some(after) = units.iter().find_map(|unit| {
        let number = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let digits = rest.len() - number.len();
        number
            .strip_prefix(unit)
            .filter(|_| (1..=9).contains(&digits))
    }) {
        if after.is_empty() {
            return true;
        }
        rest = after;
    }
    false
}
