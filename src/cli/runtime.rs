//! The runtime in which commands wait for the network.

use std::{future::Future, thread};

use anyhow::Context as _;
use tokio::runtime;

/// Runs a future on as many threads as there are cores; one core needs no second thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
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
