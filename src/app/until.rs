//! What the gateway runs until: a signal, or the end of a command.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::process::{self, getpid, kill_process};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};
use tracing::warn;

use super::command::{Attended, Command};
use crate::server::tls;

/// What ends the gateway.
pub(super) enum Until {
    Signal(Signals),
    Command(Box<Attended>),
}

/// Why the gateway ends.
pub(super) struct Over {
    /// In words, for the log.
    pub(super) why: &'static str,
    /// From here on `drain.max` counts.
    pub(super) since: Instant,
    /// The exit code that a command gives.
    pub(super) code: Option<ExitCode>,
}

/// Of `drain.max`, the part in tenths that a command has to end after a signal. The rest is for requests under way.
const COMMAND_TENTHS: u32 = 8;

impl Until {
    /// Sets the handlers of signals. Returns the signal that reloads: with a command, that signal is the command's.
    pub(super) fn new(command: Option<Command>) -> io::Result<(Self, Option<Signal>)> {
        Ok(match command {
            None => (
                Self::Signal(Signals::new()?),
                Some(signal(SignalKind::hangup())?),
            ),
            Some(command) => (Self::Command(Box::new(Attended::new(command)?)), None),
        })
    }

    /// Waits until the gateway is to end; `url` is its own, and `serving` serves requests.
    pub(super) async fn over(
        &mut self,
        url: &str,
        drain_max: Duration,
        serving: &mut JoinHandle<()>,
        drain: &Notify,
    ) -> Over {
        match self {
            Self::Signal(signals) => {
                let why = tokio::select! {
                    why = signals.next() => why,
                    () = drain.notified() => {
                        signals.is_first_free = true;
                        "POST /drain"
                    }
                };
                Over {
                    why,
                    since: Instant::now(),
                    code: None,
                }
            }
            Self::Command(command) => {
                let grace = drain_max * COMMAND_TENTHS / 10;
                let broken = async { drop(serving.await) };
                let code = {
                    let mut running = pin!(command.run(url, grace, broken));
                    tokio::select! {
                        code = &mut running => code,
                        () = drain.notified() => {
                            // The command hears of it as of a signal.
                            let _ = kill_process(getpid(), process::Signal::TERM);
                            running.await
                        }
                    }
                };
                Over {
                    why: "the end of the command",
                    since: command.asked().unwrap_or_else(Instant::now),
                    code: Some(ExitCode::from(code)),
                }
            }
        }
    }

    /// The signal that ends the program at once.
    pub(super) async fn second_signal(&mut self) -> &'static str {
        match self {
            Self::Signal(signals) => {
                if signals.is_first_free {
                    signals.next().await;
                }
                signals.next().await
            }
            Self::Command(command) => command.second_stop().await,
        }
    }
}

/// The URL of the data listener for a program on this machine.
pub(super) fn url(listen: SocketAddr, tls: Option<&tls::Settings>) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let Some(tls) = tls else {
        return format!("http://{address}");
    };
    match tls.host_for(ip) {
        Some(host) => format!("https://{host}:{}", address.port()),
        None => format!("https://{address}"),
    }
}

/// The signals that end the program.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// An operator asked for the end: the signal of whoever stops the program for good hurries nothing.
    is_first_free: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            is_first_free: false,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for a signal that ends the program.
pub async fn stop_signal() {
    match Signals::new() {
        Ok(mut signals) => drop(signals.next().await),
        Err(error) => warn!(%error, "Cannot wait for signals; kill the program to end it"),
    }
}
