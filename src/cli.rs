//! The command line: what can be asked of the program, and the answers.

mod explain;
mod healthcheck;
mod test;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    future::{self, Future},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind};
use clap_complete::Shell;
use serde_json::json;
use tokio::{net::TcpListener, runtime};
use tracing::info;

use crate::{
    app::{self, Prepared},
    config::{self, Config, Loaded, Sources},
    policy::{self, Mode},
    policy_test,
    simulator::{self, Simulator},
};

const NAME: &str = "referral-gateway";

/// Where the simulator listens when it runs alone.
const SIMULATOR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4290);

const ABOUT: &str = "An HTTP policy gateway in front of Microsoft's Partner Center Referrals API.";

const PRECEDENCE: &str = "\
A setting is taken from its flag, else from the environment (REFERRAL_GATEWAY_<SECTION>__<KEY>), else
from the settings file, else it has its default; `config show --origins` tells which.
Exit codes: 0 fine, 1 what was asked about is bad, 2 wrong usage, 3 `explain` says refused.";

/// What the program was asked to do.
#[derive(Debug, Parser)]
#[command(name = NAME, version, about = ABOUT, after_help = PRECEDENCE, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// Settings that have a flag.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
struct Flags {
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
    policy: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        help = "Serves the API [default: 127.0.0.1:4280, of simulate 127.0.0.1:4290]"
    )]
    listen: Option<String>,
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (also without any command)
    Run,
    /// Check settings and policy: print what is wrong, or a summary
    Check {
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Run the tests of policies
    Test(test::Arguments),
    /// Judge one captured request without sending it: raw HTTP, a .http file, a HAR or a curl command
    Explain {
        #[command(flatten)]
        question: explain::Question,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Run the simulator of the Referrals API alone
    Simulate {
        /// Two simulators with the same seed hold the same referrals
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print what the simulator does and how that is known, then exit
        #[arg(long)]
        list_behaviour: bool,
    },
    /// Ask a running gateway whether it is ready
    Healthcheck {
        /// Where to ask, instead of the telemetry listener of the settings
        #[arg(long, value_parser = healthcheck::Url::parse)]
        url: Option<healthcheck::Url>,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Show settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the JSON Schema of a file, for editors
    Schema {
        /// Which file
        of: SchemaOf,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the settings in force
    Show {
        /// Also say where each value comes from
        #[arg(long)]
        origins: bool,
        #[command(flatten)]
        output: OutputFlag,
    },
}

#[derive(Debug, clap::Args)]
struct OutputFlag {
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemaOf {
    Config,
    Policy,
    PolicyTest,
}

impl Arguments {
    /// Reads the arguments of the process. The error knows its text and its exit code.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = command_line().try_get_matches()?;
        let arguments = Self::from_arg_matches(&matches)?;
        let name = matches.subcommand_name().unwrap_or_default();
        // A flag that would change nothing is a mistake, and silence would hide it.
        match arguments.unused(name) {
            None => Ok(arguments),
            Some(flag) => {
                let mut command = command_line();
                command.build();
                let command = command.find_subcommand_mut(name);
                let mut command = command.map_or_else(command_line, |command| command.clone());
                let text = format!("{flag} means nothing to this command");
                Err(command.error(ErrorKind::ArgumentConflict, text))
            }
        }
    }

    fn unused(&self, name: &str) -> Option<&'static str> {
        let used = match &self.command {
            Some(
                Command::Simulate {
                    list_behaviour: true,
                    ..
                }
                | Command::Healthcheck { url: Some(_), .. },
            ) => &[],
            _ => flags_of(name)?,
        };
        let config = self.flags.config.as_ref().map(|_| "--config");
        let given = self.flags.values().map(|(flag, ..)| flag);
        config
            .into_iter()
            .chain(given)
            .find(|flag| !used.contains(flag))
    }
}

/// The settings' flags that a command looks at, where those are not all.
fn flags_of(command: &str) -> Option<&'static [&'static str]> {
    match command {
        "simulate" => Some(&["--config", "--listen", "--log-format", "--log-level"]),
        "healthcheck" => Some(&["--config", "--telemetry"]),
        "test" => Some(&["--policy"]),
        "explain" => Some(&["--config", "--policy", "--upstream"]),
        "schema" | "completions" => Some(&[]),
        _ => None,
    }
}

/// The command line. The help of a command shows the flags that it looks at.
fn command_line() -> clap::Command {
    let command = Arguments::command();
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

    fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            environment: env::vars_os().collect::<Vec<(OsString, OsString)>>(),
            flags: self.values().collect(),
        }
    }
}

