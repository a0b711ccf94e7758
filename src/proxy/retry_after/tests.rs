//! Every form of `Retry-After`.

use http::HeaderValue;

use super::*;

fn read(lines: &[&str]) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
        headers.append(header::RETRY_AFTER, line);
    }
    waiting_time(&headers)
}

#[track_caller]
fn check(lines: &[&str], seconds: u64) {
    assert_eq!(read(lines), Some(Duration::from_secs(seconds)), "{lines:?}");
}

/// The date in so many seconds.
fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

#[test]
fn seconds_are_rounded_up_and_bounded() {
    for (text, seconds) in [
        ("57", 57),
        (" 57\t", 57),
        ("007", 7),
        ("0", 0),
        ("0.0", 0),
        ("0.001", 1),
        ("1.5", 2),
        ("2.0", 2),
        ("2147483647", 2_147_483_647),
        ("2147483648", 2_147_483_647),
        ("18446744073709551615.5", 2_147_483_647),
        ("99999999999999999999", 2_147_483_647),
        (&"9".repeat(20_000), 2_147_483_647),
    ] {
        check(&[text], seconds);
    }
}

#[test]
fn a_date_is_the_time_until_then() {
    check(&["Wed, 21 Oct 2015 07:28:00 GMT"], 0);
    check(&["Wednesday, 21-Oct-15 07:28:00 GMT"], 0);
    check(&["Wed Oct 21 07:28:00 2015"], 0);
    check(&["Fri, 31 Dec 9999 23:59:59 GMT"], 2_147_483_647);
    let soon = read(&[&date(100)]);
    assert!(soon.is_some_and(|wait| (90..=100).contains(&wait.as_secs())));
}

#[test]
fn the_longest_time_of_a_list_counts() {
    for (lines, seconds) in [
        (&["57, 57"][..], 57),
        (&["10, 20"], 20),
        (&["20,10"], 20),
        (&["57", "57"], 57),
        (&["10", "20"], 20),
        (&["20", "10"], 20),
        (&["5, Wed, 21 Oct 2015 07:28:00 GMT"], 5),
        (&["Wed, 21 Oct 2015 07:28:00 GMT, 5"], 5),
        (&["Wed, 21 Oct 2015 07:28:00 GMT", "5"], 5),
        (&["Wed Oct 21 07:28:00 2015, 5"], 5),
        (&["soon, 5"], 5),
        (&["soon", "5"], 5),
        (&["5,"], 5),
    ] {
        check(lines, seconds);
    }
    for list in [
        format!("5, {}", date(100)),
        format!("{}, {}", date(50), date(100)),
    ] {
        let wait = read(&[&list]);
        assert!(wait.is_some_and(|wait| wait.as_secs() >= 90), "{list}");
    }
}

#[test]
fn anything_else_says_nothing() {
    for text in [
        "",
        " ",
        ",",
        "-1",
        "+1",
        "1.",
        ".5",
        "1.5.2",
        "1e3",
        "0x10",
        "1 2",
        "soon",
        "5;6",
        "\u{e9}",
        "Wed, 21 Oct 2015",
        &",".repeat(20_000),
    ] {
        assert_eq!(read(&[text]), None, "{text}");
    }
    assert_eq!(read(&[]), None);
}
