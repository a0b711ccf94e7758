//! `deploy/kubernetes` and `deploy/helm`, rendered by kubectl and helm, as validators and our own binary read them.
//!
//! `tests/deploy/install` installs these programs. A test of one that cannot be installed says so and proves nothing;
//! `./tests/run` names it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};

pub(crate) use self::render::installed;
use self::{
    cases::{DIGEST, KINDS, every, gateways, pod, with_components, workload},
    render::{Copy, Objects, kustomize},
};
use super::{
    commands::program,
    support::{
        Gateway,
        page::{blocks, root, section, text},
        tools::{passes, shell, tool},
    },
};

mod cases;
mod helm;
mod mounted;
pub(super) mod render;

/// The operator's objects have validators of their own.
fn is_of_prometheus(object: &Value) -> bool {
    object["apiVersion"] == "monitoring.coreos.com/v1"
}

#[test]
fn kubernetes_1_29_1_31_and_the_newest_accept_every_render() {
    let (Some(every), Some(validator)) = (every(), installed("kubernetes-validate")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (number, (_, objects)) in every.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        let objects = objects.iter().filter(|object| !is_of_prometheus(object));
        let documents = objects.map(|object| format!("---\n{object}\n"));
        fs::write(&file, documents.collect::<String>()).unwrap();
        files.push(file);
    }
    for version in [&["-k", "1.29"][..], &["-k", "1.31"], &[]] {
        let mut validate = shell("env");
        validate
            .arg(validator.join("bin/python"))
            .args(["-m", "kubernetes_validate", "--strict"])
            .args(version)
            .args(&files);
        let said = passes(&mut validate);
        // What it has no schema for, it only warns of.
        for line in said.lines() {
            assert!(
                line.starts_with("INFO") && line.contains(" passed "),
                "{line}"
            );
        }
        let objects = every.iter().flat_map(|(_, objects)| objects);
        let objects = objects.filter(|object| !is_of_prometheus(object));
        assert_eq!(said.lines().count(), objects.count());
    }
}

#[test]
fn the_prometheus_operator_accepts_every_render() {
    let (Some(every), Some(models)) = (every(), installed("prometheus-operator")) else {
        return;
    };
    let objects = every.iter().flat_map(|(_, objects)| objects);
    let objects: Vec<&Value> = objects.filter(|object| is_of_prometheus(object)).collect();
    let kinds: BTreeSet<&str> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["PodMonitor", "PrometheusRule"].into());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.json");
    fs::write(&file, serde_json::to_vec(&objects).unwrap()).unwrap();
    let mut node = tool("node");
    node.arg("tests/deploy/validate.mjs")
        .arg(models)
        .stdin(fs::File::open(file).unwrap())
        .current_dir(root());
    assert_eq!(passes(&mut node), "");
}

#[test]
fn the_component_adds_the_gateway_in_front_and_nothing_else() {
    for kind in KINDS {
        for initial in [&[][..], &["migrate", "fetch"]] {
            let own = workload(kind, initial);
            let copy = with_components(&own, &["../sidecar"]);
            let Some(objects) = copy.kustomize("mine") else {
                return;
            };
            let mut wanted = own.clone();
            let at = pod_pointer(kind);
            let pod = wanted.pointer_mut(at).unwrap();
            pod["metadata"]["labels"]["referral-gateway"] = "sidecar".into();
            let mut gateway = sidecar();
            gateway["image"] = format!("registry.example/partner/gateway@{DIGEST}").into();
            put_in_front(pod, "initContainers", vec![gateway]);
            put_in_front(pod, "volumes", volumes("referral-gateway"));
            assert_eq!(*one(&objects, kind), wanted);
        }
    }
}

#[test]
fn a_workload_without_the_label_stays_as_it_is() {
    for kind in KINDS {
        let mut own = workload(kind, &["migrate"]);
        own["metadata"]["labels"] = json!({ "app.kubernetes.io/name": "crm-sync" });
        let copy = with_components(&own, &["../sidecar", "../tls"]);
        let Some(objects) = copy.kustomize("mine") else {
            return;
        };
        assert_eq!(*one(&objects, kind), own);
    }
}

