//! This machine's clock beside the upstream's.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::step::Step;

#[cfg(test)]
mod tests;

/// How far this machine's clock is ahead of the upstream's, in seconds: between these two.
///
/// `Date` (RFC 9110 6.6.1) has whole seconds, and it was written some time between request and answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Skew {
    /// The least that it can be.
    pub least: f64,
    /// The most that it can be.
    pub most: f64,
}

/// From here on, in seconds, tokens that were just issued may be refused as not valid yet.
const WARN: f64 = 5.0;
/// From here on, in seconds, they are: the libraries that read tokens forgive five minutes.
const FAIL: f64 = 300.0;

impl Skew {
    fn of(date: SystemTime, sent: SystemTime, received: SystemTime) -> Self {
        let after = |one: SystemTime, other: SystemTime| match one.duration_since(other) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        let second = Duration::from_secs(1);
        Self {
            least: after(sent, date + second),
            most: after(received, date),
        }
    }

    /// What it is at least, in seconds: positive if this machine's clock is ahead, 0 if both may agree.
    pub fn certain(self) -> f64 {
        match self {
            Self { least, .. } if least > 0.0 => least,
            Self { most, .. } if most < 0.0 => most,
            Self { .. } => 0.0,
        }
    }
}

pub(super) fn step(
    date: Option<&HeaderValue>,
    sent: SystemTime,
    received: SystemTime,
) -> (Option<Skew>, Step) {
    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(date) = date else {
        let seen = "unknown: the answer has no usable Date";
        let remedy = "compare the clock of this machine with another one";
        return (None, Step::warning("clock", seen, remedy));
    };
    let skew = Skew::of(date, sent, received);
    let off = skew.certain();
    let direction = if off > 0.0 { "ahead of" } else { "behind" };
    let seen = format!(
        "at least {:.0} s {direction} the upstream's ({})",
        off.abs().floor(),
        humantime::format_rfc3339_seconds(date)
    );
    let step = match off.abs() {
        off if off >= FAIL => Step::failed(
            "clock",
            seen,
            "set the clock (NTP): tokens count as expired or as not yet valid from five minutes on",
        ),
        off if off > WARN => Step::warning(
            "clock",
            seen,
            "set the clock (NTP): tokens are valid from `nbf` to `exp`, to the second",
        ),
        _ => {
            let about = skew.least.abs().max(skew.most.abs()).ceil();
            Step::ok("clock", format!("within {about:.0} s of the upstream's"))
        }
    };
    (Some(skew), step)
}
