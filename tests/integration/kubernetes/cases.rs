//! Every render that the tests look at, and the pods in it.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::render::{Copy, Objects, kustomize};
use crate::support::page::{blocks, section, text};
use crate::support::tools::passes;

/// The kinds of workloads that get a sidecar.
pub(super) const KINDS: [&str; 4] = ["Deployment", "StatefulSet", "Job", "CronJob"];

pub(super) const DIGEST: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The values of `tests/deploy/all-options.yaml`.
pub(super) fn all_options() -> [String; 2] {
    let root = env!("CARGO_MANIFEST_DIR");
    [
        "--values".to_owned(),
        format!("{root}/tests/deploy/all-options.yaml"),
    ]
}

/// An application of that kind, with these init containers of its own.
pub(super) fn workload(kind: &str, initial: &[&str]) -> Value {
    let container = |name: &str| json!({ "name": name, "image": format!("{name}:1") });
    let mut pod = json!({ "containers": [container("crm-sync")] });
    if !initial.is_empty() {
        let initial: Vec<Value> = initial.iter().map(|name| container(name)).collect();
        pod["initContainers"] = initial.into();
        pod["terminationGracePeriodSeconds"] = 120.into();
        pod["volumes"] = json!([{ "name": "own", "emptyDir": {} }]);
    }
    if ["Job", "CronJob"].contains(&kind) {
        pod["restartPolicy"] = "Never".into();
    }
    let labels = json!({ "app.kubernetes.io/name": "crm-sync" });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let selector = json!({ "matchLabels": labels });
    let (api, spec) = match kind {
        "Deployment" => (
            "apps/v1",
            json!({ "selector": selector, "template": template }),
        ),
        "StatefulSet" => (
            "apps/v1",
            json!({ "serviceName": "crm", "selector": selector, "template": template }),
        ),
        "Job" => ("batch/v1", json!({ "template": template })),
        "CronJob" => (
            "batch/v1",
            json!({ "schedule": "0 3 * * *", "jobTemplate": { "spec": { "template": template } } }),
        ),
        other => panic!("{other}"),
    };
    let metadata = json!({ "name": "crm-sync", "labels": { "referral-gateway": "sidecar" } });
    json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec })
}

/// A kustomization with that workload, these components and an image of its own, as `deploy/kubernetes/mine`.
pub(super) fn with_components(workload: &Value, components: &[&str]) -> Copy {
    let copy = Copy::new();
    let kustomization = json!({
        "resources": ["workload.yaml", "../settings"],
        "components": components,
        "images": [{
            "name": "registry.example/referral-gateway",
            "newName": "registry.example/partner/gateway",
            "digest": DIGEST,
        }],
    });
    copy.write(
        "deploy/kubernetes/mine/workload.yaml",
        &workload.to_string(),
    );
    copy.write(
        "deploy/kubernetes/mine/kustomization.yaml",
        &kustomization.to_string(),
    );
    copy
}

/// The chart `crm-sync` of the README, beside ours, whose dependency has been built.
pub(super) fn chart_with_a_sidecar() -> Option<Copy> {
    let section = section("deploy/README.md", "Helm");
    let [chart, values, template] = blocks(&section, "yaml")[..] else {
        panic!("not three blocks in {section}");
    };
    let copy = Copy::new();
    let named = "apiVersion: v2\nname: crm-sync\nversion: 1.0.0\n";
    copy.write(
        "deploy/helm/crm-sync/Chart.yaml",
        &format!("{named}{chart}\n"),
    );
    copy.write("deploy/helm/crm-sync/values.yaml", values);
    copy.write("deploy/helm/crm-sync/templates/deployment.yaml", template);
    passes(&mut copy.helm(&["dependency", "build"], "crm-sync", &[])?);
    Some(copy)
}

/// All renders, with their names.
pub(super) fn every() -> Option<&'static [(String, Objects)]> {
    static EVERY: OnceLock<Option<Vec<(String, Objects)>>> = OnceLock::new();
    EVERY.get_or_init(render_every).as_deref()
}

