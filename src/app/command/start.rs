//! How a command is started, and why one cannot be.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, ErrorKind},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use super::environment::without_proxy;

/// As shells have it: the command was found, but cannot be executed.
const CANNOT_EXECUTE: u8 = 126;
/// As shells have it: there is no such command.
const NOT_FOUND: u8 = 127;

/// Starts a program as a process group of its own, with this limit of open files. A variable tells it the gateway's URL.
pub(super) fn start(
    (program, arguments): (&OsStr, &[OsString]),
    (variable, url): (&str, &str),
    limit: Rlimit,
) -> io::Result<Pid> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(without_proxy(url, |name| env::var_os(name)))
        .env(variable, url)
        .process_group(0);
    // A program that goes through all descriptors up to the limit, or puts them into a set of 1024, must not meet the
    // gateway's.
    let raised = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, limit);
    let started = command.spawn();
    let _ = setrlimit(Resource::Nofile, raised);
    let id = i32::try_from(started?.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the process has no id"))
}

/// The exit code for a command that cannot be started, and why.
pub(super) fn cannot_start(program: &OsStr, error: &io::Error) -> (u8, String) {
    let path = Path::new(program);
    let is_path = path.components().count() > 1 || path.is_absolute();
    match error.kind() {
        ErrorKind::NotFound if is_path && path.is_file() => (
            CANNOT_EXECUTE,
            "the interpreter that its first line names, or its loader, does not exist".to_owned(),
        ),
        ErrorKind::NotFound if is_path => (NOT_FOUND, "no such file".to_owned()),
        ErrorKind::NotFound => (NOT_FOUND, "not found in PATH".to_owned()),
        ErrorKind::PermissionDenied => (
            CANNOT_EXECUTE,
            "it is not executable, or this user may not execute it (chmod +x)".to_owned(),
        ),
        ErrorKind::NotADirectory => (NOT_FOUND, "no such file".to_owned()),
        _ => {
            let text = error.to_string();
            let (words, _) = text.split_once(" (os error").unwrap_or((&text, ""));
            (CANNOT_EXECUTE, words.to_owned())
        }
    }
}
