//! `test`: runs the tests of policy documents.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::ValueEnum;

use super::output::{print, print_error};
use crate::{
    config::{self, PolicySource, Sources},
    policy_test,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Policy folders, whose tests/*.yaml are run, or test files
    #[arg(value_name = "PATH", default_value = "policies")]
    paths: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Also list the rules, modes, repairs, transitions and substatus pairs that no case covers
    #[arg(long)]
    coverage: bool,
    /// Fail if less than this of a document is covered
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    min_coverage: Option<u8>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
    Junit,
}

/// Runs tests. `policy` takes the place of the documents that the test files name.
///
/// The settings are the defaults, whatever file and environment say: a test must not fail on one machine only.
pub(super) fn test(arguments: &Arguments, policy: Option<&str>) -> anyhow::Result<ExitCode> {
    let files = match policy_test::files_of(&arguments.paths) {
        Ok(files) => files,
        Err(error) => {
            print_error(&error.to_string());
            return Ok(ExitCode::from(2));
        }
    };
    let policy = policy.map(|policy| match policy {
        "builtin" => PolicySource::Builtin,
        path => PolicySource::Path(path.into()),
    });
    if let Some(Err(error)) = policy.as_ref().map(config::load_policy) {
        print_error(&format!("flag --policy: {error}"));
        return Ok(ExitCode::FAILURE);
    }
    let config = config::load(Sources::default()).context("the defaults cannot be read")?;
    let report = policy_test::run(&files, policy.as_ref(), &config.settings);
    let min = arguments.min_coverage;
    let coverage = arguments.coverage || min.is_some();
    match arguments.output {
        Output::Text => print(&report.text(coverage, min))?,
        Output::Json => print(&format!("{:#}\n", report.to_json(coverage, min)))?,
        Output::Junit => print(&report.junit(min))?,
    };
    if report.passed() && min.is_none_or(|min| report.covers(min)) {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}
