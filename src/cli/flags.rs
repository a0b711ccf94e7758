//! The flags that set a setting, and which commands look at them.

use std::{env, ffi::OsString, path::PathBuf};

use crate::config::Sources;

/// Settings that have a flag.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct Flags {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "The settings file [env: REFERRAL_GATEWAY_CONFIG]"
    )]
    config: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "FILE|DIR",
        help = "The policy document, a folder with exactly one, or builtin"
    )]
    pub(super) policy: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        help = "Serves the API [default: 127.0.0.1:4280, of simulate 127.0.0.1:4290]"
    )]
    pub(super) listen: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        help = "Serves metrics and probes [default: 127.0.0.1:4281]"
    )]
    telemetry: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        help = "Serves operators [default: 127.0.0.1:4282]"
    )]
    admin: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "URL|simulator",
        help = "Where requests go [default: https://api.partner.microsoft.com]"
    )]
    upstream: Option<String>,
    #[arg(long, global = true, value_name = "FORMAT", value_parser = ["auto", "text", "json"], help = "The form of log lines")]
    log_format: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        help = "A level, or a filter such as warn,referral_gateway::access=off"
    )]
    log_level: Option<String>,
}

impl Flags {
    /// Flag, setting and value of each flag that was given.
    fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        [
            ("--policy", "policy.document", &self.policy),
            ("--listen", "listen", &self.listen),
            ("--telemetry", "telemetry.listen", &self.telemetry),
            ("--admin", "admin.listen", &self.admin),
            ("--upstream", "upstream.url", &self.upstream),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| Some((flag, key, value.clone()?)))
    }

    pub(super) fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            environment: env::vars_os().collect::<Vec<(OsString, OsString)>>(),
            flags: self.values().collect(),
        }
    }

    /// The flags that were given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let config = self.config.as_ref().map(|_| "--config");
        let given = self.values().map(|(flag, ..)| flag);
        config.into_iter().chain(given)
    }
}

/// The settings' flags that a command looks at, where those are not all.
pub(super) fn flags_of(command: &str) -> Option<&'static [&'static str]> {
    match command {
        "simulate" => Some(&["--config", "--listen", "--log-format", "--log-level"]),
        "healthcheck" => Some(&["--config", "--telemetry"]),
        "test" => Some(&["--policy"]),
        "explain" => Some(&["--config", "--policy", "--upstream"]),
        "schema" | "completions" => Some(&[]),
        _ => None,
    }
}

/// A command line of which the help of each command shows the flags that it looks at.
pub(super) fn with_flags_shown(command: clap::Command) -> clap::Command {
    let flags: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|flag| flag.is_global_set())
        .cloned()
        .collect();
    command.mut_subcommands(|command| {
        let Some(used) = flags_of(command.get_name()) else {
            return command;
        };
        let is_used = |flag: &clap::Arg| {
            let name = flag.get_long().unwrap_or_default();
            used.iter()
                .any(|used| used.strip_prefix("--") == Some(name))
        };
        // A flag of its own takes the place of the one that all commands have.
        let unused = flags.iter().filter(|flag| !is_used(flag));
        command.args(unused.cloned().map(|flag| flag.hide(true)))
    })
}
