//! `config show`: the settings in force.

use std::process::ExitCode;

use clap::Subcommand;

use super::output::{Output, OutputFlag, print};
use crate::config::{self, Sources};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the settings in force
    Show {
        /// Also say where each value comes from
        #[arg(long)]
        origins: bool,
        #[command(flatten)]
        output: OutputFlag,
    },
}

/// Prints settings.
pub(super) fn config(command: &Command, sources: Sources) -> anyhow::Result<ExitCode> {
    let Command::Show { origins, output } = command;
    let config = config::load(sources)?;
    match output.output {
        Output::Text => print(&config.show(*origins)),
        Output::Json => print(&format!("{:#}\n", config.to_json())),
    }
}
