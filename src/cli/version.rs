//! `--version`: which build this is.

use std::process::ExitCode;

use serde_json::json;

use super::output::{NAME, Output, print};
use crate::version::{TLS_PROVIDER, VERSION, commit};

/// Prints the version.
pub(super) fn version(output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Text => print(&format!("{NAME} {VERSION}\n")),
        Output::Json => print(&format!(
            "{:#}\n",
            json!({
                "name": NAME,
                "version": VERSION,
                "commit": commit(),
                "tls_provider": TLS_PROVIDER,
            })
        )),
    }
}
