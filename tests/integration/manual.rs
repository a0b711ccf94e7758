//! The manual page, as a formatter reads it, and the version.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use super::{
    commands::run,
    support::{
        page::{section, ticked},
        tools::tool,
    },
};

/// What mandoc makes of the page.
fn mandoc(arguments: &[&str]) -> Output {
    let page = run(&["man"]);
    assert_eq!(page.code, Some(0), "{}", page.err);
    let mut child = tool("mandoc")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(page.out.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

/// The page as a terminal shows it.
fn shown() -> String {
    let output = mandoc(&["-Tutf8", "-Owidth=200"]);
    let text = String::from_utf8(output.stdout).unwrap();
    // A terminal prints a bold letter twice, one over the other.
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '\u{8}' => drop(plain.pop()),
            letter => plain.push(letter),
        }
    }
    plain
}

#[test]
fn the_manual_page_is_clean() {
    let output = mandoc(&["-Tlint", "-Wwarning"]);
    let said = String::from_utf8(output.stdout).unwrap();
    // A date would make each build differ.
    let mut faults = said
        .lines()
        .filter(|line| !line.ends_with("WARNING: missing date, using \"\": TH"));
    assert_eq!(faults.next(), None, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_manual_page_has_every_command_and_flag() {
    let manual = shown();
    for heading in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "SETTINGS",
        "COMMANDS",
        "ENVIRONMENT",
        "EXIT STATUS",
    ] {
        assert!(
            manual.lines().any(|line| line == heading),
            "{heading}: {manual}"
        );
    }
    let help = run(&["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = names
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let command: &[&str] = if name == "config" {
            &["config", "show"]
        } else {
            &[name]
        };
        let usage = format!("referral-gateway {}", command.join(" "));
        let from = manual
            .find(&usage)
            .unwrap_or_else(|| panic!("{usage} is not in {manual}"));
        let help = run(&[command, &["--help"]].concat()).out;
        let flags = help
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("--"));
        for flag in flags {
            let flag = flag.split([' ', '<']).next().unwrap();
            assert!(
                manual[from..].contains(&format!("--{flag}")),
                "{name} --{flag}: {manual}"
            );
        }
    }
    for line in ["0  success", "127  the command is not found"] {
        assert!(manual.contains(line), "{line}: {manual}");
    }
}

#[test]
fn the_version_is_told_to_programs_too() {
    let told = run(&["--version", "--output", "json"]);
    assert_eq!(told.code, Some(0));
    let told = told.json();
    assert_eq!(told["name"], "referral-gateway");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["tls_provider"], "aws-lc-rs");
    let commit = option_env!("GATEWAY_COMMIT").filter(|commit| !commit.is_empty());
    assert_eq!(told["commit"].as_str(), commit);

    let page = section("docs/cli.md", "Version and manual");
    for name in told.as_object().unwrap().keys() {
        assert!(ticked(&page).contains(&&**name), "{name}");
    }
    for arguments in [&["-V"][..], &["--version", "--output", "text"]] {
        let line = format!("referral-gateway {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(arguments).out, line);
    }
    let alone = run(&["--output", "json"]);
    assert_eq!(alone.code, Some(2), "{}", alone.err);
}
