//! The programs of the machine that the tests start: those that `./tests/run` installs, and those
//! that every Debian has.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::OnceLock,
};

/// Programs of Debian's Essential packages.
const ESSENTIAL: [&str; 36] = [
    "base64",
    "bash",
    "basename",
    "cat",
    "chmod",
    "chroot",
    "cp",
    "cut",
    "dirname",
    "dpkg",
    "dpkg-deb",
    "env",
    "find",
    "grep",
    "head",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "perl",
    "rm",
    "sed",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stty",
    "tail",
    "tar",
    "touch",
    "tr",
    "true",
    "uniq",
];

/// A program, started with the environment of the tests.
#[track_caller]
pub(crate) fn tool(name: &str) -> Command {
    assert!(
        may_start(name),
        "{name} is not a tool of the tests: tests/run lists and installs them"
    );
    assert!(
        in_path(name).is_some(),
        "{name} is not installed: ./tests/run installs what the tests use"
    );
    Command::new(name)
}

/// A shell, started with an empty environment but for a `PATH` with the programs that [`tool`] takes.
#[track_caller]
pub(crate) fn shell(name: &str) -> Command {
    let mut command = tool(name);
    command.env_clear().env("PATH", folder());
    command
}

/// The folder that is the `PATH` of [`shell`].
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // A dot begins what another run of the tests is about to put in place.
            if !name.starts_with('.') && !may_start(name) {
                fs::remove_file(path).ok();
            }
        }
        let installed = installed();
        let names = ESSENTIAL.iter().copied();
        // A program that is named by its path needs no link.
        let named = installed.iter().filter(|name| !name.contains('/'));
        for name in names.chain(named.map(String::as_str)) {
            if let Some(program) = in_path(name) {
                // Another run of the tests may use the link that is there.
                let new = folder.join(format!(".{name}.{}", process::id()));
                symlink(program, &new).unwrap();
                fs::rename(new, folder.join(name)).unwrap();
            }
        }
        folder
    })
}

/// The programs that `./tests/run` installs for the tests.
pub(crate) fn installed() -> Vec<String> {
    listed("tools")
}

/// The modules of Debian's Python that `./tests/run` installs for the tests.
pub(crate) fn modules() -> Vec<String> {
    listed("modules")
}

fn listed(list: &str) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
    let script = fs::read_to_string(script).unwrap();
    let (_, list) = script.split_once(&format!("\n{list}+=(\n")).unwrap();
    let (list, _) = list.split_once("\n)\n").unwrap();
    let name = |line: &str| line.trim().split_once(':').unwrap().0.to_owned();
    list.lines().map(name).collect()
}

fn may_start(name: &str) -> bool {
    ESSENTIAL.contains(&name) || installed().iter().any(|installed| installed == name)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file())
}

/// What a command says that must succeed.
#[track_caller]
pub(crate) fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{stdout}{stderr}");
    stdout
}
