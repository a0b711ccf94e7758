//! `man`: the manual page, one for the whole program.

use std::process::ExitCode;

use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{
    flags::SETTINGS,
    output::{NAME, print},
};
use crate::version::VERSION;

/// Prints the page of a command line.
pub(super) fn man(command_line: clap::Command) -> anyhow::Result<ExitCode> {
    print(&page(command_line)?)
}

fn page(mut command_line: clap::Command) -> anyhow::Result<String> {
    command_line.build();
    let man = Man::new(command_line.clone());
    // `Man` leaves an empty date out, so that the version would stand in its place. A date would make each build differ.
    let mut page =
        format!(".TH {NAME} 1 \"\" \"{NAME} {VERSION}\" \"Referral Gateway\"\n").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    commands.to_writer(&mut page)?;
    for command in leaves(&command_line) {
        section(command, &mut page)?;
    }
    let notes = command_line.get_after_help();
    let notes = notes.map(ToString::to_string).unwrap_or_default();
    let (settings, codes) = notes.split_once("Exit codes:\n").unwrap_or((&notes, ""));
    let mut rest = Roff::new();
    for (heading, text) in [("ENVIRONMENT", settings), ("EXIT STATUS", codes)] {
        rest.control("SH", [heading]).control("nf", []);
        for line in text.lines() {
            rest.text([roman(line.trim_start().to_owned())]);
        }
        rest.control("fi", []);
    }
    rest.to_writer(&mut page)?;
    // `Man` sets an empty line between two line breaks, which formatters drop with a warning.
    Ok(String::from_utf8(page)?.replace("\n.br\n\n.br\n", "\n.br\n"))
}

/// The commands that do something, with those of groups such as `config`.
fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
    let commands = command.get_subcommands();
    let shown = commands.filter(|command| !command.is_hide_set() && command.get_name() != "help");
    shown
        .flat_map(|command| match leaves(command) {
            inner if inner.is_empty() => vec![command],
            inner => inner,
        })
        .collect()
}

/// What one command is for, its usage and its own flags. Those that set a setting are only named: they stand above.
fn section(command: &clap::Command, page: &mut Vec<u8>) -> anyhow::Result<()> {
    let is_setting = |argument: &clap::Arg| argument.get_help_heading() == Some(SETTINGS);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('\n', " ");
    let about = command.get_about().map(ToString::to_string);
    let mut head = Roff::new();
    head.control("SS", [command.get_name()])
        .text([bold(usage)])
        .control("PP", [])
        .text([roman(about.unwrap_or_default())]);
    let settings = command
        .get_arguments()
        .filter(|argument| is_setting(argument));
    let settings: Vec<_> = settings
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    if !settings.is_empty() {
        head.control("PP", [])
            .text([roman(format!("Settings: {}", settings.join(", ")))]);
    }
    head.to_writer(page)?;
    let own = command.clone().mut_args(|argument| {
        let is_shown = !is_setting(&argument) && argument.get_id() != "help";
        match is_shown {
            true => argument,
            false => argument.hide(true),
        }
    });
    let mut options = Vec::new();
    Man::new(own).render_options_section(&mut options)?;
    // A section of its own would end the one of the commands.
    for line in String::from_utf8(options)?.lines() {
        if !line.starts_with(".SH ") {
            page.extend_from_slice(line.as_bytes());
            page.push(b'\n');
        }
    }
    Ok(())
}
