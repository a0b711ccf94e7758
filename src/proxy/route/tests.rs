//! Every spelling of a path that was seen or feared.

use proptest::prelude::*;

use super::*;

fn item(id: &str) -> Result<Route, Problem> {
    Ok(Route::Item(ReferralId::parse(id).expect("an id")))
}

#[track_caller]
fn check(method: &str, path: &str, expected: &Result<Route, Problem>) {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    // A problem holds what cannot be compared.
    assert_eq!(
        format!("{:?}", Route::of(&method, path)),
        format!("{expected:?}"),
        "{method} {path}"
    );
}

#[test]
fn every_spelling_of_one_referral_is_judged() {
    for path in [
        "/v1.0/engagements/referrals/r1",
        "/v1/engagements/referrals/r1",
        "/v2/engagements/referrals/r1",
        "/V1.0/Engagements/Referrals/R1",
        "/v1.0/engagements/referrals/r1/",
        "/v1.0/engagements/referrals/r1//",
        "//v1.0///engagements//referrals/r1",
        "/v1.0/engagments/referrals/r1",
        "/v1.0/referrals/r1",
        "/engagements/v1/referrals/r1",
        "/engagements/v1.0/referrals/r1",
        "/v1.0/engagements/referrals(r1)",
        "/v1.0/engagements/referrals('r1')",
        "/v1.0/engagements/Referrals(Id='R1')",
        "/v1.0/engagements/referrals(%27r1%27)",
        "/v1.0/engagements/%72eferrals/r1",
        "/v1.0/engagements/referrals/%721",
        "/%76%31%2e%30/engagements/referrals/r1",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"] {
            check(method, path, &item("r1"));
        }
        for method in [Method::POST, Method::TRACE] {
            let refused = Problem::MethodNotAllowed(method.clone(), ITEM);
            check(method.as_str(), path, &Err(refused));
        }
    }
}

#[test]
fn only_a_percent_sign_begins_an_escape() {
    let path = "/v1.0/engagements/referrals/u0065%61";
    check("PUT", path, &item("u0065a"));
}

#[test]
fn the_collection_is_listed_and_added_to() {
    for path in [
        "/v1.0/engagements/referrals",
        "/v1.0/engagements//referrals/",
        "/v1.0/referrals",
        "/engagements/v1/REFERRALS",
    ] {
        check("GET", path, &Ok(Route::List));
        check("POST", path, &Ok(Route::Create));
        for method in [Method::PUT, Method::DELETE, Method::TRACE] {
            let refused = Problem::MethodNotAllowed(method.clone(), COLLECTION);
            check(method.as_str(), path, &Err(refused));
        }
    }
}

#[test]
fn all_else_passes() {
    for path in [
        "/",
        "/v1.0/customers/1",
        "/v1.0/engagements",
        "/v1.0/$metadata",
        "/v1.0/engagements/$metadata",
        "/rates%2Fa;b/..",
        "/v1.0/été",
        "/referral/1",
        "/webhooks/v1/registration",
        "/v1.0/preferrals/x",
    ] {
        check("GET", path, &Ok(Route::Other));
        check("PUT", path, &Ok(Route::Other));
    }
}

#[test]
fn a_write_below_a_referral_prefix_that_is_no_route_is_refused() {
    for path in [
        "/v1.0/engagements/referrals/r1/team",
        "/v1.0/engagements/referrals/r1/links",
        "/v1.0/engagements/referrals/$count",
        "/v1.0/engagements/referralsr1",
        "/v1.0/engagements/referrals$filter=x",
        "/v1.0/engagements/referrals()",
        "/v1.0/engagements/referrals(a,b)",
        "/v1.0/engagements/referrals('r1')/status",
        "/v1.0/engagements/x/referrals/r1",
        "/engagements/referrals/r1",
        "/referrals/r1",
        "/referrals/v2/referrals/r1",
        "/api/v1.0/engagements/referrals/r1",
        "/beta/engagements/referrals/r1",
        "/engagements/beta/referrals/r1",
        "/v/referrals/r1",
        "/v.1/referrals/r1",
        "/v1x/referrals/r1",
        "/v1.0/engagements/referrals/r%20x",
        "/v1.0/engagements/Default.Container.Referrals('r1')",
        "/v1.0/Default.Container.Referrals/r1",
        "/v1.0/engagements/default.referrals/r1",
    ] {
        check("PUT", path, &Err(Problem::UnknownReferralRoute));
        check("PATCH", path, &Err(Problem::UnknownReferralRoute));
        check("GET", path, &Ok(Route::Other));
    }
}

