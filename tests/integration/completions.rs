//! The scripts of `completions` complete in real shells, and offer what a command takes.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    commands::{Ended, ended, run},
    support::{
        page,
        tools::{folder, shell},
    },
};

const COMMANDS: [&str; 11] = [
    "run",
    "check",
    "test",
    "explain",
    "simulate",
    "healthcheck",
    "config show",
    "certificate",
    "schema",
    "completions",
    "man",
];

/// Prints its arguments, one line for a call.
const STAND_IN: &str = "referral-gateway() { printf '<%s>' \"$@\"; echo; }";

/// A home in which the completions are installed as docs/cli.md says.
fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    let section = page::section("docs/cli.md", "Complete commands in a shell");
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let installed = ended(in_home(shell("bash"), &home).args(["-euc", block]));
    assert_eq!(installed.code, Some(0), "{}", installed.err);
    home
}

/// The shell of somebody with this home, who has the program in the `PATH`.
fn in_home(mut shell: Command, home: &TempDir) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_referral-gateway"));
    let path = [program.parent().unwrap(), folder()];
    shell
        .env("TERM", "dumb")
        .env("HOME", home.path())
        .env("PATH", env::join_paths(path).unwrap())
        .current_dir(home.path())
        .stdin(Stdio::null());
    shell
}

/// Runs a shell on a script, in a home with the completions.
fn run_script(shell: Command, arguments: &[&str], script: &str) -> Ended {
    let home = home();
    let file = home.path().join("script");
    fs::write(&file, script).unwrap();
    let mut shell = in_home(shell, &home);
    ended(shell.args(arguments).stdin(File::open(file).unwrap()))
}

/// The calls of [`STAND_IN`] that a shell printed.
fn calls(ended: &Ended) -> Vec<Vec<String>> {
    let lines = ended.out.lines().map(str::trim_end);
    let call = |line: &str| {
        let words = line.strip_prefix('<')?.strip_suffix('>')?;
        Some(words.split("><").map(str::to_owned).collect())
    };
    lines.filter_map(call).collect()
}

/// What bash makes of lines; TAB completes, and escape with a star puts in all that is offered.
fn bash(lines: &[String]) -> Vec<Vec<String>> {
    let script = format!("{STAND_IN}\n{}\n", lines.join("\n"));
    let ended = run_script(shell("bash"), &["-i"], &script);
    let calls = calls(&ended);
    assert_eq!(calls.len(), lines.len(), "{}{}", ended.out, ended.err);
    calls
}

/// What zsh makes of lines, in a terminal of its own; control-X and `a` put in all that is offered.
fn zsh(lines: &[String]) -> Vec<Vec<String>> {
    let mut script = format!(
        r#"zmodload zsh/zpty
zpty z PS1= zsh -i
zpty -w z 'zle -C all-matches complete-word _generic; bindkey "^Xa" all-matches'
zpty -w z 'zstyle ":completion:all-matches:*" insert yes'
zpty -w z 'zstyle ":completion:all-matches::::" completer _all_matches _complete'
zpty -w z {}
"#,
        quoted(STAND_IN)
    );
    for line in lines {
        script += &format!("zpty -w z {}\n", quoted(line));
    }
    // A line that is typed cannot be taken for its answer.
    script += "zpty -w z 'print \"e\"\"nd\"'\nzpty -r z out '*end*'\nprint -r -- $out\n";
    let ended = run_script(shell("zsh"), &["-f"], &script);
    let calls = calls(&ended);
    assert_eq!(calls.len(), lines.len(), "{}{}", ended.out, ended.err);
    calls
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What fish offers for a line.
fn fish(lines: &[String]) -> Vec<Vec<String>> {
    let ask = |line: &String| format!("complete -C {}; echo =\n", quoted(line));
    let ended = run_script(
        shell("fish"),
        &[],
        &lines.iter().map(ask).collect::<String>(),
    );
    let answers: Vec<_> = ended.out.split_terminator("=\n").collect();
    assert_eq!(answers.len(), lines.len(), "{}{}", ended.out, ended.err);
    let word = |line: &str| line.split('\t').next().unwrap().to_owned();
    let words = |answer: &&str| answer.lines().map(word).collect();
    answers.iter().map(words).collect()
}

fn lines(begin: impl Fn(&str) -> String) -> Vec<String> {
    COMMANDS.iter().map(|command| begin(command)).collect()
}

/// The long flags among words.
fn flags<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let flags = words.into_iter().filter(|word| word.starts_with("--"));
    flags.map(str::to_owned).collect()
}

/// The long flags that the help of a command lists.
fn flags_of(command: &str) -> BTreeSet<String> {
    let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
    let help = run(&arguments);
    let entries = help.out.lines().map(str::trim_start);
    flags(entries.filter_map(|line| {
        let line = line.strip_prefix("-h, ").unwrap_or(line);
        line.split(' ').next()
    }))
}

#[track_caller]
fn offers_the_flags_of_each_command(offered: fn(&[String]) -> Vec<Vec<String>>, all: &str) {
    let offered = offered(&lines(|command| {
        format!("referral-gateway {command} --{all}")
    }));
    for (command, offered) in COMMANDS.iter().zip(offered) {
        let offered = flags(offered.iter().map(String::as_str));
        assert_eq!(offered, flags_of(command), "{command}");
    }
}

#[test]
fn bash_completes_a_flag_behind_a_command() {
    let typed = [
        "referral-gateway check --o\t",
        "referral-gateway --config x check --o\t",
        "referral-gateway config show --or\t",
        "referral-gateway hea\t --u\t",
        "referral-gateway check --output j\t",
        "referral-gateway schema policy-\t",
    ];
    let completed = [
        &["check", "--output"][..],
        &["--config", "x", "check", "--output"],
        &["config", "show", "--origins"],
        &["healthcheck", "--url"],
        &["check", "--output", "json"],
        &["schema", "policy-test"],
    ];
    assert_eq!(bash(&typed.map(str::to_owned)), completed);
}

#[test]
fn zsh_completes_a_flag_behind_a_command() {
    let typed = [
        "referral-gateway check --o\t",
        "referral-gateway config show --or\t",
        "referral-gateway hea\t --u\t",
        "referral-gateway check --output j\t",
        "referral-gateway schema policy-\t",
    ];
    let completed = [
        &["check", "--output"][..],
        &["config", "show", "--origins"],
        &["healthcheck", "--url"],
        &["check", "--output", "json"],
        &["schema", "policy-test"],
    ];
    assert_eq!(zsh(&typed.map(str::to_owned)), completed);
}

#[test]
fn fish_completes_a_flag_behind_a_command() {
    let typed = [
        "referral-gateway check --o",
        "referral-gateway --config x check --o",
        "referral-gateway config show --or",
        "referral-gateway hea",
        "referral-gateway check --output j",
        "referral-gateway schema policy-",
        "referral-gateway completions z",
    ];
    let offered = [
        "--output",
        "--output",
        "--origins",
        "healthcheck",
        "json",
        "policy-test",
        "zsh",
    ];
    assert_eq!(fish(&typed.map(str::to_owned)), offered.map(|word| [word]));
}

#[test]
fn each_shell_offers_the_flags_that_a_command_takes_and_no_others() {
    offers_the_flags_of_each_command(bash, "\x1b*");
    offers_the_flags_of_each_command(zsh, "\x18a");
    offers_the_flags_of_each_command(fish, "");
}