/// Does what the arguments ask for.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, flags } = arguments;
    match command.unwrap_or(Command::Run) {
        Command::Run => {
            let prepared = app::prepare(flags.sources())?;
            block_on(gateway(prepared))?
        }
        Command::Test(arguments) => test::test(&arguments, flags.policy.as_deref()),
        Command::Check { output } => check(flags.sources(), output.output),
        Command::Explain { question, output } => {
            let Loaded { config, policy, .. } = config::load_all(flags.sources())?;
            explain::explain(&question, &config.settings, policy, output.output)
        }
        Command::Simulate {
            list_behaviour: true,
            ..
        } => print(&simulator::behaviour_table()),
        Command::Simulate { seed, .. } => block_on(simulate(flags, seed))?,
        Command::Healthcheck { url, output } => {
            let url = match url {
                Some(url) => url,
                None => healthcheck::Url::of(
                    config::load(flags.sources())?
                        .settings
                        .admin
                        .telemetry_listen,
                )?,
            };
            block_on(healthcheck(url, output.output))?
        }
        Command::Config {
            command: ConfigCommand::Show { origins, output },
        } => {
            let config = config::load(flags.sources())?;
            match output.output {
                Output::Text => print(&config.show(origins)),
                Output::Json => print(&format!("{:#}\n", config.to_json())),
            }
        }
        Command::Schema {
            of: SchemaOf::Config,
        } => print(&format!("{:#}\n", config::schema())),
        Command::Schema {
            of: SchemaOf::Policy,
        } => print(&format!("{:#}\n", policy::schema())),
        Command::Schema {
            of: SchemaOf::PolicyTest,
        } => print(&format!("{:#}\n", policy_test::schema())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), NAME, &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Checks settings and policy, and says all that is wrong with either.
fn check(sources: Sources, output: Output) -> anyhow::Result<ExitCode> {
    let Prepared { config, policy, .. } = match app::prepare(sources) {
        Ok(prepared) => prepared,
        Err(error) => {
            let problems: Vec<String> = error.problems().map(ToString::to_string).collect();
            match output {
                Output::Text => print(&format!("{}\n", problems.join("\n")))?,
                Output::Json => print(&format!(
                    "{:#}\n",
                    json!({ "ok": false, "problems": problems })
                ))?,
            };
            return Ok(ExitCode::FAILURE);
        }
    };
    let settings = &config.settings;
    let (listen, telemetry) = (settings.listen, settings.admin.telemetry_listen);
    let (admin, upstream) = (settings.admin.listen, config.upstream());
    let (name, rules, digest) = (&policy.name, policy.rules.len(), &policy.digest);
    let every = [
        Mode::Enforce,
        Mode::Repair,
        Mode::Warn,
        Mode::Audit,
        Mode::Off,
    ];
    let modes: Vec<(&str, Vec<&str>)> = every
        .into_iter()
        .map(|mode| {
            let rules = policy.rules.iter().filter(|rule| rule.mode == mode);
            (mode.as_str(), rules.map(|rule| &*rule.id).collect())
        })
        .filter(|(_, rules): &(_, Vec<_>)| !rules.is_empty())
        .collect();
    let tenants: BTreeMap<&str, Vec<String>> = policy
        .tenants()
        .map(|(alias, _)| {
            let rules = policy.of(Some(alias)).rules.iter().zip(&policy.rules);
            let own = rules.filter(|(own, rule)| own.mode != rule.mode);
            let own = own.map(|(own, _)| format!("{} {}", own.mode.as_str(), own.id));
            (alias, own.collect())
        })
        .collect();
    let warnings = config.warnings();
    match output {
        Output::Text => print(&format!(
            "Settings and policy are fine.\n\
             listen     {listen}\n\
             telemetry  {telemetry}\n\
             admin      {admin}\n\
             upstream   {upstream}\n\
             policy     {name}, {rules} rules, {digest}\n\
             {}{}{}",
            modes
                .iter()
                .map(|(mode, rules)| format!("{mode:<11}{}\n", rules.join(", ")))
                .collect::<String>(),
            tenants
                .iter()
                .map(|(alias, rules)| format!("for {alias}: {}\n", rules.join(", ")))
                .collect::<String>(),
            warnings
                .iter()
                .map(|warning| format!("Warning: {warning}\n"))
                .collect::<String>(),
        )),
        Output::Json => print(&format!(
            "{:#}\n",
            json!({
                "ok": true,
                "problems": [],
                "listen": listen,
                "telemetry": telemetry,
                "admin": admin,
                "upstream": upstream,
                "policy": {
                    "name": name,
                    "rules": rules,
                    "digest": digest,
                    "modes": modes
                        .iter()
                        .map(|(mode, rules)| ((*mode).to_owned(), json!(rules)))
                        .collect::<serde_json::Map<_, _>>(),
                    "tenants": tenants,
                },
                "warnings": warnings,
            })
        )),
    }
}

/// Runs the gateway, with the simulator behind it if that is asked for.
async fn gateway(mut prepared: Prepared) -> anyhow::Result<ExitCode> {
    if prepared.config.wants_simulator() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot start the simulator")?;
        prepared.config.put_simulator_at(listener.local_addr()?);
        let simulator = Arc::new(Simulator::new(simulator::Settings::default()));
        // It ends with the runtime: the gateway's requests are over by then.
        tokio::spawn(simulator::serve(listener, simulator, future::pending()));
    }
    app::run(prepared).await
}

