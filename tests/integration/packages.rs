//! What a release consists of: archives, the Debian package, what the binary is made of, the image.
//!
//! A test of what is not available on this machine says so and proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    commands::run,
    support::{
        gateway::program,
        page::root,
        tools::{passes, tool},
    },
};

mod built;
mod debian;
mod image;
mod running;
mod sbom;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the tests were built for, as Rust and as Debian call it.
const HOST: (&str, &str) = match cfg!(target_arch = "aarch64") {
    true => (TARGETS[1], "arm64"),
    false => (TARGETS[0], "amd64"),
};
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// A changelog with a section for the version in the middle.
fn changelog() -> String {
    format!(
        "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [{VERSION}] - 2026-01-02\n\n### Added\n\n- Now.\n\n\
         ## [0.0.1] - 2025-01-02\n\n- Once.\n"
    )
}

/// A copy of the repository, in which a test may write.
struct Copy {
    folder: TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "Cargo.toml",
            "Cargo.lock",
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "benches",
            "deploy",
            "src",
        ];
        let mut copy = tool("cp");
        copy.arg("-r").args(names).arg(folder.path());
        passes(copy.current_dir(root()));
        let copy = Self { folder };
        fs::write(copy.path("CHANGELOG.md"), changelog()).unwrap();
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in the place of a binary: what is packed is not looked at, but for manual and completions.
    fn stand_in(&self) -> PathBuf {
        let path = self.path("stand-in");
        fs::write(
            &path,
            format!("#!/bin/sh\nexec '{}' \"$@\"\n", program().display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// `deploy/package` of the stand-in for all targets.
    fn package(&self) -> Command {
        let stand_in = self.stand_in();
        let mut package = tool("bash");
        package
            .arg(self.path("deploy/package"))
            .arg(self.path("out"))
            .args(TARGETS.map(|target| format!("{target}={}", stand_in.display())))
            .env("SOURCE_DATE_EPOCH", "1767312000");
        package
    }

    /// The names of the files of the release, and what is in them.
    fn made(&self) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(self.path("out")).unwrap();
        let files = files.map(|entry| entry.unwrap());
        let named = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        };
        files.map(named).collect()
    }
}

