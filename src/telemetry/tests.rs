//! Which filters are read, and which are refused.

use std::{collections::BTreeSet, fs, path::Path};

use super::filter::{TARGETS, filter};

#[test]
fn a_filter_says_nothing_about_the_rest_only_if_it_says_so() {
    for (text, told) in [
        ("warn", "warn"),
        ("off", "off"),
        (
            "referral_gateway::access=off",
            "referral_gateway::access=off,info",
        ),
        (
            "warn,referral_gateway::access=off",
            "referral_gateway::access=off,warn",
        ),
        (
            "referral_gateway::proxy::judge=debug",
            "referral_gateway::proxy::judge=debug,info",
        ),
        ("hyper=debug, ERROR", "hyper=debug,error"),
        ("referral_gateway=debug", "referral_gateway=debug,info"),
    ] {
        let filter = filter(text).map(|filter| filter.to_string());
        assert_eq!(filter.expect(text), told);
    }
}

#[test]
fn a_misspelt_target_of_ours_is_refused() {
    for (text, hint) in [
        (
            "referral_gateway::acces=off",
            "did you mean referral_gateway::access?",
        ),
        (
            "warn,referral_gateway::prxy::judge=off",
            "did you mean referral_gateway::proxy?",
        ),
        ("referral_gateway::=off", "known are access, admin"),
        (
            "info,referral_gateway::everything",
            "known are access, admin",
        ),
    ] {
        let error = filter(text).expect_err(text);
        assert!(error.why.contains(hint), "{text}: {error}");
    }
}

#[test]
fn every_module_is_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = fs::read_dir(folder).expect("the sources");
    let mut names: BTreeSet<String> = files
        .filter_map(|file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .filter(|name| !matches!(name.as_str(), "lib" | "main"))
        .collect();
    names.extend(["access".to_owned(), "decision".to_owned()]);
    assert!(names.iter().eq(TARGETS), "{names:?}");
}