#[test]
fn every_gateway_has_what_it_needs_and_may_do_no_more() {
    let Some(every) = every() else { return };
    let mut sidecars = 0;
    for (name, objects) in every {
        for (_, pod, gateway, is_sidecar) in gateways(objects) {
            let list = if is_sidecar {
                "initContainers"
            } else {
                "containers"
            };
            let first = &pod["spec"][list][0];
            assert_eq!(first, gateway, "{name}: the gateway stands first");
            let restart = is_sidecar.then_some("Always");
            assert_eq!(gateway["restartPolicy"].as_str(), restart, "{name}");
            sidecars += usize::from(is_sidecar);

            assert!(gateway.get("lifecycle").is_none(), "{name}: a preStop");
            assert!(
                gateway["resources"]["requests"]["cpu"].is_string(),
                "{name}"
            );
            assert!(
                gateway["resources"]["limits"]["memory"].is_string(),
                "{name}"
            );
            assert!(gateway["resources"]["limits"]["cpu"].is_null(), "{name}");
            for (probe, path) in [
                ("startupProbe", "/readyz"),
                ("readinessProbe", "/readyz"),
                ("livenessProbe", "/livez"),
            ] {
                let asks = json!({ "path": path, "port": "telemetry" });
                assert_eq!(gateway[probe]["httpGet"], asks, "{name}: {probe}");
            }
            if name != "Helm without what can be left out" {
                may_do_no_more(name, gateway);
            }
            assert!(
                pod.pointer("/metadata/annotations")
                    .is_none_or(|annotations| !annotations.to_string().contains("checksum")),
                "{name}: the gateway reloads by itself"
            );
        }
    }
    assert!(sidecars > 16, "{sidecars}");
}

#[test]
fn nothing_is_mounted_by_sub_path() {
    fn check(name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    assert!(
                        !key.starts_with("subPath"),
                        "{name}: a subPath mount never changes"
                    );
                    check(name, value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| check(name, item)),
            _ => {}
        }
    }
    let Some(every) = every() else { return };
    for (name, objects) in every {
        objects.iter().for_each(|object| check(name, object));
    }
}

#[test]
fn every_pod_leaves_time_to_drain() {
    let Some(every) = every() else { return };
    let mut pods = 0;
    for (name, objects) in every {
        for (_, pod, ..) in gateways(objects) {
            // Kubernetes' own default.
            let seconds = pod["spec"].get("terminationGracePeriodSeconds");
            let seconds = seconds.map_or(30, |seconds| seconds.as_u64().unwrap());
            let settings = settings_of(objects);
            let drain = humantime::parse_duration(settings["drain"]["max"].as_str().unwrap());
            assert!(Duration::from_secs(seconds) > drain.unwrap(), "{name}");
            pods += 1;
        }
    }
    assert!(pods > 20, "{pods}");
}

#[test]
fn kustomize_and_helm_give_the_same() {
    let (Some(kustomized), Some(every)) = (kustomize("standalone"), every()) else {
        return;
    };
    let mut helm = named(every, "Helm").clone();
    // What `helm test` starts.
    helm.retain(|object| object["kind"] != "Pod");
    assert_eq!(plain(&helm), plain(&kustomized));

    let (with_tls, kustomized) = ("Helm with TLS", "standalone with TLS");
    let mut helm = named(every, with_tls).clone();
    helm.retain(|object| object["kind"] != "Pod");
    assert_eq!(plain(&helm), plain(named(every, kustomized)));

    let chart = named(every, "Helm of a chart with a sidecar");
    let (helm, example) = (gateways(chart), kustomize("example").unwrap());
    let ([(_, helm, ..)], [(_, example, ..)]) = (&helm[..], &gateways(&example)[..]) else {
        panic!("not one pod each");
    };
    assert_eq!(
        helm["spec"]["initContainers"],
        example["spec"]["initContainers"]
    );
    assert_eq!(
        example["spec"]["volumes"],
        json!(volumes("referral-gateway"))
    );
    assert_eq!(
        helm["spec"]["volumes"],
        json!(volumes("crm-referral-gateway"))
    );
    assert_eq!(
        settings_of(chart),
        serde_saphyr::from_str::<Value>(&text("deploy/kubernetes/settings/config.yaml")).unwrap()
    );
}

