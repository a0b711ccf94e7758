//! `Retry-After`: how long an answer asks to wait (RFC 9110 10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

#[cfg(test)]
mod tests;

/// The longest time that is told apart from a longer one: 2^31 - 1 seconds, the bound of RFC 9111 1.2.2.
const MAX: Duration = Duration::from_secs(0x7fff_ffff);

/// How long an answer asks to wait; `None` if it says nothing that can be read.
///
/// A proxy may have joined several lines into a list. The longest time of all of them counts.
pub(super) fn waiting_time(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::RETRY_AFTER).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .filter_map(longest)
        .max()
}

/// The longest time in a list.
fn longest(line: &str) -> Option<Duration> {
    let mut longest = None;
    let mut rest = Some(line);
    while let Some(list) = rest {
        let (item, after) = cut(list, 1);
        // The day of the week ends in a comma too.
        let (date, after_date) = cut(list, 2);
        let (read, after) = match until(date) {
            Some(wait) => (Some(wait), after_date),
            None => (seconds(item).or_else(|| until(item)), after),
        };
        longest = longest.max(read);
        rest = after;
    }
    longest
}

/// The first items of a list, and what follows them.
fn cut(list: &str, items: usize) -> (&str, Option<&str>) {
    let comma = list.match_indices(',').nth(items - 1);
    let (first, rest) = match comma.and_then(|(at, _)| list.split_at_checked(at)) {
        Some((first, rest)) => (first, rest.strip_prefix(',')),
        None => (list, None),
    };
    (first.trim(), rest)
}

/// Whole seconds, or seconds with a fraction, which are rounded up.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // Only a number that is too large fails.
    let whole = whole.parse().unwrap_or(u64::MAX);
    let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(more)).min(MAX))
}

/// The time until a date.
fn until(text: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(text).ok()?;
    let wait = date.duration_since(SystemTime::now()).unwrap_or_default();
    Some(wait.min(MAX))
}
