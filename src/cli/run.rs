//! `run`: the gateway, with the simulator behind it if that is asked for.

use std::{future, net::Ipv4Addr, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::runtime::block_on;
use crate::{
    app,
    config::{self, Loaded, Sources},
    simulator::{self, Simulator},
};

/// Runs the gateway until a signal comes.
pub(super) fn run(sources: Sources) -> anyhow::Result<ExitCode> {
    let loaded = config::load_all(sources.clone())?;
    block_on(gateway(loaded, sources))?
}

async fn gateway(mut loaded: Loaded, sources: Sources) -> anyhow::Result<ExitCode> {
    if loaded.config.wants_simulator() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot start the simulator")?;
        loaded.config.put_simulator_at(listener.local_addr()?);
        let simulator = Arc::new(Simulator::new(simulator::Settings::default()));
        // It ends with the runtime: the gateway's requests are over by then.
        tokio::spawn(simulator::serve(listener, simulator, future::pending()));
    }
    app::run(loaded, sources).await
}
