//! `run --exec`: one command that the gateway runs for, as its client.
//!
//! The command is a process group of its own. It gets the terminal, if the gateway has it, and the signals. When it ends,
//! what it left behind is ended as well.

use std::{
    ffi::OsString,
    io,
    pin::{Pin, pin},
    time::Duration,
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getrlimit, kill_process,
    kill_process_group, set_child_subreaper, wait,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use self::{
    family::Family,
    signals::{Handed, Handing, Handlers},
    start::{cannot_start, start},
    terminal::{Foreground, Terminal},
};

mod environment;
mod family;
mod signals;
mod start;
mod terminal;
#[cfg(test)]
mod tests;

/// What is to be run, and by which variable it is told the gateway's URL.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    variable: String,
    /// The limit of open files before the gateway raises its own.
    limit: Rlimit,
    family: Family,
    terminal: Option<Terminal>,
}

/// The gateway could not run to the end of the command.
const FAILURE: u8 = 1;
/// As shells have it: added to the number of the signal that killed the command.
const KILLED: u8 = 128;

/// What a command leaves behind gets so long to end after SIGTERM.
const REST: Duration = Duration::from_secs(2);
/// What was killed is waited for so long: a process in a system call that does not return cannot be killed.
const KILLING: Duration = Duration::from_secs(3);
/// Pause between two looks at processes whose end nobody tells.
const LOOK: Duration = Duration::from_millis(20);
/// A stop of this process takes effect within this time, if it does at all.
const STOPPING: Duration = Duration::from_millis(100);

impl Command {
    /// Prepares this process for the command: what it starts belongs to it, and a terminal that it has lent does not stop
    /// it. To be called before there is a second thread.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn new(program: OsString, arguments: Vec<OsString>, variable: String) -> io::Result<Self> {
        // Orphans become children of this process, at whatever depth they were.
        set_child_subreaper(Some(getpid()))?;
        terminal::never_stop_for_it()?;
        Ok(Self {
            program,
            arguments,
            variable,
            limit: getrlimit(Resource::Nofile),
            family: Family::of_this_process(),
            terminal: Terminal::of_standard_input(),
        })
    }

    /// Its name in the log. Arguments may be secret.
    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}

/// A command that runs, or will, with what it is attended by.
#[derive(Debug)]
pub(super) struct Attended {
    command: Command,
    handlers: Handlers,
    /// When the first signal came that asks to end.
    asked: Option<std::time::Instant>,
    /// The second one: nothing more is waited for.
    hasty: Option<&'static str>,
}

/// How long the command is waited for.
#[derive(Debug, Clone, Copy)]
enum Patience {
    /// All the time it needs.
    Unlimited,
    /// Until it is killed.
    Until(Instant),
    /// It was killed, and this is when it is given up.
    Killed(Instant),
}

impl Attended {
    /// From here on signals wait for the command.
    pub(super) fn new(command: Command) -> io::Result<Self> {
        Ok(Self {
            command,
            handlers: Handlers::set()?,
            asked: None,
            hasty: None,
        })
    }

    /// When the first signal came that asks to end, if one did.
    pub(super) fn asked(&self) -> Option<std::time::Instant> {
        self.asked
    }

