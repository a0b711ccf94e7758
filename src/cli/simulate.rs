//! `simulate`: the simulator of the Referrals API alone.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use tracing::info;

use super::{flags::Flags, output::print, runtime::block_on};
use crate::{
    app,
    config::{self, Config},
    simulator::{self, Simulator},
};

/// Where the simulator listens when it runs alone.
const SIMULATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4290);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The same seed makes the same referrals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print what the simulator does and how that is known, then exit
    #[arg(long)]
    pub(super) list_behaviour: bool,
}

/// Runs the simulator until a signal comes, or lists what it does.
pub(super) fn simulate(arguments: &Arguments, flags: Flags) -> anyhow::Result<ExitCode> {
    match arguments.list_behaviour {
        true => print(&simulator::behaviour_table()),
        false => block_on(serve(flags, arguments.seed))?,
    }
}

async fn serve(mut flags: Flags, seed: u64) -> anyhow::Result<ExitCode> {
    // It is the simulator's address; the settings have that of the gateway, and matter here only for the log.
    let listen = match flags.listen.take() {
        Some(listen) => listen.parse().with_context(|| {
            format!("--listen {listen:?} is not an address; write one such as {SIMULATOR}")
        })?,
        None => SIMULATOR,
    };
    let Config { settings, .. } = config::load(flags.sources())?;
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
