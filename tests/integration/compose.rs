//! `deploy/compose`, as a linter, our own binary and a real Prometheus read it. No container runs here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use regex::Regex;
use serde_json::{Value, json};

use super::{
    commands::program,
    dashboards::{dashboard, numbers, queries_of_the_dashboard},
    kubernetes::render::installed,
    support::{
        Gateway, eventually,
        page::{between, root, section, text},
        prometheus::Prometheus,
        tools::{passes, shell, tool},
    },
};

const FOLDER: &str = "deploy/compose";
const FILES: [&str; 2] = ["compose.yaml", "compose.simulator.yaml"];

/// The panels that show more than 0 while the client of `traffic` calls.
const SHOWN: [&str; 22] = [
    "Gateways ready A",
    "Gateways ready B",
    "Requests A",
    "Refused by rules A",
    "Time in the gateway, p99 A",
    "Microsoft answered A",
    "Answers by source A",
    "Answers in this time A",
    "Requests by route A",
    "Duration A",
    "Decisions A",
    "Findings in this time A",
    "Refused, by rule A",
    "Transitions in this time A",
    "Policy in force A",
    "If-Match of writes A",
    "Found in memory A",
    "Learnt and removed A",
    "Admitted and held back A",
    "Tenants in this time A",
    "Versions A",
    "Memory A",
];

#[test]
fn the_linter_of_compose_files_accepts_them() {
    let Some(linter) = installed("dclint") else {
        return;
    };
    // The image that is built has a name, the second file belongs to the first, and order is by importance.
    let rules = json!({ "rules": {
        "no-build-and-image": 0,
        "require-project-name-field": 0,
        "services-alphabetical-order": 0,
        "require-quotes-in-ports": [2, { "quoteType": "double" }],
    } });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rules.json");
    fs::write(&config, rules.to_string()).unwrap();
    let mut lint = tool("node");
    lint.arg(linter.join("node_modules/dclint/bin/dclint.cjs"))
        .args(["--max-warnings", "0", "--config"])
        .arg(config)
        .args(FILES.map(|file| root().join(FOLDER).join(file)));
    passes(&mut lint);
}

#[test]
fn every_mount_is_a_folder_of_the_repository_that_cannot_be_written() {
    let mounts: Vec<_> = services().values().flat_map(mounts).collect();
    assert_eq!(mounts.len(), 8);
    for (source, target) in mounts {
        assert!(source.is_dir(), "{} at {target}", source.display());
    }
}

#[test]
fn every_container_may_do_no_more_than_it_needs() {
    let pinned = Regex::new(r"^[a-z/-]+:v?\d+\.\d+\.\d+$").unwrap();
    let port = Regex::new(r"^127\.0\.0\.1:(\d+):(\d+)$").unwrap();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        assert!(pinned.is_match(image), "{name}: {image}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        let options = json!(["no-new-privileges:true"]);
        assert_eq!(service["security_opt"], options, "{name}");
        for member in ["privileged", "cap_add", "network_mode", "pid", "user"] {
            assert!(service.get(member).is_none(), "{name}: {member}");
        }
        for published in service["ports"].as_array().into_iter().flatten() {
            let published = published.as_str().unwrap();
            let ports = port.captures(published);
            let ports = ports.unwrap_or_else(|| panic!("{name}: {published}"));
            assert_eq!(ports[1], ports[2], "{name}");
        }
    }
}

#[test]
fn the_gateway_is_the_one_of_the_image_and_its_settings_are_right() {
    let service = services().remove("gateway").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(service["image"], format!("referral-gateway:{version}"));
    let context = root().join(FOLDER);
    let context = context.join(service["build"]["context"].as_str().unwrap());
    let image = context.join(service["build"]["dockerfile"].as_str().unwrap());
    let image = text(image);

    let command = service["healthcheck"]["test"].as_array().unwrap();
    assert_eq!(command[0], "CMD");
    let command = json!(command[1..]).to_string().replace("\",\"", "\", \"");
    assert!(image.contains(&format!("CMD {command}\n")), "{command}");

    let settings = shown_settings(&service);
    let file: Value = serde_saphyr::from_str(&settings).unwrap();
    let seconds = |text: &Value| humantime::parse_duration(text.as_str().unwrap()).unwrap();
    let patience = seconds(&service["stop_grace_period"]);
    assert!(patience > seconds(&file["drain"]["max"]));
    assert_eq!(file["upstream"]["url"], "simulator");

    // The image's own variable says where the telemetry listens.
    let (_, telemetry) = image
        .split_once("REFERRAL_GATEWAY_TELEMETRY__LISTEN=")
        .unwrap();
    let telemetry = telemetry.lines().next().unwrap();
    let listens = [file["listen"].as_str().unwrap(), telemetry];
    let listens = listens.map(|at| at.strip_prefix("0.0.0.0:").unwrap().to_owned());
    assert_eq!(ports("gateway"), listens.into());
}

