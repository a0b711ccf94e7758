//! Signals on their way to the command.

use std::{
    fs,
    future::{poll_fn, ready},
    io,
    task::Poll,
};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// How a signal is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handing {
    /// To the whole group; the command is to end.
    Stop,
    /// To the whole group, as a terminal sends it.
    Group,
    /// To the command alone: what it starts need not know the signal, and would die of it.
    Command,
    /// This process was stopped and goes on.
    Continue,
}

/// A signal that is handed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed {
    pub(super) name: &'static str,
    pub(super) signal: Signal,
    pub(super) handing: Handing,
}

const fn handed(name: &'static str, signal: Signal, handing: Handing) -> Handed {
    Handed {
        name,
        signal,
        handing,
    }
}

const TABLE: [Handed; 8] = [
    handed("SIGTERM", Signal::TERM, Handing::Stop),
    handed("SIGINT", Signal::INT, Handing::Stop),
    handed("SIGQUIT", Signal::QUIT, Handing::Group),
    handed("SIGHUP", Signal::HUP, Handing::Group),
    handed("SIGWINCH", Signal::WINCH, Handing::Group),
    handed("SIGUSR1", Signal::USR1, Handing::Command),
    handed("SIGUSR2", Signal::USR2, Handing::Command),
    handed("SIGCONT", Signal::CONT, Handing::Continue),
];

/// The handlers of this process.
#[derive(Debug)]
pub(super) struct Handlers {
    /// Children that ended or stopped.
    pub(super) ended: Ended,
    pub(super) handled: Handled,
}

#[derive(Debug)]
pub(super) struct Ended(Stream);

#[derive(Debug)]
pub(super) struct Handled(Vec<(Handed, Stream)>);

impl Handlers {
    /// Sets them. A signal that was ignored at the start stays so, here and in the command: `nohup` and shells without job
    /// control ask for it.
    pub(super) fn set() -> io::Result<Self> {
        let ignored = ignored();
        let kept = TABLE.into_iter().filter(|handed| {
            handed.signal == Signal::TERM || ignored >> (handed.signal.as_raw() - 1) & 1 == 0
        });
        let handled: io::Result<Vec<_>> = kept
            .map(|handed| {
                let kind = SignalKind::from_raw(handed.signal.as_raw());
                Ok((handed, signal(kind)?))
            })
            .collect();
        Ok(Self {
            ended: Ended(signal(SignalKind::child())?),
            handled: Handled(handled?),
        })
    }

    /// The next signal that asks to end.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            let Handed { name, handing, .. } = self.handled.next().await;
            if handing == Handing::Stop {
                return name;
            }
        }
    }

    /// A signal that asks to end and has come already.
    pub(super) async fn stop_so_far(&mut self) -> Option<&'static str> {
        tokio::select! {
            biased;
            name = self.stop() => Some(name),
            () = ready(()) => None,
        }
    }
}

impl Ended {
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl Handled {
    /// The next signal.
    pub(super) async fn next(&mut self) -> Handed {
        self.one_of(|_| true).await
    }

    /// The next SIGCONT.
    pub(super) async fn continued(&mut self) {
        self.one_of(|handed| handed.handing == Handing::Continue)
            .await;
    }

    async fn one_of(&mut self, is_wanted: impl Fn(&Handed) -> bool) -> Handed {
        poll_fn(|cx| {
            let mut wanted = self.0.iter_mut().filter(|(handed, _)| is_wanted(handed));
            let come = wanted.find_map(|(handed, stream)| {
                let has_come = matches!(stream.poll_recv(cx), Poll::Ready(Some(())));
                has_come.then_some(*handed)
            });
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The signals that are ignored, bit by bit.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// The name of a signal, or its number.
pub(super) fn name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => number.to_string(),
    }
}