#[test]
fn settings_policy_and_tests_are_config_maps_of_their_own() {
    let Some(every) = every() else { return };
    for (name, objects) in every {
        for (_, pod, gateway, _) in gateways(objects) {
            let mut maps = BTreeSet::new();
            for folder in ["config", "policies", "tests"] {
                let path = format!("/etc/referral-gateway/{folder}");
                let mounts = gateway["volumeMounts"].as_array().unwrap();
                let mount = mounts.iter().find(|mount| mount["mountPath"] == *path);
                let volume = &mount.expect(name)["name"];
                let volumes = pod["spec"]["volumes"].as_array().unwrap();
                let volume = volumes.iter().find(|entry| entry["name"] == *volume);
                let map = volume.expect(name)["configMap"]["name"].as_str().unwrap();
                maps.insert(map);
                assert!(
                    objects
                        .iter()
                        .any(|object| object["kind"] == "ConfigMap"
                            && object["metadata"]["name"] == map),
                    "{name} has no {map}"
                );
            }
            assert_eq!(maps.len(), 3, "{name}");
        }
    }
}

#[test]
fn the_replicas_share_the_limits_of_one_gateway() {
    let shown = passes(&mut program(&["config", "show", "--output", "json"]));
    let defaults: Value = serde_json::from_str(&shown).unwrap();
    let defaults = &defaults["settings"]["rate_limit"];
    let deployment = &file("deploy/kubernetes/standalone/deployment.yaml");
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    for (path, replicas) in [
        ("deploy/kubernetes/standalone/config.yaml", replicas),
        ("deploy/kubernetes/settings/config.yaml", 1),
    ] {
        let limits = &file(path)["rate_limit"];
        for at in [
            "/reads/per_minute",
            "/reads/burst",
            "/writes/per_minute",
            "/writes/burst",
            "/concurrency",
        ] {
            let of = |limits: &Value| limits.pointer(at).unwrap().as_u64().unwrap();
            assert_eq!(of(limits) * replicas, of(defaults), "{path}{at}");
        }
    }
}

