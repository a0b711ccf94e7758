//! `run`: the gateway, and on request the simulator as its upstream.

use std::{future, net::Ipv4Addr, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::runtime::block_on;
use crate::{
    app::{self, Prepared, Sockets},
    config::Sources,
    simulator::{self, Simulator},
};

/// Runs the gateway until a signal comes.
pub(super) fn run(sources: Sources) -> anyhow::Result<ExitCode> {
    // Ahead of all threads.
    let sockets = Sockets::from_service_manager()?;
    let prepared = app::prepare(sources)?;
    block_on(gateway(prepared, sockets))?
}

async fn gateway(mut prepared: Prepared, sockets: Sockets) -> anyhow::Result<ExitCode> {
    if prepared.config.wants_simulator() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot start the simulator")?;
        prepared.config.put_simulator_at(listener.local_addr()?);
        let simulator = Arc::new(Simulator::new(simulator::Settings::default()));
        // It ends with the runtime: the gateway's requests are over by then.
        tokio::spawn(simulator::serve(listener, simulator, future::pending()));
    }
    app::run(prepared, sockets).await
}
