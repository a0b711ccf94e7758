//! `check`: validates settings and policy, and on request connects to the upstream.

use std::{collections::BTreeMap, process::ExitCode};

use serde_json::json;

use self::connect::Connected;
use super::{
    output::{Output, OutputFlag, print},
    runtime::block_on,
};
use crate::{
    app::{self, Prepared},
    config::{Problem, Sources},
    identity,
    policy::Mode,
    server::tls,
};

mod connect;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also connect to the upstream, step by step: DNS, proxy, TLS, round trip, clock
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    output: OutputFlag,
}

/// Checks everything that the start looks at, and prints all problems, or a summary with warnings. Connects to the upstream
/// if it is asked to.
pub(super) fn check(arguments: &Arguments, sources: Sources) -> anyhow::Result<ExitCode> {
    let output = arguments.output.output;
    let Prepared {
        config,
        policy,
        trust,
        proxy,
        ..
    } = match app::prepare(sources) {
        Ok(prepared) => prepared,
        Err(error) => {
            let problems: Vec<&Problem> = error.problems().collect();
            match output {
                Output::Text => print(&format!("{error}\n"))?,
                Output::Json => print(&format!(
                    "{:#}\n",
                    json!({ "ok": false, "problems": problems })
                ))?,
            };
            return Ok(ExitCode::FAILURE);
        }
    };
    let settings = &config.settings;
    let file = match config.file() {
        Some(file) => file.display().to_string(),
        None => "no file; defaults, environment and flags".to_owned(),
    };
    let (listen, telemetry) = (settings.listen, settings.admin.telemetry_listen);
    let (tls, telemetry_tls) = (settings.tls.as_ref(), settings.admin.telemetry_tls.as_ref());
    let (admin, upstream) = (settings.admin.listen, config.upstream());
    let (name, rules, digest) = (&policy.name, policy.rules.len(), &policy.digest);
    let every = [
        Mode::Enforce,
        Mode::Repair,
        Mode::Warn,
        Mode::Audit,
        Mode::Off,
    ];
    let modes: Vec<(&str, Vec<&str>)> = every
        .into_iter()
        .map(|mode| {
            let rules = policy.rules.iter().filter(|rule| rule.mode == mode);
            (mode.as_str(), rules.map(|rule| &*rule.id).collect())
        })
        .filter(|(_, rules): &(_, Vec<_>)| !rules.is_empty())
        .collect();
    let tenants: BTreeMap<&str, Vec<String>> = policy
        .tenants()
        .map(|(alias, _)| {
            let rules = policy.of(Some(alias)).rules.iter().zip(&policy.rules);
            let own = rules.filter(|(own, rule)| own.mode != rule.mode);
            let own = own.map(|(own, _)| format!("{} {}", own.mode.as_str(), own.id));
            (alias, own.collect())
        })
        .collect();
    let mut warnings = config.all_warnings(&policy);
    warnings.extend(app::trace_warnings());
    let connected = match arguments.connect {
        false => None,
        true => Some(block_on(Connected::to(&settings.upstream, trust, proxy))?),
    };
    let is_ok = connected.as_ref().is_none_or(Connected::is_ok);
    match output {
        Output::Text => print(&format!(
            "{}Settings and policy are valid.\n\
             settings   {file}\n\
             listen     {listen}{}\n\
             telemetry  {telemetry}{}\n\
             admin      {admin}\n\
             upstream   {upstream}\n\
             policy     {name}, {rules} rules, {digest}\n\
             {}{}{}",
            warnings
                .iter()
                .map(|warning| format!("Warning: {warning}\n"))
                .collect::<String>(),
            of_tls(tls),
            of_tls(telemetry_tls),
            modes
                .iter()
                .map(|(mode, rules)| format!("{mode:<11}{}\n", rules.join(", ")))
                .collect::<String>(),
            tenants
                .iter()
                .map(|(alias, rules)| format!("for {alias}: {}\n", rules.join(", ")))
                .collect::<String>(),
            connected.as_ref().map_or_else(String::new, Connected::text),
        ))?,
        Output::Json => print(&format!(
            "{:#}\n",
            json!({
                "ok": is_ok,
                "problems": [],
                "settings": config.file(),
                "listen": listen,
                "tls": tls.map(tls_json),
                "telemetry": telemetry,
                "telemetry_tls": telemetry_tls.map(tls_json),
                "admin": admin,
                "upstream": upstream,
                "policy": {
                    "name": name,
                    "rules": rules,
                    "digest": digest,
                    "modes": modes
                        .iter()
                        .map(|(mode, rules)| ((*mode).to_owned(), json!(rules)))
                        .collect::<serde_json::Map<_, _>>(),
                    "tenants": tenants,
                },
                "warnings": warnings,
                "connect": connected.as_ref().map(Connected::json),
            })
        ))?,
    };
    Ok(match is_ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What stands behind the address of a listener: its certificate, and who gets through.
fn of_tls(tls: Option<&tls::Settings>) -> String {
    tls.map_or_else(String::new, |tls| {
        let expires = identity::written(*tls.identity.valid.end());
        format!("  TLS for {}; certificate expires {expires}", tls.admits())
    })
}

fn tls_json(tls: &tls::Settings) -> serde_json::Value {
    json!({
        "certificate_expires": identity::written(*tls.identity.valid.end()),
        "admits": tls.admits(),
    })
}
