//! The processes that come from the command, also those that left its process group.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// All that descends from this process, but for children that it had before.
#[derive(Debug)]
pub(super) struct Family {
    strangers: HashSet<i32>,
}

/// A line of `/proc/<pid>/stat`.
struct Process {
    id: i32,
    parent: i32,
    is_dead: bool,
}

impl Family {
    /// Whoever started this process by `exec` may have left it children.
    pub(super) fn of_this_process() -> Self {
        let own = getpid().as_raw_nonzero().get();
        let children = processes().filter(|process| process.parent == own);
        Self {
            strangers: children.map(|process| process.id).collect(),
        }
    }

    /// A child was reaped: its number may be used again.
    pub(super) fn forget(&mut self, child: Pid) {
        self.strangers.remove(&child.as_raw_nonzero().get());
    }

    /// Those that have not ended.
    pub(super) fn living(&self) -> Vec<Pid> {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for process in processes() {
            children.entry(process.parent).or_default().push(process);
        }
        let (mut living, mut parents) = (Vec::new(), vec![getpid().as_raw_nonzero().get()]);
        while let Some(parent) = parents.pop() {
            for process in children.remove(&parent).unwrap_or_default() {
                if self.strangers.contains(&process.id) {
                    continue;
                }
                parents.push(process.id);
                if !process.is_dead {
                    living.extend(Pid::from_raw(process.id));
                }
            }
        }
        living
    }

    /// Sends all of them a signal.
    pub(super) fn send(&self, signal: Signal) {
        for process in self.living() {
            let _ = kill_process(process, signal);
        }
    }
}

/// All processes that can be seen.
fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("stat")).ok()?;
        process(id, &String::from_utf8_lossy(&line))
    })
}

/// A program may have any name, so what follows it begins behind the last parenthesis.
fn process(id: i32, line: &str) -> Option<Process> {
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    Some(Process {
        id,
        parent: parent.parse().ok()?,
        is_dead: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        for (line, parent, is_dead) in [
            ("12 (sh) S 7 12 12 34816", 7, false),
            ("12 (a) Z 1 (b) R 9 12 12", 9, false),
            ("12 (x\n) ) Z 3 12 12", 3, true),
        ] {
            let process = process(12, line).expect(line);
            assert_eq!((process.parent, process.is_dead), (parent, is_dead));
        }
        assert!(process(12, "12 (sh").is_none());
    }
}
