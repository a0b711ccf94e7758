//! `Accept`: the media type that a caller prefers for an answer of the gateway (RFC 9110 12.5.1).

use http::{HeaderMap, header};

#[cfg(test)]
mod tests;

/// A weight in thousandths.
type Weight = u16;

/// What `Accept` says of the two types of an answer; of a range that is given twice the greater weight counts.
#[derive(Debug, Default)]
struct Accepted {
    problem: Option<Weight>,
    json: Option<Weight>,
    any_application: Option<Weight>,
    any: Option<Weight>,
}

/// Whether a caller prefers `application/problem+json` to `application/json`: it names it, with a weight above 0 and not
/// below that of `application/json`.
pub fn wants_problem_json(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT).iter();
    if !lines().any(|line| names_problem(line.as_bytes())) {
        return false;
    }
    let mut accepted = Accepted::default();
    for line in lines() {
        let mut rest = Some(line.as_bytes());
        while let Some(list) = rest {
            let (range, after) = split(list, b',');
            accepted.add(range);
            rest = after;
        }
    }
    accepted
        .problem
        .is_some_and(|weight| weight > 0 && weight >= accepted.of_json())
}

/// Whether a line may name the type: most callers do not.
fn names_problem(line: &[u8]) -> bool {
    memchr::memchr(b'+', line).is_some()
}

impl Accepted {
    /// Adds a media range with its parameters.
    fn add(&mut self, range: &[u8]) {
        let (name, parameters) = split(range, b';');
        let name = name.trim_ascii();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let place = match () {
            () if is("application/problem+json") => &mut self.problem,
            () if is("application/json") => &mut self.json,
            () if is("application/*") => &mut self.any_application,
            () if is("*/*") => &mut self.any,
            () => return,
        };
        // A range whose weight cannot be read says nothing.
        if let Some(weight) = weight_of(parameters) {
            *place = (*place).max(Some(weight));
        }
    }

    /// The weight of `application/json`, by the most specific range.
    fn of_json(&self) -> Weight {
        let specific = self.json.or(self.any_application).or(self.any);
        specific.unwrap_or_default()
    }
}

/// The weight among the parameters of a range; `None` if it is malformed.
fn weight_of(parameters: Option<&[u8]>) -> Option<Weight> {
    let mut rest = parameters;
    while let Some(list) = rest {
        let (parameter, after) = split(list, b';');
        if let [b'q' | b'Q', b'=', value @ ..] = parameter.trim_ascii() {
            return weight(value);
        }
        rest = after;
    }
    Some(1000)
}

/// A weight (RFC 9110 12.4.2): 0 to 1, with three decimals at most.
fn weight(value: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    let digits = [0, 1, 2].map(|at| decimals.get(at).copied().unwrap_or(b'0'));
    if decimals.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [tenths, hundredths, thousandths] = digits.map(|digit| Weight::from(digit - b'0'));
    let below_one = tenths * 100 + hundredths * 10 + thousandths;
    match (whole, below_one) {
        (b'0', _) => Some(below_one),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

/// Splits at the first separator that stands in no quotes.
fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let at = text.iter().position(|byte| {
        let ends = *byte == separator && !is_quoted;
        is_quoted ^= *byte == b'"' && !is_escaped;
        is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
        ends
    });
    match at.and_then(|at| text.split_at_checked(at)) {
        Some((first, rest)) => (first, rest.get(1..)),
        None => (text, None),
    }
}
