//! Times as the service shows and compares them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as real bodies have it: at most seven digits of the second, and no zeros at the end.
pub(super) fn time_text(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_nanos(time).to_string();
    let Some((whole, fraction)) = text.split_once('.') else {
        return text;
    };
    let digits = fraction.get(..7).unwrap_or_default().trim_end_matches('0');
    match digits {
        "" => format!("{whole}Z"),
        digits => format!("{whole}.{digits}Z"),
    }
}

/// The whole seconds of a time, as an entity tag holds them.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Times have seven digits of the second, so that what a body shows is all there is to compare.
pub(super) fn in_ticks(time: SystemTime) -> SystemTime {
    let nanos = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    time.checked_sub(Duration::from_nanos(u64::from(nanos % 100)))
        .unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::time_text;

    #[test]
    fn a_time_has_at_most_seven_digits_and_no_zeros_at_the_end() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (42_170_000, "1970-01-01T00:00:00.04217Z"),
            (123_456_799, "1970-01-01T00:00:00.1234567Z"),
            (50, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(UNIX_EPOCH + Duration::from_nanos(nanos)), text);
        }
    }
}
