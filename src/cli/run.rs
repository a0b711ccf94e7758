//! `run`: the gateway, and on request the simulator as its upstream, or a command as its client.

use std::{ffi::OsString, future, net::Ipv4Addr, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::ValueHint;
use tokio::net::TcpListener;

use super::runtime::block_on;
use crate::{
    app::{self, Prepared, Sockets},
    config::Sources,
    simulator::{self, Simulator},
};

/// The variable that names the gateway's URL. It is none of the settings' variables: those begin with `REFERRAL_GATEWAY_`,
/// where an unknown name is an error.
const URL_VARIABLE: &str = "REFERRALS_BASE_URL";

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Run a command once the gateway is ready, and end with it and its exit code
    #[arg(long, requires = "command")]
    exec: bool,
    #[arg(
        long,
        help = "Environment variable that tells the command the gateway's URL [default: REFERRALS_BASE_URL]",
        value_name = "NAME",
        value_hint = ValueHint::Other,
        value_parser = variable,
        requires = "exec"
    )]
    exec_env: Option<String>,
    /// Command of --exec, and its arguments
    #[arg(
        last = true,
        requires = "exec",
        value_name = "COMMAND",
        value_hint = ValueHint::CommandWithArguments
    )]
    command: Vec<OsString>,
}

/// A name that an environment can hold.
fn variable(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    match is_name {
        true if name.starts_with("REFERRAL_GATEWAY_") => Err(
            "names that begin with REFERRAL_GATEWAY_ are those of settings; write another one"
                .to_owned(),
        ),
        true => Ok(name.to_owned()),
        false => Err(format!(
            "write letters, digits and underscores, for example {URL_VARIABLE}"
        )),
    }
}

/// Runs the gateway until a signal comes, or until its command ends.
pub(super) fn run(arguments: Arguments, sources: Sources) -> anyhow::Result<ExitCode> {
    // Ahead of all threads.
    let sockets = Sockets::from_service_manager()?;
    let prepared = app::prepare(sources)?;
    let mut words = arguments.command.into_iter();
    let command = match words.next() {
        None => None,
        Some(program) => {
            let variable = arguments
                .exec_env
                .unwrap_or_else(|| URL_VARIABLE.to_owned());
            let command = app::Command::new(program, words.collect(), variable);
            Some(command.context("cannot prepare for a command")?)
        }
    };
    block_on(gateway(prepared, sockets, command))?
}

async fn gateway(
    mut prepared: Prepared,
    sockets: Sockets,
    command: Option<app::Command>,
) -> anyhow::Result<ExitCode> {
    if prepared.config.wants_simulator() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot start the simulator")?;
        prepared.config.put_simulator_at(listener.local_addr()?);
        let simulator = Arc::new(Simulator::new(simulator::Settings::default()));
        // It ends with the runtime: the gateway's requests are over by then.
        tokio::spawn(simulator::serve(listener, simulator, future::pending()));
    }
    app::run(prepared, sockets, command).await
}