/// Runs the simulator until a signal comes.
async fn simulate(flags: Flags, seed: u64) -> anyhow::Result<ExitCode> {
    let listen = match &flags.listen {
        Some(listen) => listen.parse().with_context(|| {
            format!("--listen {listen:?} is not an address; write one such as {SIMULATOR}")
        })?,
        None => SIMULATOR,
    };
    // The settings matter only for the log; where the gateway listens is another thing.
    let Config { settings, .. } = config::load(
        Flags {
            listen: None,
            ..flags
        }
        .sources(),
    )?;
    app::start_log(&settings.log)?;
    let listener = app::listen(listen, "--listen").await?;
    let listen = listener.local_addr()?;
    let simulator = Simulator::new(simulator::Settings {
        seed,
        ..simulator::Settings::default()
    });
    info!(target: "referral_gateway", %listen, "Ready");
    simulator::serve(listener, Arc::new(simulator), app::stop_signal()).await;
    Ok(ExitCode::SUCCESS)
}

async fn healthcheck(url: healthcheck::Url, output: Output) -> anyhow::Result<ExitCode> {
    let answer = url.ask().await;
    let is_ready = matches!(&answer, Ok(status) if status.is_success());
    match output {
        Output::Text => match &answer {
            Ok(status) if is_ready => print(&format!("ready: {url} answers {status}\n"))?,
            Ok(status) => print(&format!("not ready: {url} answers {status}\n"))?,
            Err(error) => print(&format!("not ready: {url}: {error:#}\n"))?,
        },
        Output::Json => {
            let status = answer.as_ref().ok().map(|status| status.as_u16());
            let error = answer.as_ref().err().map(|error| format!("{error:#}"));
            let answer = json!({ "ready": is_ready, "url": url.to_string(), "status": status, "error": error });
            print(&format!("{answer:#}\n"))?
        }
    };
    Ok(if is_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes an answer to standard output. A reader who has seen enough is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Runs a future on as many threads as there are cores; one core needs no second thread.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut runtime = match thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => {
            let mut runtime = runtime::Builder::new_multi_thread();
            runtime.worker_threads(cores.get());
            runtime
        }
        _ => runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // What still runs waits for a name server, or for a file on a disk that is gone.
    runtime.shutdown_background();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }
}