/// Whether cargo-deb is here; says so if not.
fn has_cargo_deb() -> bool {
    let mut install = tool("bash");
    let output = install
        .arg(root().join("deploy/cargo-deb"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    eprint!("{said}");
    let has = !output.stdout.is_empty();
    assert_eq!(!has, said.contains("skipped: cargo-deb: "), "{said}");
    has
}

#[test]
fn a_release_has_its_files_and_no_others() {
    let copy = Copy::new();
    passes(&mut copy.package());
    let mut made = copy.made();

    let mut names: BTreeSet<String> =
        ["SHA256SUMS".to_owned(), format!("CHANGES-{VERSION}.md")].into();
    for target in TARGETS {
        names.insert(format!("referral-gateway-{VERSION}-{target}.tar.gz"));
        names.insert(format!("referral-gateway-{VERSION}-{target}.cdx.json"));
    }
    if has_cargo_deb() {
        for architecture in ["amd64", "arm64"] {
            let name = format!("referral-gateway_{VERSION}-1_{architecture}.deb");
            let mut deb = tool("dpkg-deb");
            deb.arg("--field").arg(copy.path("out").join(&name));
            let said = passes(deb.args(["Version", "Architecture"]));
            let wanted = format!("Version: {VERSION}-1\nArchitecture: {architecture}\n");
            assert_eq!(said, wanted);
            names.insert(name);
        }
    }
    assert_eq!(made.keys().cloned().collect::<BTreeSet<_>>(), names);

    let sums = String::from_utf8(made.remove("SHA256SUMS").unwrap()).unwrap();
    let mut check = tool("sha256sum");
    check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
    passes(check.current_dir(copy.path("out")));
    let summed = sums.lines().filter_map(|line| line.split_once("  "));
    let summed: BTreeSet<&str> = summed.map(|(_, name)| name).collect();
    assert_eq!(summed, made.keys().map(String::as_str).collect());

    let changes = &made[&format!("CHANGES-{VERSION}.md")];
    let wanted = format!("## [{VERSION}] - 2026-01-02\n\n### Added\n\n- Now.\n\n");
    assert_eq!(String::from_utf8_lossy(changes), wanted);
}

#[test]
fn an_archive_has_all_that_an_installation_needs() {
    let copy = Copy::new();
    passes(&mut copy.package());
    let target = TARGETS[0];
    let folder = format!("referral-gateway-{VERSION}-{target}");
    let archive = copy.path("out").join(format!("{folder}.tar.gz"));
    let listed = passes(tool("tar").arg("--list").arg("--file").arg(&archive));
    let listed: BTreeSet<&str> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    let content = [
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "completions/_referral-gateway",
        "completions/referral-gateway.bash",
        "completions/referral-gateway.fish",
        "referral-gateway",
        "referral-gateway.1",
        "systemd/config.yaml",
        "systemd/referral-gateway.service",
        "systemd/referral-gateway.socket",
    ];
    let wanted: Vec<String> = content
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect();
    assert_eq!(listed, wanted.iter().map(String::as_str).collect());

    let mut unpack = tool("tar");
    unpack
        .args(["--extract", "--same-permissions", "--file"])
        .arg(&archive);
    passes(unpack.current_dir(copy.path("")));
    let unpacked = |name: &str| copy.path(&folder).join(name);
    let mode = fs::metadata(unpacked("referral-gateway"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);
    for (name, command) in [
        ("referral-gateway.1", &["man"][..]),
        (
            "completions/referral-gateway.bash",
            &["completions", "bash"],
        ),
        (
            "completions/referral-gateway.fish",
            &["completions", "fish"],
        ),
        ("completions/_referral-gateway", &["completions", "zsh"]),
    ] {
        assert_eq!(
            fs::read_to_string(unpacked(name)).unwrap(),
            run(command).out,
            "{name}"
        );
    }
    for name in [
        "config.yaml",
        "referral-gateway.service",
        "referral-gateway.socket",
    ] {
        let own = fs::read(root().join("deploy/systemd").join(name)).unwrap();
        assert_eq!(fs::read(unpacked("systemd").join(name)).unwrap(), own);
    }
}

#[test]
fn a_release_that_is_made_again_is_the_same() {
    let once = Copy::new();
    passes(&mut once.package());
    // Another folder, umask, time zone and language; files that are older.
    let again = Copy::new();
    let mut older = tool("find");
    older.args([".", "-exec", "touch", "-d", "2001-01-01", "{}", "+"]);
    passes(older.current_dir(again.path("")));
    let package = again.package();
    let mut other = tool("sh");
    other
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(package.get_program());
    other.args(package.get_args());
    other.envs(
        package
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    passes(other.env("TZ", "Asia/Tokyo").env("LANG", "C.UTF-8"));
    let [once, again] = [once, again].map(|copy| copy.made());
    for (name, content) in &once {
        // The stand-in is the same file in both.
        assert!(again[name] == *content, "{name} differs");
    }
    assert_eq!(once.len(), again.len());
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let copy = Copy::new();
    fs::create_dir(copy.path("out")).unwrap();
    fs::write(copy.path("out/mine"), "").unwrap();
    let output = copy.package().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("is there already: name a new folder"),
        "{said}"
    );
    assert_eq!(copy.made().len(), 1);
}

#[test]
fn a_version_without_a_section_gets_what_is_unreleased() {
    let copy = Copy::new();
    let text = changelog().replace(&format!("[{VERSION}]"), "[9.9.9]");
    fs::write(copy.path("CHANGELOG.md"), text).unwrap();
    let output = copy.package().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = format!("CHANGELOG.md has no section {VERSION}: taking Unreleased");
    assert!(said.contains(&told), "{said}");
    let changes = &copy.made()[&format!("CHANGES-{VERSION}.md")];
    assert_eq!(
        String::from_utf8_lossy(changes),
        "## [Unreleased]\n\n- Later.\n\n"
    );
}

/// Whether a program needs no dynamic loader.
fn is_static(path: &Path) -> bool {
    let said = passes(tool("readelf").arg("--program-headers").arg(path));
    !said.contains("INTERP")
}
