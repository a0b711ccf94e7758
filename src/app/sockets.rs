//! Sockets that a service manager has opened for the listeners (systemd's socket activation), and what it is told.

use std::{env, net::TcpListener as Opened};

use anyhow::{Context as _, bail, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::net::TcpListener;
use tracing::debug;

use crate::server::Listener;

/// The sockets that a service manager has opened; none of most starts.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) data: Option<Opened>,
    pub(super) telemetry: Option<Opened>,
    pub(super) admin: Option<Opened>,
}

impl Sockets {
    /// Takes the sockets that the environment names (`sd_listen_fds(3)`). It changes the environment, so no other thread
    /// may run.
    ///
    /// # Errors
    ///
    /// When they are no sockets that listen, or nobody knows for which listener they are.
    pub fn from_service_manager() -> anyhow::Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut sockets = Self::default();
        let count = given.len();
        for at in 0..count {
            let name = names.split(':').nth(at).unwrap_or_default();
            let place = match (name, count) {
                ("telemetry", _) => &mut sockets.telemetry,
                ("admin", _) => &mut sockets.admin,
                // A socket unit without FileDescriptorName= gives its own name.
                ("data", _) | (_, 1) => &mut sockets.data,
                _ => bail!(
                    "socket {at} of the service manager is named `{name}`; name each by FileDescriptorName=: \
                     data, telemetry or admin"
                ),
            };
            ensure!(
                place.is_none(),
                "two sockets of the service manager are named `{name}`; give each listener one"
            );
            let which = match name {
                "" => format!("socket {at} of the service manager"),
                name => format!("socket {at} of the service manager (`{name}`)"),
            };
            let remedy = "write a TCP address as ListenStream=, and leave Accept= off";
            let socket = given
                .take_tcp_listener(at)
                .with_context(|| format!("{which}; {remedy}"))?
                .with_context(|| format!("{which} is gone"))?;
            let listens = SockRef::from(&socket).is_listener().unwrap_or_default();
            ensure!(listens, "{which} does not listen; {remedy}");
            *place = Some(socket);
        }
        Ok(sockets)
    }
}

/// A listener on a socket that a service manager has opened. It stays open there when this program ends, with the
/// connections that wait.
pub(super) fn take(socket: Opened) -> anyhow::Result<Listener> {
    socket.set_nonblocking(true)?;
    Ok(Listener {
        socket: TcpListener::from_std(socket)?,
        is_ours: false,
    })
}

/// Tells a service manager that waits for it (`sd_notify(3)`).
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "The service manager cannot be told");
    }
}

/// Tells it that settings and policy are read again.
pub(super) fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}
