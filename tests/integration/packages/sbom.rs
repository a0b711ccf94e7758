//! `deploy/sbom`: what a binary is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use memchr::memmem;
use serde_json::Value;

use super::{HOST, TARGETS, VERSION};
use crate::{
    kubernetes::installed,
    support::{
        gateway::program,
        page::{root, text},
        tools::{passes, shell, tool},
    },
};

fn sbom(target: &str) -> Value {
    let mut sbom = tool("/usr/bin/python3");
    sbom.arg("deploy/sbom").arg(target).current_dir(root());
    serde_json::from_str(&passes(&mut sbom)).unwrap()
}

fn crates(sbom: &Value) -> BTreeSet<(&str, &str)> {
    let components = sbom["components"].as_array().unwrap();
    components
        .iter()
        .map(|component| {
            let part = |key: &str| component[key].as_str().unwrap();
            (part("name"), part("version"))
        })
        .collect()
}

/// The checksum of each crate in Cargo.lock.
fn locked() -> BTreeMap<(String, String), String> {
    let lock = text("Cargo.lock");
    let entries = lock.split("[[package]]").skip(1);
    let value = |entry: &str, key: &str| {
        let start = format!("{key} = \"");
        let line = entry.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let checked = |entry: &str| {
        let name = (value(entry, "name")?, value(entry, "version")?);
        Some((name, value(entry, "checksum")?))
    };
    entries.filter_map(checked).collect()
}

#[test]
fn every_component_is_locked_with_its_checksum() {
    for target in TARGETS {
        let sbom = sbom(target);
        assert_eq!(sbom["metadata"]["component"]["version"], VERSION);
        let locked = locked();
        for component in sbom["components"].as_array().unwrap() {
            let part = |key: &str| component[key].as_str().unwrap().to_owned();
            let checksum = &locked[&(part("name"), part("version"))];
            assert_eq!(component["hashes"][0]["content"], *checksum, "{component}");
        }
        // All that is named is there, and all that is there is needed by something.
        let named = |value: &Value| value.as_str().unwrap().to_owned();
        let components = sbom["components"].as_array().unwrap();
        let there: BTreeSet<String> = components
            .iter()
            .map(|one| named(&one["bom-ref"]))
            .collect();
        let dependencies = sbom["dependencies"].as_array().unwrap();
        let needed = dependencies
            .iter()
            .flat_map(|one| one["dependsOn"].as_array().unwrap());
        assert_eq!(needed.map(named).collect::<BTreeSet<_>>(), there);
        assert_eq!(dependencies.len(), there.len() + 1);
    }
}

#[test]
fn a_crate_whose_code_is_in_the_binary_is_a_component() {
    let binary = fs::read(program()).unwrap();
    let sbom = sbom(HOST.0);
    let crates = crates(&sbom);
    // Messages and line tables have the paths of the sources: .../registry/src/<index>/<name>-<version>/...
    let mark = b"/registry/src/";
    let places = memmem::find_iter(&binary, mark).map(|at| &binary[at + mark.len()..]);
    let folders: BTreeSet<String> = places.filter_map(folder_of_crate).collect();
    let known: BTreeSet<String> = crates
        .iter()
        .map(|(name, version)| format!("{name}-{version}"))
        .collect();
    let unknown: Vec<_> = folders.difference(&known).collect();
    assert!(unknown.is_empty(), "no components: {unknown:?}");
    assert!(folders.len() > 80, "{folders:?}");
}

/// The second part of a path.
fn folder_of_crate(path: &[u8]) -> Option<String> {
    let path = &path[..path.len().min(200)];
    let is_of_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/.-_+".contains(byte);
    let end = path
        .iter()
        .position(|byte| !is_of_path(byte))
        .unwrap_or(path.len());
    let path = str::from_utf8(&path[..end]).ok()?;
    path.split('/').nth(1).map(str::to_owned)
}

#[test]
fn what_only_tests_need_is_no_component() {
    let sbom = sbom(HOST.0);
    let names: BTreeSet<&str> = crates(&sbom).into_iter().map(|(name, _)| name).collect();
    let manifest = text("Cargo.toml");
    let section = |heading: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{heading}]\n")).unwrap();
        let lines = rest.lines().take_while(|line| !line.is_empty());
        let names = lines.filter_map(|line| line.split_once(" = "));
        names
            .map(|(name, _)| name.to_owned())
            .collect::<BTreeSet<_>>()
    };
    let ours = section("dependencies");
    for name in &ours {
        assert!(names.contains(&**name), "{name} is missing");
    }
    for name in section("dev-dependencies").difference(&ours) {
        // The exporter of traces brings these.
        let is_brought = ["opentelemetry-proto", "prost"].contains(&&**name);
        assert_eq!(names.contains(&**name), is_brought, "{name}");
    }
}

#[test]
fn the_schema_of_cyclonedx_accepts_it() {
    let Some(validator) = installed("kubernetes-validate") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bom.json");
    // The schema itself must be able to say no.
    let mut wrong = sbom(HOST.0);
    wrong["components"][0]["type"] = "crate".into();
    for (sbom, verdict) in [(sbom(HOST.0), "0 faults\n"), (wrong, "1 faults\n")] {
        fs::write(&file, sbom.to_string()).unwrap();
        let mut validate = shell("env");
        validate
            .arg(validator.join("bin/python"))
            .args(["-c", VALIDATE])
            .arg(&file);
        assert_eq!(passes(&mut validate), verdict);
    }
}

const VALIDATE: &str = r#"
import importlib.resources, json, sys
from jsonschema import Draft7Validator
from referencing import Registry, Resource
folder = importlib.resources.files("cyclonedx") / "schema" / "_res"
names = ["bom-1.6", "spdx", "jsf-0.82"]
schemas = [json.loads((folder / (name + ".SNAPSHOT.schema.json")).read_text()) for name in names]
registry = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas)
bom = json.load(open(sys.argv[1]))
print(len(list(Draft7Validator(schemas[0], registry=registry).iter_errors(bom))), "faults")
"#;
