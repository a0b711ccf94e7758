//! `deploy/azure`, as a parser of Bicep, Azure's SDK and our own binary read it. Nothing is deployed here.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    commands::program,
    kubernetes::render::{fails, installed},
    support::{
        Gateway,
        page::{root, section, text},
        tools::{passes, shell},
        wire::Call,
    },
};

const FILE: &str = "deploy/azure/container-app.bicep";

/// What the file describes. `None`, and it says so: the parser could not be installed.
fn described() -> Option<Value> {
    let output = passes(parser()?.arg(root().join(FILE)));
    Some(serde_json::from_str(&output).unwrap())
}

fn parser() -> Option<std::process::Command> {
    let mut parser = shell("env");
    parser
        .arg(installed("bicep")?.join("bin/python"))
        .arg(root().join("tests/deploy/bicep.py"));
    Some(parser)
}

/// The containers of the app, the application and then the gateway.
fn containers(file: &Value) -> [&Value; 2] {
    let containers = template(file)["containers"].as_array().unwrap();
    let [application, gateway] = &containers[..] else {
        panic!("{containers:#?}");
    };
    assert_eq!(gateway["name"], "referral-gateway");
    [application, gateway]
}

fn template(file: &Value) -> &Value {
    &file["resources"]["app"]["config"]["properties"]["template"]
}

fn environment(container: &Value) -> Vec<(&str, &str)> {
    let variables = container["env"].as_array().unwrap().iter();
    let variables = variables.map(|one| {
        (
            one["name"].as_str().unwrap(),
            one["value"].as_str().unwrap(),
        )
    });
    variables.collect()
}

#[test]
fn azure_knows_every_property_and_a_wrong_one_would_be_noticed() {
    if described().is_none() {
        return;
    }
    let right = text(FILE);
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("periodSeconds", "periodSecond"),
        ("port: 4281", "port: '4281'"),
        ("'Startup'", "'Start'"),
        ("destination:", "destinations:"),
        ("\n}\n", "\n"),
    ] {
        assert!(right.contains(from), "{from}");
        let file = folder.path().join("wrong.bicep");
        std::fs::write(&file, right.replacen(from, to, 1)).unwrap();
        fails(parser().unwrap().arg(file));
    }
}

#[test]
fn the_environment_of_the_gateway_in_azure_is_accepted_and_has_effect() {
    let Some(file) = described() else { return };
    let [application, gateway] = containers(&file);
    let environment = environment(gateway);
    passes(program(&["check"]).envs(environment.iter().copied()));
    let shown = passes(program(&["config", "show", "--origins"]).envs(environment.iter().copied()));
    for (name, value) in environment {
        let line = shown.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} has no effect:\n{shown}"));
        assert!(line.contains(value), "{line}");
    }

    let settings: Value =
        serde_saphyr::from_str(&passes(&mut program(&["config", "show"]))).unwrap();
    let base = format!("http://{}", settings["listen"].as_str().unwrap());
    let variables = self::environment(application);
    assert_eq!(variables, [("REFERRALS_BASE_URL", &*base)]);
}

#[tokio::test]
async fn the_probes_of_azure_get_an_answer() {
    let Some(file) = described() else { return };
    let [_, container] = containers(&file);
    let listens = environment(container)
        .into_iter()
        .find(|(name, _)| *name == "REFERRAL_GATEWAY_TELEMETRY__LISTEN");
    let gateway = Gateway::with("").start_at("simulator").await;
    let mut kinds = BTreeSet::new();
    for probe in container["probes"].as_array().unwrap() {
        kinds.insert(probe["type"].as_str().unwrap());
        let asked = &probe["httpGet"];
        let address = format!("0.0.0.0:{}", asked["port"]);
        assert_eq!(listens.unwrap().1, address);
        let call = Call::new(gateway.telemetry, "GET", asked["path"].as_str().unwrap());
        assert_eq!(call.send().await.status, 200, "{probe:#}");
        // The bounds of Container Apps.
        assert!(probe["failureThreshold"].as_u64().unwrap_or(3) <= 10);
        assert!((1..=240).contains(&probe["periodSeconds"].as_u64().unwrap()));
    }
    assert_eq!(kinds, ["Liveness", "Readiness", "Startup"].into());
}

#[test]
fn the_replica_has_a_size_that_azure_sells_and_time_to_drain() {
    let Some(file) = described() else { return };
    let (mut cpu, mut memory) = (0.0, 0.0);
    for container in containers(&file) {
        let resources = &container["resources"];
        let cores = &resources["cpu"]["function"]["parameters"]["arg_1"];
        cpu += cores.as_str().unwrap().parse::<f64>().unwrap();
        let size = resources["memory"].as_str().unwrap();
        memory += size.strip_suffix("Gi").unwrap().parse::<f64>().unwrap();
    }
    // From 0.25 to 4 cores in steps of 0.25, each with 2 GiB for a core.
    assert!((0.25..=4.0).contains(&cpu) && (cpu * 4.0).fract() == 0.0);
    assert_eq!(memory, 2.0 * cpu);

    let [_, gateway] = containers(&file);
    let seconds = |name: &str| {
        let environment = environment(gateway);
        let (_, value) = environment.iter().find(|(own, _)| *own == name).unwrap();
        humantime::parse_duration(value).unwrap()
    };
    let (min, max) = (
        seconds("REFERRAL_GATEWAY_DRAIN__MIN"),
        seconds("REFERRAL_GATEWAY_DRAIN__MAX"),
    );
    let patience = template(&file)["terminationGracePeriodSeconds"].as_u64();
    assert!(min < max && max < Duration::from_secs(patience.unwrap()));
}

#[test]
fn the_command_of_the_page_names_every_parameter_that_has_no_default() {
    let Some(file) = described() else { return };
    let page = section("deploy/README.md", "Azure Container Apps");
    assert!(page.contains(&format!("--template-file {FILE}")));
    let parameters = file["parameters"].as_object().unwrap();
    let needed = parameters
        .iter()
        .filter(|(_, one)| one["default"].is_null());
    for (name, _) in needed {
        assert!(page.contains(&format!(" {name}=")), "{name}");
    }
    let secret = |one: &Value| one.to_string().contains("secure");
    assert!(!parameters.values().any(secret));
    let configuration = &file["resources"]["app"]["config"]["properties"]["configuration"];
    assert!(configuration.get("secrets").is_none() && configuration.get("ingress").is_none());
}
