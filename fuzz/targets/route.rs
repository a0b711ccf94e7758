//! No path in which a lenient reader could see a referral passes as anything else.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use referral_gateway::proxy::route::Route;

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Every escape decoded that is one, once.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, tail @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high << 4 | low);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The segments as a reader may see them: without case, parameters, white space and empty ones.
fn segments(text: &str, resolve_dots: bool) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in text.to_uppercase().to_lowercase().split(['/', '\\']) {
        let name = segment.split(';').next().unwrap_or_default().trim();
        match name {
            "" => {}
            "." if resolve_dots => {}
            ".." if resolve_dots => drop(segments.pop()),
            _ => segments.push(name.to_owned()),
        }
    }
    segments
}

/// The id of the referral that the segments name.
fn item(segments: &[String]) -> Option<&str> {
    match segments {
        [.., collection, id] if collection == "referrals" => Some(id),
        [.., keyed] => keyed.strip_prefix("referrals(")?.strip_suffix(')'),
        [] => None,
    }
}

fuzz_target!(|path: &str| {
    // What no request line brings here.
    if path
        .bytes()
        .any(|byte| byte <= b' ' || matches!(byte, b'?' | b'#' | 0x7f))
    {
        return;
    }
    let mut readings = Vec::new();
    let mut text = path.to_owned();
    for _ in 0..4 {
        for resolve_dots in [false, true] {
            readings.push(segments(&text, resolve_dots));
        }
        text = decoded(&text);
    }
    let is_item = readings.iter().any(|segments| item(segments).is_some());
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::POST] {
        let route = Route::of(&method, path);
        assert!(!(is_item && matches!(route, Ok(Route::Other))), "{method} {path}");
        if let Ok(Route::Item(id)) = route {
            // A reader that decodes once, as RFC 3986 2.4 asks, sees the same referral.
            let once = segments(&decoded(path), true);
            let seen = item(&once).unwrap_or_default();
            let seen = seen.strip_prefix("id=").unwrap_or(seen).trim_matches('\'');
            assert!(id.is(seen), "{id} in {path}");
        }
    }
});
