//! File descriptors: raises their limit, and shares them out, so that no listener takes those of another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

#[cfg(test)]
mod tests;

/// The most connections at once on the telemetry and on the admin listener, each.
const OWN_CONNECTIONS: usize = 128;
/// The least, however low the limit is: a scrape and a few probes.
const LEAST_OWN: usize = 4;
/// A low limit gives each of these listeners this part of it.
const OWN_PART: usize = 16;
/// Listeners, standard streams, the runtime's own descriptors, files that are read, and callers that are turned away.
const FILES: usize = 64;

/// How many connections each listener may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The data listener.
    pub(super) data: usize,
    /// The telemetry and the admin listener, each.
    pub(super) own: usize,
    /// The upstream.
    pub(super) upstream: usize,
}

impl Share {
    /// The share of this process, whose limit is raised as far as the system allows. Warns if that is less than what
    /// the settings need.
    pub(super) fn of_process(max_connections: usize, max_upstream: usize) -> Self {
        let limit = raised();
        let share = Self::of(limit, max_connections, max_upstream);
        let (needed, connections) = (needed(max_connections, max_upstream), share.data);
        let upstream = share.upstream;
        if limit < needed {
            warn!(
                target: "referral_gateway",
                limit,
                needed,
                connections,
                upstream,
                "The limit of open files is {limit}, and downstream.max_connections ({max_connections}) and the rest need {needed}: of the connections, callers get {connections} and the service {upstream}. Raise the limit (LimitNOFILE= in a systemd unit, `ulimit -n` in a shell, the setting of the container runtime), or lower downstream.max_connections to {connections}"
            );
        }
        share
    }

    /// Each connection of a caller may need one to the upstream, so both get as many, until the upstream has all that it
    /// may have.
    fn of(limit: usize, max_connections: usize, max_upstream: usize) -> Self {
        let is_enough = limit >= needed(max_connections, max_upstream);
        let own = match is_enough {
            true => OWN_CONNECTIONS,
            false => (limit / OWN_PART).clamp(LEAST_OWN, OWN_CONNECTIONS),
        };
        let rest = limit.saturating_sub(FILES + 2 * own);
        let data = match is_enough {
            true => max_connections,
            false => (rest - rest.div_ceil(2).min(max_upstream)).clamp(1, max_connections),
        };
        Self {
            data,
            own,
            upstream: rest.saturating_sub(data).clamp(1, max_upstream),
        }
    }
}

/// The limit at which all listeners get what they are set to.
fn needed(max_connections: usize, max_upstream: usize) -> usize {
    FILES
        .saturating_add(2 * OWN_CONNECTIONS)
        .saturating_add(max_connections)
        .saturating_add(max_connections.min(max_upstream))
}

/// The limit of open files, raised to the hard one.
fn raised() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match current == maximum {
        true => current,
        false => match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(error) => {
                warn!(target: "referral_gateway", %error, "Cannot raise the limit of open files");
                current
            }
        },
    };
    // None is no limit.
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
