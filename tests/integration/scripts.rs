//! The scripts that a new user starts: what they install, what they say, what they run.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use super::support::tools::{self, shell, tool};

const SCRIPTS: [&str; 12] = [
    "deploy/run",
    "deploy/release",
    "deploy/package",
    "deploy/cargo-deb",
    "deploy/debian/postinst",
    "deploy/debian/postrm",
    "deploy/debian/prerm",
    "deploy/copies",
    "deploy/compose/traffic/traffic",
    "tests/run",
    "tests/deploy/install",
    ".ci/run",
];

/// A cargo that prints its arguments, one in each pair of brackets.
const CARGO: (&str, &str) = (
    "cargo",
    "if [ \"$1\" = --version ]; then echo 'cargo 1.95.0 (abc 2026-01-01)'; exit; fi
     printf '[%s]' \"$@\"; exit 7",
);

#[test]
fn the_scripts_are_clean_and_can_be_started() {
    let mut check = tool("shellcheck");
    check.args(SCRIPTS).arg("deploy/debian.sh");
    let clients = sources_of(&root().join("tests/clients"), "install");
    assert!(clients.len() >= 4);
    check.args(clients.iter().map(|(path, _)| path));
    check.args([
        "tests/clients/java/start",
        "tests/clients/curl/adapter",
        "tests/integration/packages/in_a_copy.sh",
    ]);
    let output = check.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for script in SCRIPTS {
        let mode = fs::metadata(root().join(script))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
    }
}

#[test]
fn every_program_that_a_test_starts_is_a_tool_of_the_tests() {
    // Our own binary and the cargo that runs the tests, all else goes by `tools`, which knows the list.
    let ours = ["program()", "env!(\"CARGO"];
    for (file, text) in sources() {
        for call in text.split(concat!("Command::", "new(")).skip(1) {
            let call = call.trim_start();
            assert!(
                file.ends_with("support/tools.rs")
                    || ours.iter().any(|ours| call.starts_with(ours)),
                "{} starts {}: use tool() or shell()",
                file.display(),
                call.lines().next().unwrap()
            );
        }
    }
}

#[test]
fn every_tool_of_the_tests_is_started_by_one() {
    let mut lines: String = sources().into_iter().map(|(_, text)| text).collect();
    lines.push_str(&fs::read_to_string(root().join("README.md")).unwrap());
    // Clients are started by a table, and installed by scripts of their own.
    for (_, script) in sources_of(&root().join("tests/clients"), "install") {
        lines.push_str(&script);
    }
    for name in tools::installed() {
        let calls = ["tool", "shell"].map(|function| format!("{function}(\"{name}\")"));
        let in_shell = [
            format!("\n{name} "),
            format!("\"{name} "),
            format!("if {name} "),
            format!("    {name} "),
            format!("&& {name} "),
            format!("&[\"{name}\", "),
        ];
        assert!(
            calls
                .iter()
                .chain(&in_shell)
                .any(|call| lines.contains(call)),
            "tests/run installs {name}, which no test starts"
        );
    }
}

#[test]
fn the_modules_that_python_imports_are_those_that_are_installed_for_the_tests() {
    let mut python = shell("/usr/bin/python3");
    python.args(["-c", "import sys; print(*sys.stdlib_module_names)"]);
    let output = python.output().unwrap();
    let own = String::from_utf8(output.stdout).unwrap();
    let own: BTreeSet<&str> = own.split_whitespace().collect();
    let folders = ["tests/integration/early_answers", "tests/clients/python"];

    let texts = folders.map(|folder| sources_of(&root().join(folder), "py"));
    let texts = texts.into_iter().flatten().map(|(_, text)| text);
    let texts: String = texts.collect();
    let imported = texts
        .lines()
        .filter_map(|line| line.strip_prefix("import "));
    let names = imported.filter_map(|name| name.split('.').next());
    let others = names.filter(|name| !own.contains(name) && !["tries", "protocol"].contains(name));

    let others: BTreeSet<String> = others.map(str::to_owned).collect();
    assert_eq!(others, tools::modules().into_iter().collect());
}

