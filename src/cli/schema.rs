//! `schema`: the JSON Schema of a file, for editors.

use std::process::ExitCode;

use clap::ValueEnum;

use super::output::print;
use crate::{config, policy, policy_test};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SchemaOf {
    Config,
    Policy,
    PolicyTest,
}

/// Prints the schema of one kind of file.
pub(super) fn schema(of: SchemaOf) -> anyhow::Result<ExitCode> {
    let schema = match of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Policy => policy::schema(),
        SchemaOf::PolicyTest => policy_test::schema(),
    };
    print(&format!("{schema:#}\n"))
}