#[test]
fn without_the_simulator_the_gateway_calls_the_service_and_nobody_calls_it() {
    let first = only(FILES[0]);
    let names: Vec<&String> = first.keys().collect();
    assert_eq!(names, ["gateway", "grafana", "prometheus"]);
    let settings = shown_settings(&first["gateway"]);
    let settings: Value = serde_saphyr::from_str(&settings).unwrap();
    let service = "https://api.partner.microsoft.com";
    assert_eq!(settings["upstream"]["url"], service);
}

#[tokio::test]
async fn prometheus_shows_on_the_dashboard_what_the_client_causes() {
    let service = services().remove("prometheus").unwrap();
    let config = mapped(&service, &config_of_prometheus(&service));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yaml");
    fs::write(&file, &config).unwrap();
    passes(tool("promtool").args(["check", "config"]).arg(file));
    let gateway = services().remove("gateway").unwrap();
    let settings = mapped(&gateway, &text(format!("{FOLDER}/gateway/config.yaml")));
    let gateway = Gateway::with(&settings).start_at("simulator").await;
    let mut quick = config;
    for (shipped, here) in [
        ("gateway:4281", &*gateway.telemetry.to_string()),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("scrape_timeout: 10s", "scrape_timeout: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
    ] {
        assert!(quick.contains(shipped), "{quick}");
        quick = quick.replace(shipped, here);
    }
    let prometheus = Prometheus::with(&quick).await;

    let client = services().remove("traffic").unwrap();
    let mut command: Vec<String> = serde_json::from_value(client["entrypoint"].clone()).unwrap();
    let url = command.pop().unwrap();
    assert_eq!(url, "http://gateway:4280");
    let mut calls = shell(&command.remove(0));
    for argument in command {
        calls.arg(mapped(&client, &argument));
    }
    calls
        .arg(format!("http://{}", gateway.address))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let _calls = tokio::process::Command::from(calls)
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let mut missing: BTreeSet<&str> = SHOWN.into();
    eventually("numbers on the dashboard", async || {
        for query in queries_of_the_dashboard() {
            if missing.contains(&*query.place) {
                let results = prometheus.now(&query.text).await;
                let mut numbers = results.iter().flat_map(numbers);
                if numbers.any(|number| number > 0.0) {
                    missing.remove(&*query.place);
                }
            }
        }
        missing.is_empty()
    })
    .await;

    for code in ["200", "428"] {
        let labels = [("method", "PUT"), ("code", code)];
        assert!(gateway.metric("http_requests_total", &labels).await > 0.0);
    }
}

#[test]
fn grafana_is_told_of_prometheus_and_of_the_dashboard() {
    let service = services().remove("grafana").unwrap();
    let provisioned = |kind: &str| {
        let target = format!("/etc/grafana/provisioning/{kind}");
        let mounts = mounts(&service);
        let (source, _) = mounts.iter().find(|(_, own)| *own == target).unwrap();
        let files = fs::read_dir(source).unwrap();
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        let [file] = &files[..] else {
            panic!("{files:?}");
        };
        let file: Value = serde_saphyr::from_str(&text(file)).unwrap();
        assert_eq!(file["apiVersion"], 1);
        file
    };

    let sources = provisioned("datasources");
    let [source] = &sources["datasources"].as_array().unwrap()[..] else {
        panic!("{sources:#}");
    };
    let dashboard = dashboard();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(variable["type"], "datasource");
    assert_eq!(source["type"], variable["query"]);
    // The variable takes the default one where nobody has chosen.
    assert_eq!(source["isDefault"], true);
    assert!(variable["current"].as_object().unwrap().is_empty());
    let url = |port: &String| source["url"] == format!("http://prometheus:{port}");
    assert!(ports("prometheus").iter().all(url), "{source:#}");
    let prometheus = services().remove("prometheus").unwrap();
    let config: Value = serde_saphyr::from_str(&config_of_prometheus(&prometheus)).unwrap();
    let scrape = &config["scrape_configs"][0];
    assert_eq!(
        source["jsonData"]["timeInterval"],
        scrape["scrape_interval"]
    );
    // Dashboard and alerts go by it.
    assert_eq!(scrape["job_name"], "referral-gateway");

    let providers = provisioned("dashboards");
    let path = providers["providers"][0]["options"]["path"]
        .as_str()
        .unwrap();
    let path = PathBuf::from(mapped(&service, &format!("{path}/dashboard.json")));
    assert_eq!(path, root().join("deploy/grafana/dashboard.json"));

    for (name, value) in [
        ("ANONYMOUS_ENABLED", "true"),
        ("ANONYMOUS_ORG_ROLE", "Viewer"),
        ("BASIC_ENABLED", "false"),
        ("DISABLE_LOGIN_FORM", "true"),
    ] {
        let name = format!("GF_AUTH_{name}");
        assert_eq!(service["environment"][&name], value, "{name}");
    }
}

#[test]
fn the_commands_and_addresses_of_the_page_are_those_of_the_files() {
    let page = section("deploy/README.md", "Compose");
    let file = Regex::new(r"-f (\S+)").unwrap();
    let commands: Vec<&str> = page
        .lines()
        .filter(|line| line.contains("docker compose -f"))
        .collect();
    assert!(commands.len() >= 3, "{commands:#?}");
    for command in &commands {
        let mut rest = *command;
        for found in file.captures_iter(command) {
            assert!(root().join(&found[1]).is_file(), "{command}");
            rest = rest.split_once(&found[0]).unwrap().1;
        }
        let mut words = rest.split_whitespace();
        let verb = words.next().unwrap();
        assert!(["up", "logs", "exec", "down"].contains(&verb), "{command}");
        for word in words.take_while(|word| *word != "/referral-gateway") {
            assert!(
                word.starts_with("--") || services().contains_key(word),
                "{word} in {command}"
            );
        }
    }
    let both = FILES.map(|name| format!("-f {FOLDER}/{name}")).join(" ");
    assert!(commands[0].contains(&both), "{}", commands[0]);
    assert!(commands[0].contains(" up "), "{}", commands[0]);

    let address = Regex::new(r"127\.0\.0\.1:(\d+)").unwrap();
    let named: BTreeSet<String> = address
        .captures_iter(&page)
        .map(|found| found[1].to_owned())
        .collect();
    let published: BTreeSet<String> = services()
        .into_keys()
        .flat_map(|name| ports(&name))
        .collect();
    assert_eq!(named, published);
    let shown = between(&page, "http://127.0.0.1:3000/d/", "?");
    assert_eq!(dashboard()["uid"], shown);
}

/// The services of one file.
fn only(file: &str) -> BTreeMap<String, Value> {
    let file: Value = serde_saphyr::from_str(&text(format!("{FOLDER}/{file}"))).unwrap();
    serde_json::from_value(file["services"].clone()).unwrap()
}

/// The services of both files, the second over the first.
fn services() -> BTreeMap<String, Value> {
    let mut all = only(FILES[0]);
    for (name, over) in only(FILES[1]) {
        let Some(service) = all.get_mut(&name) else {
            all.insert(name, over);
            continue;
        };
        let members: Vec<&String> = over.as_object().unwrap().keys().collect();
        assert_eq!(members, ["environment"], "only that is merged here");
        for (variable, value) in over["environment"].as_object().unwrap() {
            service["environment"][variable] = value.clone();
        }
    }
    all
}

/// The folders of the machine in a container, and where they are in it.
fn mounts(service: &Value) -> Vec<(PathBuf, String)> {
    let volumes = service["volumes"].as_array().into_iter().flatten();
    let volumes = volumes.map(|volume| volume.as_str().unwrap());
    // A name without a dot is a volume of Docker's own.
    let folders = volumes.filter(|volume| volume.starts_with('.'));
    let folders = folders.map(|volume| {
        let [source, target, "ro"] = volume.split(':').collect::<Vec<_>>()[..] else {
            panic!("{volume} can be written");
        };
        let source = root().join(FOLDER).join(source).canonicalize();
        let source = source.unwrap_or_else(|error| panic!("{volume}: {error}"));
        (source, target.to_owned())
    });
    folders.collect()
}

/// A text with the paths of a container as they are on this machine.
fn mapped(service: &Value, text: &str) -> String {
    let mounts = mounts(service).into_iter();
    mounts.fold(text.to_owned(), |text, (source, target)| {
        text.replace(&format!("{target}/"), &format!("{}/", source.display()))
    })
}

/// The ports that a service has on the machine.
fn ports(name: &str) -> BTreeSet<String> {
    let service = services().remove(name).unwrap();
    let ports = service["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| port.as_str().unwrap().rsplit_once(':').unwrap().1);
    ports.map(str::to_owned).collect()
}

/// The file that the command of Prometheus names.
fn config_of_prometheus(service: &Value) -> String {
    let command: Vec<String> = serde_json::from_value(service["command"].clone()).unwrap();
    let mut flags = command.iter();
    let file = flags.find_map(|flag| flag.strip_prefix("--config.file="));
    text(Path::new(&mapped(service, file.unwrap())))
}

/// The settings that are in force with the environment of a service, whose policy is here.
fn shown_settings(service: &Value) -> String {
    let environment = service["environment"].as_object().unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| (name, mapped(service, value.as_str().unwrap())))
        .collect::<Vec<_>>();
    let (_, file) = environment
        .iter()
        .find(|(name, _)| *name == "REFERRAL_GATEWAY_CONFIG")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("config.yaml");
    fs::write(&here, mapped(service, &text(file))).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program(arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        passes(command.env("REFERRAL_GATEWAY_CONFIG", &here))
    };
    run(&["check"]);
    run(&["config", "show"])
}
