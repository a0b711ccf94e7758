//! The Debian package: dpkg installs, upgrades and purges it in roots of its own.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    VERSION,
    built::deb,
    running::{LISTENERS, Running},
};
use crate::support::{
    page::{root, text},
    tools::{passes, tool},
};

const SETTINGS: &str = "etc/referral-gateway/config.yaml";
const SERVICE: &str = "usr/lib/systemd/system/referral-gateway.service";

/// A root in which nothing is installed but what every Debian has of this.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let root = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in [
            "root/etc/systemd/system",
            "root/var/lib/systemd",
            "admin/info",
            "admin/updates",
        ] {
            fs::create_dir_all(root.folder.path().join(name)).unwrap();
        }
        let essential = "Package: init-system-helpers\nStatus: install ok installed\nVersion: 1.54\n\
                         Architecture: all\nMaintainer: x <x@example.org>\nDescription: x\n";
        fs::write(root.folder.path().join("admin/status"), essential).unwrap();
        fs::write(
            root.folder
                .path()
                .join("admin/info/init-system-helpers.list"),
            "",
        )
        .unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// The package's own scripts get the root as `DPKG_ROOT`.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut dpkg = tool("dpkg");
        for (option, name) in [("instdir", "root"), ("admindir", "admin"), ("log", "log")] {
            dpkg.arg(format!(
                "--{option}={}",
                self.folder.path().join(name).display()
            ));
        }
        dpkg.args([
            "--force-not-root",
            "--force-script-chrootless",
            "--force-confold",
        ]);
        passes(dpkg.args(arguments).stdin(Stdio::null()))
    }

    /// All there is, with the modes of files and folders, and `None` for links.
    fn content(&self) -> BTreeMap<String, Option<u32>> {
        fn walk(folder: &Path, root: &Path, into: &mut BTreeMap<String, Option<u32>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap();
                if kind.is_dir() {
                    walk(&path, root, into);
                }
                let mode = kind.permissions().mode() & 0o7777;
                let name = path.strip_prefix(root).unwrap().display().to_string();
                into.insert(name, (!kind.is_symlink()).then_some(mode));
            }
        }
        let mut content = BTreeMap::new();
        walk(&self.path(""), &self.path(""), &mut content);
        content
    }

    /// The command of a line of the installed unit, of which each path leads into this root.
    fn command(&self, key: &str) -> Command {
        let unit = fs::read_to_string(self.path(SERVICE)).unwrap();
        let start = format!("{key}=");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap();
        let mut words = line.split(' ');
        // systemd finds it in one of its folders.
        let name = words.next().unwrap();
        let mut command = tool("env");
        command.arg("--ignore-environment");
        command.args(LISTENERS.map(|(name, value)| format!("{name}={value}")));
        command.arg(self.path("usr/bin").join(name));
        command.args(words.map(|word| match word.strip_prefix('/') {
            Some(path) => self.path(path).display().to_string(),
            None => word.to_owned(),
        }));
        command
    }
}

/// A package of the next version, with other settings.
fn next(deb: &Path, folder: &Path) -> PathBuf {
    let unpacked = folder.join("unpacked");
    passes(
        tool("dpkg-deb")
            .arg("--raw-extract")
            .arg(deb)
            .arg(&unpacked),
    );
    let control = unpacked.join("DEBIAN/control");
    let said = fs::read_to_string(&control).unwrap();
    let version = format!("\nVersion: {VERSION}-1\n");
    assert!(said.contains(&version), "{said}");
    fs::write(&control, said.replace(&version, "\nVersion: 99.0.0-1\n")).unwrap();
    fs::write(unpacked.join(SETTINGS), "drain: { max: 3s }\n").unwrap();
    let next = folder.join("next.deb");
    let mut build = tool("dpkg-deb");
    build.args(["-Zgzip", "-z1", "--root-owner-group", "--build"]);
    passes(build.arg(&unpacked).arg(&next));
    next
}

#[test]
fn lintian_has_nothing_to_say() {
    let Some(deb) = deb() else { return };
    // It leaves something behind.
    let folder = tempfile::tempdir().unwrap();
    let mut lintian = tool("lintian");
    lintian.env("TMPDIR", folder.path());
    lintian
        .args(["--allow-root", "--fail-on", "error,warning"])
        .arg(deb);
    assert_eq!(passes(&mut lintian), "");
}

