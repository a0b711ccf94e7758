//! However the path of a referral is disguised, no write to it passes unjudged.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use referral_gateway::proxy::route::Route;

const ID: &str = "5f1c2d3e-0001";
const FORMS: [&str; 5] = [
    "/v1.0/engagements/referrals/5f1c2d3e-0001",
    "/v1/engagments/referrals/5f1c2d3e-0001",
    "/engagements/v1/referrals/5f1c2d3e-0001",
    "/v1.0/referrals('5f1c2d3e-0001')",
    "/v1.0/engagements/referrals(id=5f1c2d3e-0001)",
];
/// Escapes of escapes that some reader undoes.
const MAX_DEPTH: usize = 2;
const MAX_STEPS: usize = 24;

/// One letter of a path in another spelling, or with something before it, that some reader undoes.
fn disguised(letter: char, way: u8, depth: &mut usize) -> String {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    match (letter, way) {
        ('%', _) if *depth >= MAX_DEPTH => "%".to_owned(),
        ('%', _) => {
            *depth += 1;
            "%25".to_owned()
        }
        (_, 0) => escaped(&letter.to_string()),
        (_, 1) => escaped(&letter.to_string())
            .to_uppercase()
            .replace('%', "%"),
        (_, 2) if letter.is_ascii_lowercase() => letter.to_ascii_uppercase().to_string(),
        (_, 2) => letter.to_ascii_lowercase().to_string(),
        ('/', 3) => "//".to_owned(),
        ('/', 4) => "\\".to_owned(),
        ('/', 5) => "/./".to_owned(),
        ('/', 6) => "/x/../".to_owned(),
        ('/', 7) => ";a=b/".to_owned(),
        ('/', 8) => "%20/".to_owned(),
        ('/', 9) => "/%09".to_owned(),
        ('s' | 'S', 10) => '\u{17f}'.to_string(),
        ('s' | 'S', 11) => escaped("\u{17f}"),
        ('!'..='~', 12) if letter != '/' => {
            let wide = char::from_u32(u32::from(letter) + 0xfee0).expect("a full-width form");
            escaped(&wide.to_string())
        }
        (_, 13) if letter.is_ascii_alphanumeric() => format!("%u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((form, steps)) = data.split_first() else {
        return;
    };
    let mut path: Vec<char> = FORMS[usize::from(*form) % FORMS.len()].chars().collect();
    let mut depth = 0;
    for step in steps.chunks_exact(2).take(MAX_STEPS) {
        let at = usize::from(step[0]) % path.len();
        // A path begins with its slash.
        if at > 0 {
            let letters = disguised(path[at], step[1] % 14, &mut depth);
            path.splice(at..=at, letters.chars());
        }
    }
    let path: String = path.into_iter().collect();
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::POST] {
        match Route::of(&method, &path) {
            Ok(Route::Item(id)) => assert_eq!(id.as_str(), ID, "{method} {path}"),
            Ok(other) => panic!("{method} {path} passes as {other:?}"),
            Err(_) => {}
        }
    }
});