    /// The second signal that asks to end; the first one may have come long ago.
    pub(super) async fn second_stop(&mut self) -> &'static str {
        loop {
            if let Some(signal) = self.hasty {
                return signal;
            }
            let signal = self.handlers.stop().await;
            if self.asked.is_some() {
                self.hasty = Some(signal);
                continue;
            }
            self.asked = Some(std::time::Instant::now());
            info!(target: "referral_gateway", signal, "Ending already; a second signal stops at once");
        }
    }

    /// Runs the command until it has ended and nothing is left of it.
    ///
    /// `grace` is its time between a signal that asks it to end and SIGKILL. `broken` resolves if the gateway can serve it
    /// no more.
    pub(super) async fn run(
        &mut self,
        url: &str,
        grace: Duration,
        broken: impl Future<Output = ()>,
    ) -> u8 {
        if let Some(signal) = self.handlers.stop_so_far().await {
            warn!(target: "referral_gateway", signal, "A signal came before the command was started; it is not started");
            return FAILURE;
        }
        let (program, variable) = (self.command.name(), &self.command.variable);
        let Command {
            program: file,
            arguments,
            limit,
            ..
        } = &self.command;
        let group = match start((file, arguments), (variable, url), *limit) {
            Ok(group) => group,
            Err(failure) => {
                let (code, why) = cannot_start(file, &failure);
                error!(target: "referral_gateway", command = program, exit_code = code, "Cannot start the command: {why}");
                return code;
            }
        };
        info!(target: "referral_gateway", command = program, url, variable, "Started the command");
        if let Some(terminal) = &self.command.terminal {
            terminal.lend(group);
        }
        let (status, is_broken) = self.attend(group, grace, pin!(broken)).await;
        let code = tell(&program, status);
        self.end_rest().await;
        // By then also a group that the command gave it to is no more.
        if let Some(terminal) = &self.command.terminal {
            terminal.take_back(group);
        }
        match code {
            0 if is_broken => FAILURE,
            code => code,
        }
    }

    /// Waits for the end of the command, and hands signals on. There is no status if it cannot be killed. The second value
    /// is whether the gateway broke down meanwhile.
    async fn attend(
        &mut self,
        group: Pid,
        grace: Duration,
        mut broken: Pin<&mut impl Future<Output = ()>>,
    ) -> (Option<WaitStatus>, bool) {
        let (mut patience, mut is_broken) = (Patience::Unlimited, false);
        loop {
            let Handlers { ended, handled } = &mut self.handlers;
            let handed = tokio::select! {
                biased;
                () = ended.next() => None,
                signal = handled.next() => Some(signal),
                () = over(patience) => {
                    if let Patience::Killed(_) = patience {
                        error!(target: "referral_gateway", "The command cannot be killed: it waits in the system");
                        return (None, is_broken);
                    }
                    warn!(target: "referral_gateway", "The command did not end within {grace:?}; killing it");
                    patience = self.kill(group);
                    None
                }
                () = &mut broken, if !is_broken => {
                    is_broken = true;
                    error!(target: "referral_gateway", "The gateway takes no more requests; ending the command");
                    self.ask(group, Signal::TERM);
                    if let Patience::Unlimited = patience {
                        patience = Patience::Until(Instant::now() + grace);
                    }
                    None
                }
            };
            if let Some(signal) = handed {
                let Handed {
                    name,
                    signal,
                    handing,
                } = signal;
                match handing {
                    Handing::Stop if self.asked.is_none() => {
                        self.asked = Some(std::time::Instant::now());
                        info!(target: "referral_gateway", signal = name, "Handed to the command, which has {grace:?} to end; a second signal kills it");
                        self.ask(group, signal);
                        patience = Patience::Until(Instant::now() + grace);
                    }
                    Handing::Stop => {
                        warn!(target: "referral_gateway", signal = name, "A second signal; killing the command");
                        self.hasty = Some(name);
                        patience = self.kill(group);
                    }
                    Handing::Group => send(group, signal),
                    Handing::Command => {
                        let _ = kill_process(group, signal);
                    }
                    Handing::Continue => self.resume(group),
                }
            }
            if let Some(status) = self.reap(group).await {
                return (Some(status), is_broken);
            }
        }
    }

    /// Asks the command to end. A stopped process takes no other signal until it goes on.
    fn ask(&self, group: Pid, signal: Signal) {
        send(group, signal);
        send(group, Signal::CONT);
    }

    fn kill(&self, group: Pid) -> Patience {
        send(group, Signal::KILL);
        self.command.family.send(Signal::KILL);
        Patience::Killed(Instant::now() + KILLING)
    }

    /// Takes note of children that have ended or stopped. Returns how the command ended, once it has.
    async fn reap(&mut self, group: Pid) -> Option<WaitStatus> {
        let mut ended = None;
        // An error says that there is no child.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if status.stopped() {
                if pid == group {
                    self.stopped(group, status).await;
                }
                continue;
            }
            self.command.family.forget(pid);
            if pid == group {
                ended = Some(status);
            }
        }
        ended
    }

    /// The command was stopped. If that is the terminal's doing, this process stops too, so that the shell goes on: to it,
    /// both are one job.
    async fn stopped(&mut self, group: Pid, status: WaitStatus) {
        let Some(terminal) = &self.command.terminal else {
            return;
        };
        let by = status.stopping_signal();
        let for_terminal = [Signal::TTIN, Signal::TTOU].map(|signal| Some(signal.as_raw()));
        match terminal.foreground(group) {
            // It asked for the terminal before it had it.
            Foreground::Command if for_terminal.contains(&by) => return send(group, Signal::CONT),
            Foreground::Ours if for_terminal.contains(&by) => return self.resume(group),
            Foreground::Command => terminal.take_back(group),
            Foreground::Ours | Foreground::Other => {}
        }
        let _ = kill_process(getpid(), Signal::TSTP);
        // A process without a shell that could wake it does not stop.
        let woken = timeout(STOPPING, self.handlers.handled.continued()).await;
        if woken.is_ok() || terminal.foreground(group) == Foreground::Ours {
            self.resume(group);
        }
    }

    /// Lets the command go on, with the terminal if this process has it.
    fn resume(&self, group: Pid) {
        if let Some(terminal) = &self.command.terminal {
            terminal.lend(group);
        }
        send(group, Signal::CONT);
    }

    /// Ends what the command left behind: asks, waits, kills.
    async fn end_rest(&mut self) {
        self.take_in();
        let left = self.command.family.living().len();
        if left == 0 {
            return;
        }
        info!(target: "referral_gateway", processes = left, "Ending what the command left behind");
        if self.hasty.is_none() {
            self.command.family.send(Signal::TERM);
            self.command.family.send(Signal::CONT);
            if self.are_gone_within(REST).await {
                return;
            }
        }
        let until = Instant::now() + KILLING;
        while Instant::now() < until {
            // What a process has started meanwhile is there only now.
            self.command.family.send(Signal::KILL);
            if self.are_gone_within(LOOK).await {
                return;
            }
        }
        let left = self.command.family.living().len();
        error!(target: "referral_gateway", processes = left, "Processes of the command cannot be killed");
    }

    /// Whether nothing is left before the time is over. A second signal that asks to end is the end of waiting.
    async fn are_gone_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            self.take_in();
            if self.command.family.living().is_empty() {
                // The last ones may have ended in between; until they are reaped, their group is there.
                self.take_in();
                return true;
            }
            if Instant::now() >= until || self.hasty.is_some() && time > LOOK {
                return false;
            }
            tokio::select! {
                () = sleep(LOOK.min(time)) => {}
                _ = self.second_stop(), if self.hasty.is_none() => {}
            }
        }
    }

    /// Reaps children that have ended.
    fn take_in(&mut self) {
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            self.command.family.forget(pid);
        }
    }
}

/// Resolves when the time is over.
async fn over(patience: Patience) {
    match patience {
        Patience::Unlimited => std::future::pending().await,
        Patience::Until(time) | Patience::Killed(time) => sleep_until(time).await,
    }
}

/// Logs how the command ended, and returns its exit code. Without a status it still is about to be killed.
fn tell(program: &str, status: Option<WaitStatus>) -> u8 {
    let code = status.and_then(WaitStatus::exit_status);
    if let Some(exit_code) = code.and_then(|code| u8::try_from(code).ok()) {
        info!(target: "referral_gateway", command = program, exit_code, "The command ended");
        return exit_code;
    }
    let signal = status.and_then(WaitStatus::terminating_signal);
    let signal = signal.unwrap_or(Signal::KILL.as_raw());
    let exit_code = KILLED.saturating_add(u8::try_from(signal).unwrap_or_default());
    let signal = signals::name(signal);
    warn!(target: "referral_gateway", command = program, signal, exit_code, "The command was killed by a signal");
    exit_code
}

/// Sends a signal to all processes of a group that are left.
fn send(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}
