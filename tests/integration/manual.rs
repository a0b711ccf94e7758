//! The version, as programs read it.

use super::{
    commands::run,
    support::page::{section, ticked},
};

#[test]
fn the_version_is_told_to_programs_too() {
    let told = run(&["--version", "--output", "json"]);
    assert_eq!(told.code, Some(0));
    let told = told.json();
    assert_eq!(told["name"], "referral-gateway");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["tls_provider"], "aws-lc-rs");
    let commit = option_env!("GATEWAY_COMMIT").filter(|commit| !commit.is_empty());
    assert_eq!(told["commit"].as_str(), commit);

    let page = section("docs/cli.md", "Version");
    for name in told.as_object().unwrap().keys() {
        assert!(ticked(&page).contains(&&**name), "{name}");
    }
    for arguments in [&["-V"][..], &["--version", "--output", "text"]] {
        let line = format!("referral-gateway {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(arguments).out, line);
    }
    let alone = run(&["--output", "json"]);
    assert_eq!(alone.code, Some(2), "{}", alone.err);
}
