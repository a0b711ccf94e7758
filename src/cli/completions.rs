//! `completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap_complete::Shell;

use super::output::{NAME, print};

/// Prints the completions of a command line for a shell.
pub(super) fn completions(
    shell: Shell,
    mut command_line: clap::Command,
) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line, NAME, &mut script);
    print(&String::from_utf8_lossy(&script))
}