#[test]
fn a_package_is_installed_and_purged_without_a_trace() {
    let Some(deb) = deb() else { return };
    let deb = deb.to_str().unwrap();
    let root = Root::new();
    let before = root.content();
    root.dpkg(&["--install", deb]);
    let content = root.content();
    for (name, mode) in [
        ("usr/bin/referral-gateway", Some(0o755)),
        (SETTINGS, Some(0o644)),
        (SERVICE, Some(0o644)),
        (
            "usr/lib/systemd/system/referral-gateway.socket",
            Some(0o644),
        ),
        (
            "usr/share/bash-completion/completions/referral-gateway",
            Some(0o644),
        ),
        (
            "usr/share/fish/vendor_completions.d/referral-gateway.fish",
            Some(0o644),
        ),
        (
            "usr/share/zsh/vendor-completions/_referral-gateway",
            Some(0o644),
        ),
        ("usr/share/man/man1/referral-gateway.1.gz", Some(0o644)),
        ("usr/share/doc/referral-gateway/copyright", Some(0o644)),
        ("usr/share/doc/referral-gateway/changelog.gz", Some(0o644)),
        (
            "usr/share/doc/referral-gateway/changelog.Debian.gz",
            Some(0o644),
        ),
        // It starts with the machine.
        (
            "etc/systemd/system/multi-user.target.wants/referral-gateway.service",
            None,
        ),
    ] {
        assert_eq!(content.get(name), Some(&mode), "{name}: {content:#?}");
    }
    // The socket is for whoever wants it.
    let sockets = "etc/systemd/system/sockets.target.wants";
    assert!(!content.contains_key(sockets), "{content:#?}");
    fs::create_dir(root.path(sockets)).unwrap();
    let socket = format!("{sockets}/referral-gateway.socket");
    symlink(
        "/usr/lib/systemd/system/referral-gateway.socket",
        root.path(&socket),
    )
    .unwrap();

    // What is only removed keeps its settings.
    root.dpkg(&["--remove", "referral-gateway"]);
    let content = root.content();
    assert!(content.contains_key(SETTINGS));
    assert!(!content.contains_key(SERVICE));
    root.dpkg(&["--install", deb]);
    root.dpkg(&["--purge", "referral-gateway"]);
    assert_eq!(root.content(), before);
}

#[tokio::test]
async fn the_installed_gateway_runs_as_its_unit_says_and_keeps_edited_settings() {
    let Some(deb) = deb() else { return };
    let root = Root::new();
    root.dpkg(&["--install", deb.to_str().unwrap()]);
    passes(&mut root.command("ExecStartPre"));

    let running = Running::start(root.command("ExecStart")).await;
    assert_eq!(running.stop().await, Some(0));

    // The unit is the one that is tested and documented, with its settings.
    let own = text("deploy/systemd/referral-gateway.service");
    assert_eq!(fs::read_to_string(root.path(SERVICE)).unwrap(), own);
    let edited = "drain: { max: 7s }\n";
    fs::write(root.path(SETTINGS), edited).unwrap();
    root.dpkg(&["--install", deb.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).unwrap(), edited);
    let next = next(deb, root.folder.path());
    root.dpkg(&["--install", next.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).unwrap(), edited);
    assert!(root.path(&format!("{SETTINGS}.dpkg-dist")).exists());
    passes(&mut root.command("ExecStartPre"));
    root.dpkg(&["--purge", "referral-gateway"]);
    assert!(!root.path("etc/referral-gateway").exists());
}

#[test]
fn the_service_starts_and_ends_with_the_package_unless_the_machine_says_no() {
    let Some(deb) = deb() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(deb, folder.path().join("package.deb")).unwrap();
    let systemctl = folder.path().join("systemctl");
    fs::write(&systemctl, SYSTEMCTL).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let mut install = tool("unshare");
    install.args(["--mount", "bash"]);
    install.arg(root().join("tests/integration/packages/in_a_copy.sh"));
    let output = install.arg(folder.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let is_unable = said.starts_with("unshare:") || told == "no copy\n";
    if is_unable {
        eprintln!("skipped: a copy of the machine: {said}");
        return;
    }
    assert!(output.status.success(), "{told}{said}");
    let told = told.strip_prefix("mounted\n").unwrap();
    assert_eq!(
        told,
        "-- denied
-- purged
-- allowed
start referral-gateway.service
-- again
restart referral-gateway.service
-- purged
stop referral-gateway.socket referral-gateway.service
",
        "{said}"
    );
}

/// Notes what is to start or stop; every unit is enabled and runs.
const SYSTEMCTL: &str = r#"#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
case $1 in
start | stop | restart) echo "$*" >>/asked ;;
is-enabled) echo enabled ;;
esac
"#;
