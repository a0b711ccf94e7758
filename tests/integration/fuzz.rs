//! The fuzz targets are all built and all explained; whether they find anything shows when they run.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_fuzz_target_is_built_and_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let files: BTreeSet<String> = fs::read_dir(folder.join("targets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let manifest = text("Cargo.toml");
    let built = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix('"'))
        .map(str::to_owned)
        .collect();
    let readme = text("README.md");
    let explained = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| format!("{name}.rs"))
        .collect();

    assert!(!files.is_empty());
    assert_eq!((&built, &explained), (&files, &files));
}
