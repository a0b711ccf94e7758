//! The command line: arguments, and one file a command.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;

use flags::{Flags, flags_of};
use output::{NAME, Output, OutputFlag};

use crate::telemetry;

mod ask;
mod certificate;
mod check;
mod client;
mod completions;
mod config;
mod explain;
mod flags;
mod healthcheck;
mod man;
mod output;
mod run;
mod runtime;
mod schema;
mod simulate;
mod test;
mod version;

pub use output::print_error;

const ABOUT: &str = "An HTTP policy gateway in front of Microsoft's Partner Center Referrals API.";

const PRECEDENCE: &str = "\
Settings come from, in this order: flag, environment (REFERRAL_GATEWAY_<SECTION>__<KEY>), file, default.
`config show --origins` shows which one applies.
Exit codes:
  0  success
  1  settings or policy are wrong, a test, a step of `check --connect` or the health check failed, a certificate could
     not be made, a running gateway gave no good answer, or the gateway could not run to its end
  2  wrong usage, or a request that `explain` cannot read
  3  `explain` says that the request is refused
`run --exec` ends with the exit code of the command, or with
  1    the gateway could not start, so the command did not
  126  the command cannot be executed
  127  the command is not found
  128 and the number of the signal that killed the command";

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(name = NAME, about = ABOUT, after_help = PRECEDENCE, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the version
    #[arg(long, short = 'V')]
    version: bool,
    /// Output format of --version
    #[arg(long, value_enum, requires = "version")]
    output: Option<Output>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run(run::Arguments),
    /// Check settings and policy; print the problems, or a summary
    Check(check::Arguments),
    /// Run policy tests
    Test(test::Arguments),
    /// Judge one captured request without sending it: raw HTTP, a .http file, a HAR or a curl command
    Explain {
        #[command(flatten)]
        question: explain::Question,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Show the status of a running gateway: what is the matter, traffic, refusals, the service
    Status(ask::Arguments),
    /// Show the policy in force in a running gateway
    Policies(ask::Arguments),
    /// Show the tenants of a running gateway: how much of their limits they use, and who waits
    Tenants(ask::Arguments),
    /// Show the last decisions of a running gateway about writes
    Decisions(ask::Decisions),
    /// Let a running gateway read its settings and policy again
    Reload(ask::Arguments),
    /// Let a running gateway finish its requests and end
    Drain(ask::Arguments),
    /// Run only the simulator of the Referrals API
    Simulate(simulate::Arguments),
    /// Check whether a running gateway is ready
    Healthcheck(healthcheck::Arguments),
    /// Show settings
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// Make a local CA and a certificate for TLS on the data listener, or renew the certificate
    Certificate(certificate::Arguments),
    /// Print the JSON Schema of a file, for editors
    Schema {
        /// Kind of file
        #[arg(value_name = "KIND")]
        of: schema::SchemaOf,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

impl Arguments {
    /// Reads the arguments of the process. The error carries its text and its exit code.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = command_line().try_get_matches()?;
        let arguments = Self::from_arg_matches(&matches)?;
        let name = matches.subcommand_name().unwrap_or_default();
        // A flag without effect is a mistake of the user, so it is an error.
        match arguments.unused(name) {
            None => Ok(arguments),
            Some(flag) => {
                let mut command = command_line();
                command.build();
                let command = command.find_subcommand_mut(name);
                let mut command = command.map_or_else(command_line, |command| command.clone());
                let text = format!("{flag} is not supported by this command");
                Err(command.error(ErrorKind::ArgumentConflict, text))
            }
        }
    }

    fn unused(&self, name: &str) -> Option<&'static str> {
        let used: &[&str] = match &self.command {
            Some(Command::Simulate(simulate)) if simulate.list_behaviour => &[],
            Some(Command::Healthcheck(healthcheck)) if healthcheck.url.is_some() => &[],
            Some(Command::Explain { question, .. }) if question.live => &["--config", "--admin"],
            _ => flags_of(name)?,
        };
        self.flags.given().find(|flag| !used.contains(flag))
    }
}

fn command_line() -> clap::Command {
    flags::with_other_flags_hidden(Arguments::command())
}

/// Does what the arguments ask for.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let outcome = run_command(arguments);
    telemetry::flush();
    outcome
}

fn run_command(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        command,
        version,
        output,
        flags,
    } = arguments;
    if version {
        return version::version(output.unwrap_or(Output::Text));
    }
    let run = || Command::Run(run::Arguments::default());
    match command.unwrap_or_else(run) {
        Command::Run(arguments) => run::run(arguments, flags.sources()),
        Command::Check(arguments) => check::check(&arguments, flags.sources()),
        Command::Test(arguments) => test::test(&arguments, flags.policy.as_deref()),
        Command::Explain { question, output } => {
            explain::explain(&question, flags.sources(), output.output)
        }
        Command::Status(arguments) => ask::ask(ask::Question::Status, arguments, flags.sources()),
        Command::Policies(arguments) => {
            ask::ask(ask::Question::Policies, arguments, flags.sources())
        }
        Command::Tenants(arguments) => ask::ask(ask::Question::Tenants, arguments, flags.sources()),
        Command::Decisions(asked) => ask::decisions(asked, flags.sources()),
        Command::Reload(arguments) => ask::ask(ask::Question::Reload, arguments, flags.sources()),
        Command::Drain(arguments) => ask::ask(ask::Question::Drain, arguments, flags.sources()),
        Command::Simulate(arguments) => simulate::simulate(&arguments, flags),
        Command::Healthcheck(arguments) => healthcheck::healthcheck(arguments, flags.sources()),
        Command::Config { command } => config::config(&command, flags.sources()),
        Command::Certificate(arguments) => certificate::certificate(arguments),
        Command::Schema { of } => schema::schema(of),
        Command::Completions { shell } => {
            completions::completions(shell, flags::with_other_flags_removed(Arguments::command()))
        }
        Command::Man => man::man(flags::with_other_flags_removed(Arguments::command())),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }
}