#[test]
fn what_readers_treat_differently_is_refused_below_a_referral_prefix() {
    for path in [
        "/v1.0/engagements/referrals/../referrals/r1",
        "/v1.0/engagements/./referrals/r1",
        "/v1.0/x/../engagements/referrals/r1",
        "/v1.0/engagements/referrals/..",
        "/v1.0/engagements/referrals/%2e%2e/x",
        "/v1.0/engagements/referrals%2fr1",
        "/v1.0/engagements/referral\u{17f}/r1",
        "/v1.0/engagements/ｒeferrals/r1",
        "/v1.0%2Fengagements%2Freferrals%2Fr1",
        "/v1.0/engagements/referrals/r1%00",
        "/v1.0/engagements/referrals/r1%0d%0a",
        "/v1.0/engagements/referrals/r1%5c..",
        "/v1.0\\engagements\\referrals\\r1",
        "/v1.0/engagements/referrals;a=b/r1",
        "/v1.0/engagements/referrals/r1;a=b",
        "/v1.0;x/engagements/referrals/r1",
        "/v1.0/engagements/referrals/r1%3bx",
        "/v1.0/engagements/%2572eferrals/r1",
        "/v1.0/engagements/%252572eferrals/r1",
        "/v1.0/engagements/%u0072eferrals/r1",
        "/v1.0/engagements/%25u0072eferrals/r1",
        "/v1.0/engagements/ref%25U0065rrals/r1",
        "/v1.0/x%25u002f..%25u002fengagements%25u002freferrals/r1",
        "/v1.0/engagements/referral%25u017f/r1",
        "/v1.0/engagements/%257%ef%bc%92eferrals/r1",
        "/v1.0/engagements/referrals/%zz",
        "/v1.0/engagements/referral%c5%bf/r1",
        "/v1.0/engagements/%ef%bd%92eferrals/r1",
        "/v1.0/engagements/referrals/%c0%af",
        "/v1.0/engagements/referrals /r1",
        "/v1.0/engagements/%20referrals/r1",
        "/v1.0/engagements/%c2%a0referrals/r1",
        "/v1.0/engagements/%e3%80%80referrals/r1",
        "/v1.0/engagements/referrals/r1%20",
    ] {
        for method in ["GET", "PUT", "POST"] {
            let method = method.parse().expect("a method");
            let problem = Route::of(&method, path).expect_err(path);
            assert_eq!(problem.code(), "suspicious_path", "{method} {path}");
        }
    }
}

#[test]
fn batches_and_unknown_methods_are_refused_everywhere() {
    for path in [
        "/a%",
        "/a%6",
        "/v1.0/x%u002f..%u002fengagements%u002freferrals/r1",
        "/v1.0/r%u0065f%u0065rrals/r1",
        "/%c0%af",
        "/x%c1%b2",
    ] {
        check("PUT", path, &Err(Problem::BrokenPath));
        check("GET", path, &Err(Problem::BrokenPath));
    }
    for path in [
        "/v1.0/$batch;x",
        "/v1.0/$batch.",
        "/v1.0/$batch%20",
        "/v1.0/$batch()",
        "/v1.0/$batch%00",
        "/v1.0/$entity",
    ] {
        check("PUT", path, &Err(Problem::BatchNotSupported));
    }
    for method in ["GET", "POST"] {
        check(method, "/v1.0/$batch", &Err(Problem::BatchNotSupported));
    }
    check("GET", "/v1.0/$entity", &Ok(Route::Other));
    check(
        "POST",
        "/v1.0/engagements/%24Batch/",
        &Err(Problem::BatchNotSupported),
    );
    for method in ["put", "Put", "PUTX", "PROPFIND", "MERGE", "QUERY"] {
        check(
            method,
            "/v1.0/engagements/referrals/r1",
            &Err(Problem::UnknownMethod),
        );
        check(method, "/", &Err(Problem::UnknownMethod));
    }
    for method in [Method::TRACE, Method::CONNECT] {
        let refused = Problem::MethodNotAllowed(method.clone(), ANY);
        check(method.as_str(), "/", &Err(refused));
    }
}

/// An independent reading of a path: resolves, decodes and folds as a lenient server would.
fn lenient_server(path: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .to_lowercase();
    let mut seen: Vec<&str> = Vec::new();
    for segment in decoded
        .split(['/', '\\'])
        .filter(|segment| !segment.is_empty())
    {
        match segment.split(';').next().unwrap_or_default() {
            "." => {}
            ".." => {
                seen.pop();
            }
            name => seen.push(name),
        }
    }
    match *seen {
        ["v1.0", "engagements", "referrals", id] => Some(id.to_owned()),
        _ => None,
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/",
        "//",
        "v1.0",
        "V1.0",
        "engagements",
        "Engagements",
        "referrals",
        "REFERRALS",
        "%72eferrals",
        "r1",
        "R%31",
        ".",
        "..",
        "%2e",
        "%2f",
        "%5C",
        "\\",
        ";a",
        "%3b",
        "%",
        "x",
        "%00",
        "$batch",
        "(r1)",
    ])
}

proptest! {
    #[test]
    fn no_path_panics(path in "\\PC{0,60}") {
        let _ = Route::of(&Method::PUT, &path);
    }

    #[test]
    fn a_put_that_a_lenient_server_takes_for_a_referral_is_judged_or_refused(pieces in prop::collection::vec(piece(), 0..12)) {
        let path = format!("/{}", pieces.concat());
        if let Some(id) = lenient_server(&path) {
            match Route::of(&Method::PUT, &path) {
                Ok(Route::Item(judged)) => prop_assert!(judged.is(&id), "{} {}", path, id),
                Ok(other) => prop_assert!(false, "{} passed as {:?}", path, other),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn a_long_walk_through_slashes_reaches_the_same_place(slashes in prop::collection::vec(1usize..4, 4), tail in 0usize..3) {
        let path: String = slashes.iter().zip(["v1.0", "engagements", "referrals", "r1"]).map(|(n, name)| format!("{}{name}", "/".repeat(*n))).collect();
        check("PUT", &format!("{path}{}", "/".repeat(tail)), &item("r1"));
    }
}