fn render_every() -> Option<Vec<(String, Objects)>> {
    let mut every = Vec::new();
    for name in ["standalone", "example", "monitoring", "sidecar-network"] {
        every.push((name.to_owned(), kustomize(name)?));
    }
    for kind in KINDS {
        for initial in [&[][..], &["migrate", "fetch"]] {
            for components in [&["../sidecar"][..], &["../sidecar", "../tls"]] {
                let copy = with_components(&workload(kind, initial), components);
                let name = format!("{kind} with {initial:?} and {components:?}");
                every.push((name, copy.kustomize("mine")?));
            }
        }
    }
    let copy = Copy::new();
    copy.write(
        "deploy/kubernetes/mine/kustomization.yaml",
        "{resources: [../standalone], components: [../tls]}",
    );
    every.push(("standalone with TLS".to_owned(), copy.kustomize("mine")?));

    let all = all_options();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let own_tests = text("policies/tests/rollout.yaml");
    let own_tests = own_tests.replace("../rollout.yaml", "../policies/policy.yaml");
    copy.write("own-tests.yaml", &own_tests);
    let own_policy = [
        "--set-file=policy.document=policies/rollout.yaml",
        "--set-file=policy.tests=own-tests.yaml",
    ];
    for (name, arguments) in [
        ("Helm", vec![]),
        ("Helm with all options", all.clone()),
        ("Helm in mode sidecar", vec!["--set=mode=sidecar"]),
        (
            "Helm in mode sidecar with all options",
            [&all[..], &["--set=mode=sidecar"]].concat(),
        ),
        (
            "Helm without what can be left out",
            vec![
                "--set=podDisruptionBudget.enabled=false,networkPolicy.enabled=false",
                "--set-json=replicas=null",
                "--set=podSecurityContext=null,securityContext=null",
            ],
        ),
        ("Helm with a policy", own_policy.to_vec()),
        ("Helm with an untested policy", own_policy[..1].to_vec()),
        (
            "Helm with TLS",
            vec!["--set=tls.existingSecret=referral-gateway-tls"],
        ),
    ] {
        let objects = copy.template("referral-gateway", "referral-gateway", &arguments)?;
        every.push((name.to_owned(), objects));
    }
    let chart = chart_with_a_sidecar()?;
    let objects = chart.template("crm", "crm-sync", &[])?;
    every.push(("Helm of a chart with a sidecar".to_owned(), objects));
    Some(every)
}

/// The template of an object's pods, if it has one. A pod is its own.
pub(super) fn pod(object: &Value) -> Option<&Value> {
    if object["kind"] == "Pod" {
        return Some(object);
    }
    let templates = ["/spec/template", "/spec/jobTemplate/spec/template"];
    let mut found = templates.iter().filter_map(|at| object.pointer(at));
    found.next().filter(|template| template["spec"].is_object())
}

/// The gateway's container in a pod, and whether it is a sidecar.
pub(super) fn gateway(pod: &Value) -> Option<(&Value, bool)> {
    let named = |list: &str| {
        let containers = pod["spec"][list].as_array()?;
        let mut gateways = containers
            .iter()
            .filter(|container| container["name"] == "referral-gateway");
        let gateway = gateways.next();
        assert!(gateways.next().is_none(), "two gateways: {pod:#}");
        gateway
    };
    let standalone = named("containers").map(|gateway| (gateway, false));
    standalone.or_else(|| Some((named("initContainers")?, true)))
}

/// The objects of a render that have a gateway: the object, its pod, the gateway's container, and whether it is a sidecar.
pub(super) fn gateways(objects: &[Value]) -> Vec<(&Value, &Value, &Value, bool)> {
    let pods = objects
        .iter()
        .filter_map(|object| Some((object, pod(object)?)));
    pods.filter_map(|(object, pod)| {
        let (gateway, is_sidecar) = gateway(pod)?;
        Some((object, pod, gateway, is_sidecar))
    })
    .collect()
}