#[test]
fn a_module_counts_as_installed_if_the_python_of_debian_finds_it() {
    let missing = "no apt-get here: install no_such (Debian packages: python3-no-such)";
    // Another Python comes first, and finds it.
    let folder = tempfile::tempdir().unwrap();
    put_program(folder.path(), "python3", "exit 0");
    fs::write(folder.path().join("no_such.py"), "").unwrap();
    for (modules, expected) in [
        ("json:python3", "all tools are here"),
        ("json:python3 no_such:python3-no-such", missing),
    ] {
        let mut bash = shell("bash");
        bash.args([
            "-euc",
            "source deploy/debian.sh test; tools=(); modules=($0); install_missing",
        ])
        .arg(modules)
        .env("PATH", path_with(folder.path()))
        .env("PYTHONPATH", folder.path())
        .current_dir(root());
        let output = bash.output().unwrap();
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
}

#[test]
fn a_shell_finds_no_program_but_the_tools_of_the_tests() {
    let found = |program: &str| {
        let mut shell = shell("sh");
        shell.args(["-c", "command -v \"$0\"", program]);
        shell.output().unwrap().status.success()
    };
    assert!(found("curl") && found("mktemp"));
    for program in ["git", "cargo", "gdb", "cc"] {
        assert!(!found(program), "{program}");
    }
}

#[test]
fn deploy_run_runs_the_release_build_with_its_arguments() {
    let tools = [CARGO, ("cc", ""), ("make", "")];
    let manifest = root().join("Cargo.toml");
    let settings = root().join(".cargo/config.toml");
    let build = format!(
        "[run][--release][--locked][--config][{}][--manifest-path][{}][--]",
        settings.display(),
        manifest.display()
    );
    let simulator: &[&str] = &["--upstream", "simulator"];
    for (given, used) in [(&[][..], simulator), (&["check", "a b"], &["check", "a b"])] {
        let output = deploy_run(&tools, given);
        let used: String = used.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{build}{used}")
        );
        assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    }
}

