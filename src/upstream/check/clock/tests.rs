use std::time::UNIX_EPOCH;

use super::*;
use crate::upstream::check::Outcome;

/// The step of a request that left and came back at these times after a second that `Date` names.
#[track_caller]
fn check(sent: f64, received: f64, result: Outcome, certain: f64) {
    let base = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let at = |offset: f64| match offset < 0.0 {
        true => base - Duration::from_secs_f64(-offset),
        false => base + Duration::from_secs_f64(offset),
    };
    let date = HeaderValue::from_str(&httpdate::fmt_http_date(base)).expect("a date");
    let (skew, step) = step(Some(&date), at(sent), at(received));
    assert_eq!(step.result, result, "{sent} {received}: {step:?}");
    let skew = skew.expect("a skew").certain();
    assert!((skew - certain).abs() < 1e-3, "{skew} {certain}");
}

#[test]
fn what_date_and_the_round_trip_leave_open_is_no_skew() {
    // Date was cut to its second: 0.9 s of it may have passed.
    check(0.9, 0.95, Outcome::Ok, 0.0);
    check(-0.2, 0.1, Outcome::Ok, 0.0);
    // It was written some time in a slow answer.
    check(-20.0, 20.0, Outcome::Ok, 0.0);
    check(3.0, 3.1, Outcome::Ok, 2.0);
}

#[test]
fn a_clock_that_is_off_warns_and_one_that_breaks_tokens_fails() {
    check(6.5, 6.6, Outcome::Warning, 5.5);
    check(-6.6, -6.5, Outcome::Warning, -6.5);
    check(300.5, 300.6, Outcome::Warning, 299.5);
    check(301.5, 301.6, Outcome::Failed, 300.5);
    check(-400.0, -399.0, Outcome::Failed, -399.0);
}

#[test]
fn an_answer_without_a_usable_date_is_a_warning() {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let odd = HeaderValue::from_static("[2J yesterday");
    for date in [None, Some(&odd)] {
        let (skew, step) = step(date, now, now);
        assert_eq!((skew, step.result), (None, Outcome::Warning));
    }
}
