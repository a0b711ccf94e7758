//! `certificate`: a local CA and a certificate for TLS on the data listener.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use clap::ValueHint;
use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};

use super::output::{Output, OutputFlag, print, print_error};
use crate::certificate::{self, Item, Made, Name, Names, Validity};

mod clients;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder for the files; it is created, readable by its owner only
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
    /// DNS name or IP address that clients connect to; can be repeated [default: localhost and its addresses, or the
    /// names of the certificate to renew]
    #[arg(long = "name", value_name = "NAME", value_hint = ValueHint::Other)]
    names: Vec<Name>,
    /// Make a new certificate and key, with the CA that is there
    #[arg(long)]
    renew: bool,
    #[command(flatten)]
    output: OutputFlag,
}

/// Makes or renews, and prints what there is now.
pub(super) fn certificate(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        folder,
        names,
        renew,
        output,
    } = arguments;
    let names = match Names::of(names) {
        Ok(names) => names,
        Err(error) => {
            print_error(&format!("--name: {error}"));
            return Ok(ExitCode::from(2));
        }
    };
    let made = match renew {
        true => certificate::renew(&folder, names)?,
        false => certificate::make(&folder, names.unwrap_or_else(Names::local))?,
    };
    match output.output {
        Output::Text => print(&text(&made, renew)),
        Output::Json => print(&format!("{:#}\n", to_json(&made))),
    }
}

fn text(made: &Made, renew: bool) -> String {
    let folder = made.folder().display();
    let mut text: String = made
        .warnings
        .iter()
        .map(|warning| format!("Warning: {warning}\n"))
        .collect();
    text += &match renew {
        true => format!("Renewed the certificate in {folder}\n"),
        false => format!("Made a local CA and a certificate in {folder}\n"),
    };
    let ca = format!(
        "the CA that clients trust: {}, valid until {}",
        made.authority,
        shown(made.authority_validity.until)
    );
    let certificate = format!(
        "the certificate for {}, valid until {}",
        made.names.texts().join(", "),
        shown(made.validity.until)
    );
    let bundle = made
        .roots
        .map(|roots| format!("the CA and the {roots} public roots of this machine"));
    let key = "its key, for --renew alone: whoever has it can pose as any server to clients that trust the CA";
    for (item, what) in [
        (Item::Authority, Some(&*ca)),
        (Item::AuthorityKey, Some(key)),
        (Item::Certificate, Some(&*certificate)),
        (Item::Key, Some("its key")),
        (Item::Bundle, bundle.as_deref()),
    ] {
        if let Some(what) = what {
            text += &format!("  {:<11} {what}\n", item.name());
        }
    }
    text += &match renew {
        true => {
            "Settings and clients stay as they are: the paths and the CA are the same.\n".to_owned()
        }
        false => format!("{}{}", settings(made), clients::text(made)),
    };
    text
}

/// The lines for the settings file.
fn settings(made: &Made) -> String {
    // Every JSON string is a YAML string.
    let [certificate, key] = [Item::Certificate, Item::Key]
        .map(|item| Value::from(made.path(item).to_string_lossy()).to_string());
    format!(
        "\nSettings of the gateway, for a file that --config names:\n  tls: {{ cert_file: {certificate}, key_file: {key} }}\n"
    )
}

fn to_json(made: &Made) -> Value {
    let path = |item| made.path(item).to_string_lossy().into_owned();
    let bundle = made
        .roots
        .map(|roots| json!({ "file": path(Item::Bundle), "roots": roots }));
    let pair = |certificate, key, Validity { from, until }: Validity| {
        json!({
            "cert_file": path(certificate),
            "key_file": path(key),
            "not_before": shown(from),
            "not_after": shown(until),
        })
    };
    let mut ca = pair(Item::Authority, Item::AuthorityKey, made.authority_validity);
    let mut tls = pair(Item::Certificate, Item::Key, made.validity);
    for (value, member, more) in [
        (&mut ca, "subject", json!(made.authority)),
        (&mut tls, "names", json!(made.names.texts())),
    ] {
        if let Some(members) = value.as_object_mut() {
            members.insert(member.to_owned(), more);
        }
    }
    json!({
        "folder": made.folder().to_string_lossy(),
        "ca": ca,
        "tls": tls,
        "bundle": bundle,
        "warnings": made.warnings,
    })
}

fn shown(time: SystemTime) -> String {
    format_rfc3339_seconds(time).to_string()
}
