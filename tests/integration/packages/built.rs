//! A static binary, as a release has it, and what is made of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{HOST, has_cargo_deb, is_static};
use crate::support::{
    gateway::program,
    page::root,
    tools::{passes, tool},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages")
}

/// Our program, linked as for a release. What the tests' build has compiled, it has in common with it.
pub(super) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = folder().join("target");
        let program = program();
        let compiled = program.ancestors().nth(2).unwrap();
        passes(
            Command::new(env!("CARGO"))
                .args([
                    "rustc",
                    "--locked",
                    "--bin",
                    "referral-gateway",
                    "--target-dir",
                ])
                .arg(&target)
                .args(["--", "-C", "target-feature=+crt-static"])
                .env("CARGO_BUILD_BUILD_DIR", compiled)
                .current_dir(root()),
        );
        let binary = folder().join("referral-gateway");
        let built = target.join("debug/referral-gateway");
        passes(tool("strip").arg("-o").arg(&binary).arg(built));
        assert!(is_static(&binary) && !is_static(&program));
        binary
    })
}

/// The Debian package of the binary, unless cargo-deb is not available.
pub(super) fn deb() -> Option<&'static Path> {
    static DEB: OnceLock<Option<PathBuf>> = OnceLock::new();
    let deb = DEB.get_or_init(|| {
        if !has_cargo_deb() {
            return None;
        }
        let out = folder().join("release");
        fs::remove_dir_all(&out).ok();
        let mut package = tool("bash");
        package.arg(root().join("deploy/package")).arg(&out);
        passes(package.arg(format!("{}={}", HOST.0, binary().display())));
        let name = format!("referral-gateway_{}-1_{}.deb", super::VERSION, HOST.1);
        Some(out.join(name))
    });
    deb.as_deref()
}
