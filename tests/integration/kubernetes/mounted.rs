//! What the gateway finds in its pod: what its volumes hold, laid out as the kubelet does it.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use super::cases::{every, gateways};
use crate::{
    commands::program,
    support::{page::text, tls::Authority, tools::passes},
};

/// Where a container mounts what is the gateway's.
const MOUNTS: &str = "/etc/referral-gateway";

#[test]
fn the_gateway_accepts_what_every_pod_mounts() {
    let Some(every) = every() else { return };
    let mut accepted = 0;
    for (name, objects) in every {
        accepted += accepts(name, objects);
    }
    assert!(accepted > 20, "{accepted}");
}

/// Runs `check` and `test` for each gateway of a render, as its container would. Returns how many there were.
#[track_caller]
pub(super) fn accepts(name: &str, objects: &[Value]) -> usize {
    let gateways = gateways(objects);
    for (_, pod, gateway, is_sidecar) in &gateways {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("etc/referral-gateway");
        let here = here.to_str().unwrap();
        for mount in gateway["volumeMounts"].as_array().unwrap() {
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"]);
            let path = mount["mountPath"].as_str().unwrap().replace(MOUNTS, here);
            mount_volume(Path::new(&path), volume.expect(name), objects, here);
        }

        let arguments = gateway["args"].as_array().unwrap();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.as_str().unwrap().replace(MOUNTS, here))
            .collect();
        let settings = format!("{here}/config/config.yaml");
        let policies = format!("{here}/policies");
        let wanted = ["run", "--config", &settings, "--policy", &policies];
        assert_eq!(arguments, wanted, "{name}");
        let mut check = program(&["check"]);
        check.args(&arguments[1..]);
        for variable in gateway["env"].as_array().unwrap() {
            let value = variable["value"].as_str().unwrap().replace(MOUNTS, here);
            check.env(variable["name"].as_str().unwrap(), value);
        }
        let said = passes(&mut check);
        // The kubelet and Prometheus come from outside of the pod; to a sidecar, its application does not.
        let listens = |what: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(what));
            line.unwrap().trim().to_owned()
        };
        let is_open =
            |listen: String| listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:");
        assert!(is_open(listens("telemetry")), "{name}: {said}");
        assert_eq!(is_open(listens("listen")), !is_sidecar, "{name}: {said}");
        assert!(listens("admin").starts_with("127.0.0.1:"), "{name}: {said}");

        let mut tests = fs::read_dir(format!("{here}/tests")).unwrap();
        if tests.any(|file| file.unwrap().path().extension() == Some("yaml".as_ref())) {
            let mut test = program(&["test", here]);
            let said = passes(&mut test);
            assert!(said.contains(" passed, 0 failed"), "{name}: {said}");
        }
    }
    gateways.len()
}

/// Writes the files of a volume in the form that the kubelet gives them: each is a link into a folder that is replaced as
/// a whole.
fn mount_volume(path: &Path, volume: &Value, objects: &[Value], here: &str) {
    let files = match (
        &volume["configMap"]["name"],
        &volume["secret"]["secretName"],
    ) {
        (Value::String(map), _) => {
            let map = objects.iter().find(|object| {
                object["kind"] == "ConfigMap" && object["metadata"]["name"] == **map
            });
            map.unwrap_or_else(|| panic!("no ConfigMap for {volume}"))["data"].clone()
        }
        (_, Value::String(_)) => secret(),
        _ => panic!("{volume}"),
    };
    let contents = path.join("..2026_11_29");
    fs::create_dir_all(&contents).unwrap();
    symlink("..2026_11_29", path.join("..data")).unwrap();
    for (name, text) in files.as_object().unwrap() {
        // Settings name files by where they are mounted.
        let text = text.as_str().unwrap().replace(MOUNTS, here);
        fs::write(contents.join(name), text).unwrap();
        symlink(format!("..data/{name}"), path.join(name)).unwrap();
    }
}

/// What a Secret of cert-manager has.
fn secret() -> Value {
    let authority = Authority::new("An authority");
    let pair = authority.issue(&["referral-gateway.partner.svc"]);
    json!({ "tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.pem })
}

#[test]
fn the_tests_of_the_policy_run_where_they_lie() {
    for folder in [
        "deploy/kubernetes/settings",
        "deploy/helm/referral-gateway/files",
    ] {
        let readme = text("deploy/README.md");
        let mut test = program(&["test", folder]);
        let said = passes(test.current_dir(env!("CARGO_MANIFEST_DIR")));
        assert!(said.contains(" passed, 0 failed"), "{said}");
        assert!(readme.contains("referral-gateway test deploy/kubernetes/settings"));
    }
}
