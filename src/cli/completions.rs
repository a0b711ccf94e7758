//! `completions`: the script by which a shell completes the command line.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::output::{NAME, print};

/// Prints the script of a shell for a command line.
pub(super) fn completions(shell: Shell, command_line: clap::Command) -> anyhow::Result<ExitCode> {
    print(&script(shell, command_line))
}

fn script(shell: Shell, mut command_line: clap::Command) -> String {
    // clap_complete names the same state of its bash script in two ways if the name of the program has a hyphen: as
    // `referral__gateway` where it looks for the command, as `referral__subcmd__gateway` where it completes one. Without
    // a hyphen both are the same. The name that bash completes stands at the end of the lines with `complete`.
    let name = match shell {
        Shell::Bash => NAME.replace('-', "_"),
        _ => NAME.to_owned(),
    };
    let mut script = Vec::new();
    generate(shell, &mut command_line, &name, &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => script.replace(&format!(" {name}\n"), &format!(" {NAME}\n")),
        Shell::Fish => format!("{script}{}", fish_values(&command_line)),
        _ => script.into_owned(),
    }
}

/// The values that a command takes without a flag, which the generator leaves out for fish.
fn fish_values(command_line: &clap::Command) -> String {
    let mut lines = String::new();
    for command in command_line.get_subcommands() {
        let values = command
            .get_positionals()
            .flat_map(clap::Arg::get_possible_values);
        let values: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        if !values.is_empty() {
            let condition = format!(
                "__fish_{}_using_subcommand {}",
                NAME.replace('-', "_"),
                command.get_name()
            );
            let values = values.join(" ");
            lines += &format!("complete -c {NAME} -n \"{condition}\" -f -a \"{values}\"\n");
        }
    }
    lines
}
