//! The flags that set a setting, and which commands look at them.

use std::{env, ffi::OsString, path::PathBuf};

use clap::ValueHint;

use crate::config::Sources;

/// The heading of the flags that set a setting.
pub(super) const SETTINGS: &str = "Settings";

/// Settings that have a flag.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SETTINGS)]
pub(super) struct Flags {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help = "Settings file [env: REFERRAL_GATEWAY_CONFIG]"
    )]
    config: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "FILE|DIR",
        value_hint = ValueHint::AnyPath,
        help = "Policy document, a folder with exactly one *.yaml, or builtin [default: builtin]"
    )]
    pub(super) policy: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        value_hint = ValueHint::Other,
        help = "Data listener address [default: 127.0.0.1:4280]"
    )]
    pub(super) listen: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        value_hint = ValueHint::Other,
        help = "Telemetry listener address: metrics and probes [default: 127.0.0.1:4281]"
    )]
    telemetry: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        value_hint = ValueHint::Other,
        help = "Admin listener address [default: 127.0.0.1:4282]"
    )]
    admin: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "URL|simulator",
        value_hint = ValueHint::Other,
        help = "Upstream URL, or simulator [default: https://api.partner.microsoft.com]"
    )]
    upstream: Option<String>,
    #[arg(long, global = true, value_name = "FORMAT", value_parser = ["auto", "text", "json"], help = "Log format [default: auto]")]
    log_format: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        value_hint = ValueHint::Other,
        help = "Log level, or a filter such as warn,referral_gateway::access=off [default: info]"
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
            ..Sources::default()
        }
    }

    /// The flags that were given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let config = self.config.as_ref().map(|_| "--config");
        let given = self.values().map(|(flag, ..)| flag);
        config.into_iter().chain(given)
    }
}

/// The settings' flags that a command takes, where those are not all.
pub(super) fn flags_of(command: &str) -> Option<&'static [&'static str]> {
    match command {
        "simulate" => Some(&["--config", "--listen", "--log-format", "--log-level"]),
        "healthcheck" => Some(&["--config", "--telemetry"]),
        "test" => Some(&["--policy"]),
        "explain" => Some(&["--config", "--policy", "--upstream", "--admin"]),
        "status" | "policies" | "tenants" | "decisions" | "reload" | "drain" => {
            Some(&["--config", "--admin"])
        }
        "schema" | "completions" | "certificate" | "man" => Some(&[]),
        _ => None,
    }
}

fn takes(command: &str, flag: &clap::Arg) -> bool {
    let name = flag.get_long().unwrap_or_default();
    flags_of(command).is_none_or(|taken| {
        taken
            .iter()
            .any(|taken| taken.strip_prefix("--") == Some(name))
    })
}

/// The flag with the help of a command that has its own default.
fn with_own_help(command: &str, flag: &clap::Arg) -> Option<clap::Arg> {
    let is_own = command == "simulate" && flag.get_long() == Some("listen");
    is_own.then(|| {
        flag.clone()
            .help("Listener address [default: 127.0.0.1:4290]")
    })
}

/// The flags that are accepted before and after a command.
fn global_flags(command: &clap::Command) -> Vec<clap::Arg> {
    let flags = command.get_arguments();
    flags.filter(|flag| flag.is_global_set()).cloned().collect()
}

/// The command line to parse. The help of a command shows the flags that it takes.
pub(super) fn with_other_flags_hidden(command: clap::Command) -> clap::Command {
    let flags = global_flags(&command);
    command.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        // An argument of the command itself replaces the global one.
        let own = flags.iter().filter_map(|flag| match takes(&name, flag) {
            true => with_own_help(&name, flag),
            false => Some(flag.clone().hide(true)),
        });
        command.args(own)
    })
}

/// The command line to complete: a command has the flags that it takes, and no others.
///
/// A completion generator offers hidden flags as well, so they are not there.
pub(super) fn with_other_flags_removed(command: clap::Command) -> clap::Command {
    let flags = global_flags(&command);
    command
        .mut_args(|flag| flag.global(false))
        .mut_subcommands(|command| {
            let name = command.get_name().to_owned();
            let taken = flags.iter().filter(|flag| takes(&name, flag));
            let own = |flag: &clap::Arg| with_own_help(&name, flag).unwrap_or_else(|| flag.clone());
            let taken: Vec<_> = taken.map(|flag| own(flag).global(false)).collect();
            command
                .args(taken.clone())
                .mut_subcommands(|command| command.args(taken.clone()))
        })
}
