//! Which build this is.

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What speaks TLS.
pub const TLS_PROVIDER: &str = "aws-lc-rs";

/// The commit that was built, if the build was told: `GATEWAY_COMMIT` in its environment. Cargo builds again when the
/// variable changes.
pub fn commit() -> Option<&'static str> {
    option_env!("GATEWAY_COMMIT").filter(|commit| !commit.is_empty())
}
