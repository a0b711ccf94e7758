//! The terminal, which the gateway lends to the command.

use std::io::{IsTerminal as _, Stdin, stdin};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    process::{Pid, getpgrp, test_kill_process_group},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// The terminal that is standard input.
#[derive(Debug)]
pub(super) struct Terminal {
    input: Stdin,
    own: Pid,
}

/// Who reads from the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreground {
    Ours,
    Command,
    Other,
}

/// While the command has the terminal, this process is in the background: taking the terminal back, or writing the log to
/// one that asks for it (`stty tostop`), would stop it by SIGTTOU. Threads that are started later block it too, and the
/// command does not: a new process begins without blocked signals.
pub(super) fn never_stop_for_it() -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTOU);
    Ok(signals.thread_block()?)
}

impl Terminal {
    /// Standard input, if it is the terminal of this process's session.
    pub(super) fn of_standard_input() -> Option<Self> {
        let input = stdin();
        let is_controlling = input.is_terminal() && tcgetpgrp(&input).is_ok();
        is_controlling.then(|| Self {
            input,
            own: getpgrp(),
        })
    }

    pub(super) fn foreground(&self, command: Pid) -> Foreground {
        match tcgetpgrp(&self.input) {
            Ok(group) if group == self.own => Foreground::Ours,
            Ok(group) if group == command => Foreground::Command,
            _ => Foreground::Other,
        }
    }

    /// Gives it to the command, if this process has it.
    pub(super) fn lend(&self, command: Pid) {
        if self.foreground(command) == Foreground::Ours {
            let _ = tcsetpgrp(&self.input, command);
        }
    }

    /// Takes it back from the command, or from a group of its children that is no more.
    pub(super) fn take_back(&self, command: Pid) {
        let is_free = match tcgetpgrp(&self.input) {
            Ok(group) => group == command || test_kill_process_group(group).is_err(),
            Err(_) => false,
        };
        if is_free {
            let _ = tcsetpgrp(&self.input, self.own);
        }
    }
}