#[test]
fn a_standalone_gateway_is_reached_by_its_clients_alone() {
    let Some(objects) = kustomize("standalone") else {
        return;
    };
    let pod = pod(one(&objects, "Deployment")).unwrap();
    let labels = &pod["metadata"]["labels"];
    let ports = &gateways(&objects)[0].2["ports"];
    assert_eq!(
        *ports,
        json!([{ "name": "telemetry", "containerPort": 4281 }, { "name": "api", "containerPort": 4280 }])
    );

    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert!(selects(&policy["podSelector"], labels));
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let clients = json!([{ "podSelector": { "matchLabels": { "referral-gateway": "client" } } }]);
    let monitoring = json!({ "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } });
    let port = |port: u16| json!([{ "protocol": "TCP", "port": port }]);
    assert_eq!(
        policy["ingress"],
        json!([
            { "from": clients, "ports": port(4280) },
            { "from": [{ "namespaceSelector": monitoring }], "ports": port(4281) },
        ])
    );

    let sidecar = &file("deploy/kubernetes/sidecar-network/networkpolicy.yaml")["spec"];
    assert_eq!(sidecar["egress"], policy["egress"]);
    assert_eq!(sidecar["ingress"], json!([policy["ingress"][1]]));
    assert!(selects(
        &sidecar["podSelector"],
        &json!({ "referral-gateway": "sidecar" })
    ));

    let service = &one(&objects, "Service")["spec"];
    assert!(selects(
        &json!({ "matchLabels": service["selector"] }),
        labels
    ));
    assert_eq!(
        service["ports"],
        json!([{ "name": "api", "port": 4280, "targetPort": "api" }])
    );
    let budget = &one(&objects, "PodDisruptionBudget")["spec"];
    assert!(selects(&budget["selector"], labels));
    assert_eq!(budget["maxUnavailable"], 1);
}

#[test]
fn what_prometheus_scrapes_has_the_job_of_alerts_and_dashboard() {
    let (Some(objects), Some(every)) = (kustomize("monitoring"), every()) else {
        return;
    };
    let endpoints = json!([{
        "port": "telemetry",
        "path": "/metrics",
        "interval": "15s",
        "scrapeTimeout": "10s",
        "relabelings": [{ "targetLabel": "job", "replacement": "referral-gateway" }],
    }]);
    let monitor = &one(&objects, "PodMonitor")["spec"];
    assert_eq!(monitor["podMetricsEndpoints"], endpoints);
    assert_eq!(monitor["namespaceSelector"], json!({ "any": true }));
    let expression = &monitor["selector"]["matchExpressions"];
    let values = json!(["sidecar", "standalone"]);
    assert_eq!(
        *expression,
        json!([{ "key": "referral-gateway", "operator": "In", "values": values }])
    );
    for (name, objects) in every {
        let monitor = objects.iter().find(|object| object["kind"] == "PodMonitor");
        for (_, pod, ..) in gateways(objects) {
            let labels = &pod["metadata"]["labels"];
            assert!(
                values
                    .as_array()
                    .unwrap()
                    .contains(&labels["referral-gateway"]),
                "{name}"
            );
            if let Some(monitor) = monitor {
                assert!(selects(&monitor["spec"]["selector"], labels), "{name}");
            }
        }
    }
    let helm = named(every, "Helm with all options");
    let monitor = one(helm, "PodMonitor");
    let relabeled = &monitor["spec"]["podMetricsEndpoints"][0]["relabelings"];
    assert_eq!(*relabeled, endpoints[0]["relabelings"]);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
}

#[test]
fn rules_and_dashboard_are_those_of_prometheus_and_grafana() {
    let (Some(kustomized), Some(every)) = (kustomize("monitoring"), every()) else {
        return;
    };
    let rules = file("deploy/prometheus/rules.yaml");
    let dashboard = text("deploy/grafana/dashboard.json");
    assert!(serde_json::from_str::<Value>(&dashboard).unwrap()["title"].is_string());
    for objects in [&kustomized, named(every, "Helm with all options")] {
        assert_eq!(one(objects, "PrometheusRule")["spec"], rules);
        let shown = objects
            .iter()
            .find(|object| object["data"]["referral-gateway.json"].is_string());
        let shown = shown.expect("a dashboard");
        // A template engine must not have touched `{{instance}}`.
        let said = shown["data"]["referral-gateway.json"].as_str().unwrap();
        assert_eq!(said.trim_end(), dashboard.trim_end());
        // `kubectl apply` keeps a copy of the object in an annotation, which has a limit.
        assert!(shown.to_string().len() < 262_144);
    }
    let map = one(&kustomized, "ConfigMap");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let helm = installed("kubectl-and-helm").and_then(|_| {
        let shown = ["--set=dashboard.enabled=true"];
        Copy::new().template("referral-gateway", "referral-gateway", &shown)
    });
    let helm = helm.unwrap();
    let map = helm
        .iter()
        .find(|object| object["metadata"]["name"] == "referral-gateway-dashboard");
    assert_eq!(map.unwrap()["metadata"]["labels"]["grafana_dashboard"], "1");
}

#[test]
fn a_prefix_reaches_what_the_sidecar_mounts() {
    let copy = with_components(&workload("Deployment", &[]), &["../sidecar"]);
    copy.write(
        "deploy/kubernetes/prefixed/kustomization.yaml",
        "{namePrefix: crm-, resources: [../mine]}",
    );
    let Some(objects) = copy.kustomize("prefixed") else {
        return;
    };
    let pod = pod(one(&objects, "Deployment")).unwrap();
    assert_eq!(
        pod["spec"]["volumes"],
        json!(volumes("crm-referral-gateway"))
    );
}

#[test]
fn the_kustomization_of_the_readme_has_its_own_settings_policy_and_tests() {
    let section = section("deploy/README.md", "Kubernetes");
    let [kustomization] = blocks(&section, "yaml")[..] else {
        panic!("not one block in {section}");
    };
    let copy = Copy::new();
    let example = text("deploy/kubernetes/example/deployment.yaml");
    copy.write("deploy/kubernetes/mine/kustomization.yaml", kustomization);
    copy.write("deploy/kubernetes/mine/deployment.yaml", &example);
    copy.write(
        "deploy/kubernetes/mine/config.yaml",
        "drain: { max: 10s }\n",
    );
    let policy = text("policies/rollout.yaml");
    copy.write("deploy/kubernetes/mine/policies/mine.yaml", &policy);
    let tests = text("policies/tests/rollout.yaml");
    let tests = tests.replace("../rollout.yaml", "../policies/mine.yaml");
    copy.write("deploy/kubernetes/mine/tests/mine.yaml", &tests);
    let Some(objects) = copy.kustomize("mine") else {
        return;
    };
    assert_eq!(settings_of(&objects), json!({ "drain": { "max": "10s" } }));
    mounted::accepts("the README's kustomization", &objects);
}

#[test]
fn every_folder_that_the_readme_applies_is_rendered() {
    let readme = text("deploy/README.md");
    let folders = readme.split("kubectl apply -k ").skip(1);
    let folders = folders.filter_map(|rest| rest.split(['`', '\n', ' ']).next());
    let folders: BTreeSet<&str> = folders.collect();
    let wanted = ["example", "standalone", "monitoring"];
    let wanted = wanted.map(|name| format!("deploy/kubernetes/{name}"));
    assert_eq!(folders, wanted.iter().map(String::as_str).collect());
}

#[test]
fn copies_are_up_to_date() {
    let copy = Copy::new();
    let mut write = tool("bash");
    write.arg(copy.path("deploy/copies")).stdin(Stdio::null());
    passes(&mut write);
    let files = |folder: &Path| {
        let mut find = shell("find");
        find.args(["deploy", "-type", "f"]).current_dir(folder);
        let names = passes(&mut find);
        let read = |name: &str| (name.to_owned(), fs::read(folder.join(name)).unwrap());
        names.lines().map(read).collect::<BTreeMap<_, _>>()
    };
    let (own, written) = (files(root()), files(&copy.path("")));
    for (name, content) in &written {
        assert!(
            own.get(name) == Some(content),
            "{name} is not up to date: run deploy/copies"
        );
    }
}

#[tokio::test]
async fn the_probes_ask_paths_that_answer_on_the_telemetry_port() {
    let gateway = Gateway::with("").start_at("simulator").await;
    for container in [sidecar(), standalone()] {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let asks = &container[probe]["httpGet"];
            assert_eq!(asks["port"], container["ports"][0]["name"]);
            let path = asks["path"].as_str().unwrap();
            assert_eq!(gateway.telemetry(path).await.status, 200, "{path}");
        }
    }
}

#[test]
fn the_application_finds_the_gateway_where_it_listens() {
    let example = file("deploy/kubernetes/example/deployment.yaml");
    let application = &example["spec"]["template"]["spec"]["containers"][0];
    let base_url = application["env"][0]["value"].as_str().unwrap();
    let shown = passes(&mut program(&["config", "show", "--output", "json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let listen = shown["settings"]["listen"].as_str().unwrap();
    assert_eq!(base_url, format!("http://{listen}"));
    assert!(listen.starts_with("127.0.0.1:"));

    let version = env!("CARGO_PKG_VERSION");
    for image in [&sidecar()["image"], &standalone()["image"]] {
        assert_eq!(
            *image,
            format!("registry.example/referral-gateway:{version}")
        );
    }
    let chart = file("deploy/helm/referral-gateway/Chart.yaml");
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
}

#[test]
fn a_pod_beside_our_service_is_given_no_wrong_setting() {
    // Kubernetes describes every Service of the namespace in the environment.
    let described = [
        ("REFERRAL_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("REFERRAL_GATEWAY_SERVICE_PORT", "4280"),
        ("REFERRAL_GATEWAY_SERVICE_PORT_API", "4280"),
        ("REFERRAL_GATEWAY_PORT", "tcp://10.0.0.1:4280"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP", "tcp://10.0.0.1:4280"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP_PROTO", "tcp"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP_PORT", "4280"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP_ADDR", "10.0.0.1"),
    ];
    passes(program(&["check"]).envs(described));
}

#[test]
fn the_pods_that_we_ship_may_do_no_more_than_they_need() {
    for path in ["example", "standalone"] {
        let deployment = file(&format!("deploy/kubernetes/{path}/deployment.yaml"));
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        for container in pod["containers"].as_array().unwrap() {
            may_do_no_more(path, container);
            assert!(container["resources"]["limits"]["memory"].is_string());
            assert!(container["resources"]["requests"]["cpu"].is_string());
        }
    }
    may_do_no_more("sidecar", &sidecar());
    for container in [sidecar(), standalone()] {
        let user = container["securityContext"]["runAsUser"].to_string();
        let image = text("deploy/Dockerfile");
        assert!(
            image.contains(&format!("\nUSER {user}:{user}\n")),
            "the image has another user"
        );
    }
}

fn may_do_no_more(name: &str, container: &Value) {
    let may = &container["securityContext"];
    assert_eq!(may["runAsNonRoot"], true, "{name}");
    assert_eq!(may["readOnlyRootFilesystem"], true, "{name}");
    assert_eq!(may["allowPrivilegeEscalation"], false, "{name}");
    assert_eq!(may["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
    assert!(may.get("privileged").is_none(), "{name}");
}

/// A file of the repository in YAML.
fn file(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap()
}

/// The gateway's container, as the component adds it.
fn sidecar() -> Value {
    file("deploy/kubernetes/sidecar/container.yaml")[0]["value"].clone()
}

fn standalone() -> Value {
    let deployment = file("deploy/kubernetes/standalone/deployment.yaml");
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

/// The volumes of a gateway, whose names begin so.
fn volumes(name: &str) -> Vec<Value> {
    let volume = |volume: &str, map: String| json!({ "name": format!("referral-gateway-{volume}"), "configMap": { "name": map } });
    vec![
        volume("config", name.to_owned()),
        volume("policies", format!("{name}-policies")),
        volume("tests", format!("{name}-policy-tests")),
    ]
}

fn pod_pointer(kind: &str) -> &'static str {
    match kind {
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    }
}

fn put_in_front(pod: &mut Value, list: &str, mut items: Vec<Value>) {
    let own = pod["spec"][list].as_array().cloned();
    items.extend(own.unwrap_or_default());
    pod["spec"][list] = items.into();
}

#[track_caller]
fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind}"))
}

#[track_caller]
fn named<'a>(every: &'a [(String, Objects)], name: &str) -> &'a Objects {
    let found = every.iter().find(|(own, _)| own == name);
    &found.unwrap_or_else(|| panic!("no {name}")).1
}

/// The settings in a render.
#[track_caller]
fn settings_of(objects: &[Value]) -> Value {
    let maps = objects.iter().map(|object| &object["data"]["config.yaml"]);
    let settings: Vec<&str> = maps.filter_map(Value::as_str).collect();
    let [settings] = settings[..] else {
        panic!("not one file of settings: {settings:?}");
    };
    serde_saphyr::from_str(settings).unwrap()
}

/// Objects without what Helm alone writes, in the order of kinds and names.
fn plain(objects: &[Value]) -> Vec<Value> {
    fn without(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for label in ["instance", "version", "managed-by"] {
                    members.remove(&format!("app.kubernetes.io/{label}"));
                }
                members.remove("helm.sh/chart");
                if let Some(Value::String(settings)) = members.get("config.yaml") {
                    let settings = serde_saphyr::from_str(settings).unwrap();
                    members.insert("config.yaml".to_owned(), settings);
                }
                members.values_mut().for_each(without);
            }
            Value::Array(items) => items.iter_mut().for_each(without),
            _ => {}
        }
    }
    let mut objects = objects.to_vec();
    objects.iter_mut().for_each(without);
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

/// Whether a selector by labels selects these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
}