#[test]
fn deploy_run_tells_the_build_its_commit() {
    let cargo = (
        "cargo",
        "if [ \"$1\" = --version ]; then echo 'cargo 1.95.0 (abc 2026-01-01)'; exit; fi
         printf '<%s>' \"${GATEWAY_COMMIT-unset}\"",
    );
    let here = root().display();
    let ours = format!("[ \"$3\" = rev-parse ] && echo {here} || echo abc-dirty");
    for (git, commit) in [
        (&*ours, "abc-dirty"),
        // A folder inside another repository, and one without any.
        ("[ \"$3\" = rev-parse ] && echo / || echo abc", "unset"),
        ("exit 128", "unset"),
    ] {
        let output = deploy_run(&[cargo, ("cc", ""), ("make", ""), ("git", git)], &[]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("<{commit}>")
        );
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn deploy_run_says_what_to_install_where_it_cannot() {
    let old = ("cargo", "echo 'cargo 1.9.0 (abc 2016-05-26)'");
    let broken = ("cargo", "echo 'no default toolchain' >&2; exit 1");
    let rust = "install Rust 1.95 or later (https://rustup.rs)";
    for (tools, parts) in [
        (vec![], vec!["no cargo in PATH", rust, "~/.cargo/bin"]),
        (vec![old], vec!["cargo is 1.9.0", rust]),
        (vec![broken], vec!["no default toolchain"]),
        (
            vec![CARGO, ("make", "")],
            vec!["no apt-get here: install cc (Debian packages: build-essential)"],
        ),
        (
            vec![CARGO],
            vec!["install cc make (Debian packages: build-essential)"],
        ),
    ] {
        let output = deploy_run(&tools, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        for part in parts {
            assert!(said(&output).contains(part), "{part}: {}", said(&output));
        }
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn the_count_of_instructions_fails_beyond_three_percent() {
    for (count, code, said_of_it) in [
        (1030, 0, ""),
        (
            1031,
            1,
            "W1 GET, log warn: 1031 instructions, +3.1% of 1000",
        ),
        (970, 0, ""),
        (
            969,
            0,
            "W1 GET, log warn: 969 instructions, -3.1% of 1000: better",
        ),
    ] {
        let output = compare_instructions("W1 GET", count, &[]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(said_of_it), "{}", said(&output));
        let asks = said(&output).contains("--accept");
        assert_eq!(asks, !said_of_it.is_empty(), "{}", said(&output));
    }
}

#[test]
fn a_workload_without_a_figure_fails_the_count_until_it_is_accepted() {
    let output = compare_instructions("W9", 1000, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let missing = "W9, log warn: 1000 instructions, and no figure";
    assert!(said(&output).contains(missing), "{}", said(&output));

    let output = compare_instructions("W9", 1000, &["--accept"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn accepted_counts_leave_the_figures_of_other_workloads() {
    let figures = instructions_of("1", "2", &[("W1 GET", 1000), ("W2 PUT, judged", 2000)]);
    let counts = instructions_of("1", "2", &[("W1 GET", 900), ("W2 PUT, judged", 1800)]);
    let wanted = instructions_of("1", "2", &[("W1 GET", 900), ("W2 PUT, judged", 2000)]);
    let (output, accepted) = compare_files(&counts, &figures, &["--only", "W1", "--accept"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(accepted, wanted);

    let (output, accepted) = compare_files(&counts, &figures, &["--accept"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(accepted, counts);

    // Nothing else would remove the figure of a workload that is no longer there.
    let figures = instructions_of("1", "2", &[("W1 GET", 1000), ("W0", 3000)]);
    let (output, accepted) = compare_files(&counts, &figures, &["--accept"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(accepted, counts);
}

#[test]
fn figures_are_of_one_compiler() {
    let figures = instructions_of("1", "2", &[("W1 GET", 1000), ("W2 PUT, judged", 2000)]);
    let counts = instructions_of("3", "2", &[("W1 GET", 900), ("W2 PUT, judged", 1800)]);
    let (output, accepted) = compare_files(&counts, &figures, &["--only", "W1", "--accept"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let remedy = "accept all workloads at once, without --only";
    assert!(said(&output).contains(remedy), "{}", said(&output));
    assert_eq!(accepted, figures);

    let (output, accepted) = compare_files(&counts, &figures, &["--accept"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(accepted, counts);
}

#[test]
fn a_name_that_no_workload_has_is_refused() {
    for arguments in [&["--only", "W7"][..], &["--only", "W7", "--accept"]] {
        let figures = instructions_of("1", "2", &[("W1 GET", 1000)]);
        let counts = instructions_of("1", "2", &[("W1 GET", 900), ("W9", 900)]);
        let (output, left) = compare_files(&counts, &figures, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let names = "no workload has 'W7' in its name. There are: W1 GET; W9";
        assert!(said(&output).contains(names), "{}", said(&output));
        assert_eq!(left, figures);
    }
}

#[test]
fn counts_of_another_compiler_or_libc_fail_beyond_ten_percent() {
    for (rustc, libc, difference) in [
        ("3", "2", "the figures are of rustc 1, the counts of 3: "),
        ("1", "3", "the figures are of libc 2, the counts of 3: "),
    ] {
        for (count, code, said_of_it) in [
            (1100, 0, ""),
            (1101, 1, "+10.1% of 1000: more than 10% above"),
            (900, 0, ""),
            (899, 0, "-10.1% of 1000: better"),
        ] {
            let counts = instructions_of(rustc, libc, &[("W1 GET", count)]);
            let figures = instructions_of("1", "2", &[("W1 GET", 1000)]);
            let (output, _) = compare_files(&counts, &figures, &[]);
            assert_eq!(output.status.code(), Some(code), "{}", said(&output));
            assert!(said(&output).contains(said_of_it), "{}", said(&output));
            let tolerance = format!("{difference}counts may be 10% off instead of 3%");
            assert!(said(&output).contains(&tolerance), "{}", said(&output));
            let asks = said(&output).contains("--accept");
            assert_eq!(asks, !said_of_it.is_empty(), "{}", said(&output));
        }
    }
}

#[test]
fn every_workload_has_figures() {
    let mut python = shell("/usr/bin/python3");
    python.args([
        "-EsBc",
        "import sys; sys.path.insert(0, 'benches')
import json, workloads
figures = json.load(open('benches/instructions.json'))['instructions']
wanted = {name: set(workloads.LEVELS) for name in workloads.workloads()}
print({name: set(levels) for name, levels in figures.items()} == wanted)",
    ]);
    let output = python.current_dir(root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "True\n");
}

/// Compares one count of instructions with a figure of 1000 for W1.
fn compare_instructions(workload: &str, count: u32, arguments: &[&str]) -> Output {
    let counts = instructions_of("1", "2", &[(workload, count)]);
    let figures = instructions_of("1", "2", &[("W1 GET", 1000)]);
    compare_files(&counts, &figures, arguments).0
}

/// Counts or figures of these workloads, as their files have them.
fn instructions_of(rustc: &str, libc: &str, workloads: &[(&str, u32)]) -> Value {
    let instructions: Value = workloads
        .iter()
        .map(|&(name, count)| (name, json!({ "warn": count })))
        .collect();
    json!({ "rustc": rustc, "libc": libc, "instructions": instructions })
}

/// Compares counts of instructions with figures. Returns the figures afterwards, too.
fn compare_files(counts: &Value, figures: &Value, arguments: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &Value| {
        let path = folder.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    };
    let accepted = file("figures.json", figures);
    let mut python = shell("/usr/bin/python3");
    python
        .args(["-EsB", "benches/instructions", "--counts"])
        .arg(file("counts.json", counts))
        .arg("--figures")
        .arg(&accepted)
        .args(arguments)
        .current_dir(root());
    let output = python.output().unwrap();
    let left = serde_json::from_slice(&fs::read(&accepted).unwrap()).unwrap();
    (output, left)
}

/// Runs `deploy/run` where nothing but these programs and those of every Debian is installed.
fn deploy_run(programs: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        put_program(folder.path(), name, script);
    }
    let mut command = shell("bash");
    command
        .arg(root().join("deploy/run"))
        .args(arguments)
        .env("PATH", path_with(folder.path()));
    command.output().unwrap()
}

/// Writes a program for the shell.
fn put_program(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A `PATH` with the programs of a folder before those of every Debian.
fn path_with(folder: &Path) -> OsString {
    std::env::join_paths([folder, tools::folder()]).unwrap()
}

/// The files of the tests, and what they say.
fn sources() -> Vec<(PathBuf, String)> {
    let sources = sources_of(&root().join("tests"), "rs");
    assert!(sources.len() > 30);
    sources
}

/// The files below a folder that end so, and what they say.
fn sources_of(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![folder.to_owned()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .or_else(|| path.file_name())
                .is_some_and(|extension| extension == ending)
            {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    sources
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
