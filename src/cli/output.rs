//! What is printed: answers on standard output, in the form that was asked for, and errors on standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::plain::plain;

/// The name of the program.
pub(super) const NAME: &str = "referral-gateway";

#[derive(Debug, clap::Args)]
pub(super) struct OutputFlag {
    /// Output format
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

/// Writes an answer to standard output. A reader who has seen enough is no error.
pub(super) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes an error to standard error, with the name of the program in front of each line.
pub fn print_error(text: &str) {
    for line in plain(text).lines() {
        // Without a standard error stream the exit code still tells.
        let _ = writeln!(io::stderr(), "{NAME}: {line}");
    }
}
