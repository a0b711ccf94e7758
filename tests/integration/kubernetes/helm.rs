//! The chart: its values, what it says, and what becomes of each value.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{
    cases::{all_options, chart_with_a_sidecar, every, gateways},
    file, named, one,
    render::{Copy, fails},
    selects, settings_of,
};
use crate::support::{
    page::{check_same, root, text},
    tools::passes,
};

#[test]
fn helm_lint_has_nothing_to_say() {
    let copy = Copy::new();
    let all = all_options();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for arguments in [&[][..], &all[..], &["--set=mode=sidecar"]] {
        let Some(mut lint) = copy.helm(&["lint", "--strict"], "referral-gateway", arguments) else {
            return;
        };
        let said = passes(&mut lint);
        for bad in ["[WARNING]", "[ERROR]"] {
            assert!(!said.contains(bad), "{said}");
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_path() {
    let copy = Copy::new();
    for (value, said) in [
        (
            "mode=daemon",
            "at '/mode': value must be one of 'standalone', 'sidecar'",
        ),
        (
            "replicas=two",
            "at '/replicas': got string, want null or integer",
        ),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        (
            "image.digest=latest",
            "at '/image/digest': 'latest' does not match pattern",
        ),
        (
            "image.tags=1",
            "at '/image': additional properties 'tags' not allowed",
        ),
        (
            "netwrokPolicy.enabled=true",
            "additional properties 'netwrokPolicy' not allowed",
        ),
        (
            "networkPolicy.enabled=yes",
            "at '/networkPolicy/enabled': got string, want boolean",
        ),
        (
            "service.port=70000",
            "at '/service/port': maximum: got 70,000, want 65,535",
        ),
        ("podMonitor=null", "missing property 'podMonitor'"),
        ("service.type=Internal", "at '/service/type'"),
        (
            "terminationGracePeriodSeconds=30s",
            "at '/terminationGracePeriodSeconds'",
        ),
        ("bindAddress=localhost", "at '/bindAddress'"),
        (
            "podLabels.number=1",
            "at '/podLabels/number': got number, want string",
        ),
        (
            "extraEnv[0].nam=HTTPS_PROXY",
            "at '/extraEnv/0': missing property 'name'",
        ),
        ("podMonitor.interval=often", "at '/podMonitor/interval'"),
        (
            "podDisruptionBudget.maxUnavailable=few",
            "at '/podDisruptionBudget/maxUnavailable'",
        ),
        (
            "extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/a,extraVolumeMounts[0].subPath=b",
            "at '/extraVolumeMounts/0/subPath'",
        ),
        (
            "config.listen=127.0.0.1:80",
            "config.listen has no effect here: use bindAddress",
        ),
        (
            "config.telemetry.listen=:1",
            "config.telemetry.listen has no effect here",
        ),
        (
            "config.policy.document=a.yaml",
            "config.policy.document has no effect here",
        ),
    ] {
        let set = format!("--set={value}");
        let arguments = ["--generate-name", &set];
        let Some(mut helm) = copy.helm(&["template"], "referral-gateway", &arguments) else {
            return;
        };
        let answer = fails(&mut helm);
        assert!(answer.contains(said), "{value}: {answer}");
    }
    for value in [
        "global.registry=own",
        "extraValues.team=crm",
        "enabled=true",
    ] {
        let set = format!("--set={value}");
        copy.template("gateway", "referral-gateway", &[&set]);
    }
    // As in a file that has the name, and comments below it.
    let unset = "--set-json=config=null,resources=null,affinity=null,extraEnv=null";
    copy.template("gateway", "referral-gateway", &[unset]);
    let old = ["--generate-name", "--kube-version=1.28.9"];
    let mut helm = copy.helm(&["template"], "referral-gateway", &old).unwrap();
    assert!(fails(&mut helm).contains("requires kubeVersion: >=1.29"));
}

#[test]
fn every_value_has_a_default_a_type_and_an_effect() {
    fn paths(prefix: &str, value: &Value, types: &Value, into: &mut BTreeSet<String>) {
        for (name, value) in value.as_object().unwrap() {
            let types = &types["properties"][name];
            assert!(types.is_object(), "{prefix}{name} has no type");
            match types["properties"].is_object() {
                true => paths(&format!("{prefix}{name}."), value, types, into),
                false => drop(into.insert(format!("{prefix}{name}"))),
            }
        }
    }
    let chart = "deploy/helm/referral-gateway";
    let schema: Value = serde_json::from_str(&text(format!("{chart}/values.schema.json"))).unwrap();
    let values = file(&format!("{chart}/values.yaml"));
    let mut leaves = BTreeSet::new();
    paths("", &values, &schema, &mut leaves);

    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let mut typed = names(&schema["properties"]);
    // Both are Helm's own.
    typed.remove("global");
    typed.remove("enabled");
    check_same(&names(&values), &typed);

    let files = fs::read_dir(root().join(chart).join("templates")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let templates: String = files.filter(|path| path.is_file()).map(text).collect();
    leaves.remove("extraValues");
    for leaf in leaves {
        let (within, _) = leaf.rsplit_once('.').unwrap_or((&leaf, ""));
        assert!(
            templates.contains(&format!(".Values.{leaf}"))
                || within == "resources" && templates.contains(".Values.resources"),
            "{leaf} has no effect"
        );
    }
}

#[test]
fn all_options_arrive() {
    let Some(every) = every() else { return };
    let options = file("tests/deploy/all-options.yaml");
    let objects = named(every, "Helm with all options");
    let deployment = one(objects, "Deployment");
    assert_eq!(deployment["metadata"]["name"], "partner-gate");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let [(_, pod, gateway, false)] = gateways(objects)[..] else {
        panic!("not one gateway");
    };
    let digest = options["image"]["digest"].as_str().unwrap();
    assert_eq!(
        gateway["image"],
        format!("registry.example/partner/gateway@{digest}")
    );
    assert_eq!(gateway["imagePullPolicy"], "IfNotPresent");
    assert_eq!(gateway["resources"], options["resources"]);
    assert_eq!(gateway["securityContext"], options["securityContext"]);
    let spec = &pod["spec"];
    assert_eq!(spec["securityContext"], options["podSecurityContext"]);
    for name in [
        "imagePullSecrets",
        "terminationGracePeriodSeconds",
        "serviceAccountName",
        "priorityClassName",
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
    ] {
        assert_eq!(spec[name], options[name], "{name}");
    }
    for (list, option) in [
        (&gateway["env"], "extraEnv"),
        (&gateway["volumeMounts"], "extraVolumeMounts"),
        (&spec["volumes"], "extraVolumes"),
    ] {
        assert_eq!(
            list.as_array().unwrap().last(),
            options[option].get(0),
            "{option}"
        );
    }
    assert_eq!(gateway["env"][0]["value"], "[::]:4281");
    assert_eq!(gateway["env"][1]["value"], "[::]:4280");
    assert_eq!(pod["metadata"]["labels"]["team"], "crm");
    assert_eq!(pod["metadata"]["annotations"], options["podAnnotations"]);
    let settings = settings_of(objects);
    assert_eq!(settings["upstream"]["max_connections"], 100_000);
    assert_eq!(
        settings["rate_limit"]["writes"],
        json!({ "per_minute": 240, "burst": 15 })
    );

    let service = one(objects, "Service");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert_eq!(
        service["metadata"]["annotations"],
        options["service"]["annotations"]
    );
    let budget = &one(objects, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], "50%");
    let network = &one(objects, "NetworkPolicy")["spec"];
    let options = &options["networkPolicy"];
    assert_eq!(network["ingress"][0]["from"], options["clients"]);
    assert_eq!(network["ingress"][2], options["extraIngress"][0]);
    assert_eq!(network["egress"][2], options["extraEgress"][0]);

    let map = |name: &str| {
        objects
            .iter()
            .find(|object| object["metadata"]["name"] == name)
    };
    let as_it_is = map("as-it-is").unwrap();
    assert_eq!(as_it_is["data"]["text"], "{{ $labels.pod }}");
    assert!(map("with-crm").is_some());
}

#[test]
fn a_sidecar_by_helm_needs_its_mode() {
    let Some(copy) = chart_with_a_sidecar() else {
        return;
    };
    let standalone = ["--set=referral-gateway.mode=standalone"];
    let helm = copy.helm(&["template", "crm"], "crm-sync", &standalone);
    let mut helm = helm.unwrap();
    let said = fails(&mut helm);
    assert!(
        said.contains("needs the value `referral-gateway.mode: sidecar`"),
        "{said}"
    );

    // A chart that depends on ours may switch it off, and pass what is for all charts.
    let values = "--set=global.registry=own,referral-gateway.enabled=true";
    let objects = copy.template("crm", "crm-sync", &[values]).unwrap();
    let kinds: Vec<&str> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    let maps = kinds.iter().filter(|kind| **kind == "ConfigMap").count();
    assert_eq!(maps, 3, "{kinds:?}");
    // A NetworkPolicy would be for the application, too.
    for kind in ["Service", "PodDisruptionBudget", "NetworkPolicy"] {
        assert!(!kinds.contains(&kind), "{kinds:?}");
    }
    let asked = ["--set=referral-gateway.networkPolicy.sidecar=true"];
    let objects = copy.template("crm", "crm-sync", &asked).unwrap();
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    let [(_, pod, ..)] = gateways(&objects)[..] else {
        panic!("not one gateway");
    };
    let labels = &pod["metadata"]["labels"];
    assert!(selects(&policy["podSelector"], labels), "{policy:#}");
    let network = file("deploy/kubernetes/sidecar-network/networkpolicy.yaml");
    assert_eq!(policy["ingress"], network["spec"]["ingress"]);
}

#[test]
fn helm_says_where_the_gateway_is() {
    let copy = Copy::new();
    let notes = |arguments: &[&str]| {
        let arguments = [&["--dry-run=client", "--namespace=partner"], arguments].concat();
        let mut helm = copy.helm(&["install", "gateway"], "referral-gateway", &arguments)?;
        let said = passes(&mut helm);
        Some(said.split_once("NOTES:\n").unwrap().1.to_owned())
    };
    let Some(said) = notes(&[]) else { return };
    for part in [
        "set image.repository",
        "http://gateway-referral-gateway.partner.svc:4280\n",
        "`referral-gateway: client`",
        "Tokens pass in clear text",
        "helm --namespace partner test gateway",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = notes(&[
        "--set=image.repository=registry.example.com/a,tls.existingSecret=a,networkPolicy.enabled=false",
    ]);
    let said = said.unwrap();
    assert!(
        said.contains("https://gateway-referral-gateway.partner.svc:4280\n"),
        "{said}"
    );
    assert!(
        said.contains("WARNING: networkPolicy.enabled is false"),
        "{said}"
    );
    assert!(
        !said.contains("clear text") && !said.contains("set image.repository"),
        "{said}"
    );
    let said = notes(&["--set=mode=sidecar"]).unwrap();
    assert!(
        said.contains("gateway-referral-gateway-policy-tests"),
        "{said}"
    );
}
