//! The image, built by buildah and run without an engine. No test can pull the image that the first stage of the
//! Dockerfile builds in: a folder with a static binary takes the place of that stage.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    VERSION,
    built::binary,
    running::{LISTENERS, Running},
};
use crate::support::{
    page::root,
    tools::{passes, tool},
};

const NAME: &str = "localhost/referral-gateway:tested";

/// Where buildah keeps its images.
struct Storage {
    folder: TempDir,
}

impl Storage {
    /// `None`, and it says so: here is nobody who may make a namespace.
    fn new() -> Option<Self> {
        let output = tool("unshare").args(["--mount", "true"]).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: buildah: {said}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        Some(Self { folder })
    }

    fn buildah(&self) -> Command {
        let mut buildah = tool("buildah");
        for name in ["root", "runroot"] {
            buildah
                .arg(format!("--{name}"))
                .arg(self.folder.path().join(name));
        }
        buildah
            .args(["--storage-driver", "vfs"])
            .stdin(Stdio::null());
        buildah
    }

    /// Builds the image as `docker build --build-arg BASE=scratch` does, but for the first stage.
    fn build(&self) {
        let stage = self.folder.path().join("stage");
        fs::create_dir_all(stage.join("out")).unwrap();
        fs::copy(binary(), stage.join("out/referral-gateway")).unwrap();
        let mut build = self.buildah();
        build
            .args([
                "bud",
                "--isolation",
                "chroot",
                "--format",
                "docker",
                "--pull-never",
            ])
            .args([
                "--build-arg",
                "BASE=scratch",
                "--build-arg",
                "COMMIT=0123abc",
            ])
            .arg(format!("--build-context=build={}", stage.display()))
            .args(["--file", "deploy/Dockerfile", "--tag", NAME, "."]);
        passes(build.current_dir(root()));
    }
}

#[tokio::test]
async fn the_image_runs_as_nobody_in_an_empty_root_and_tells_its_health() {
    let Some(storage) = Storage::new() else {
        return;
    };
    storage.build();
    let inspected = passes(storage.buildah().args(["inspect", "--type", "image", NAME]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let image = &inspected["Docker"]["config"];
    assert_eq!(image["User"], "65532:65532");
    assert_eq!(image["StopSignal"], "SIGTERM");
    let label = |name: &str| &image["Labels"][format!("org.opencontainers.image.{name}")];
    assert_eq!(label("version"), VERSION);
    assert_eq!(label("revision"), "0123abc");
    assert_eq!(image["Healthcheck"]["Test"][0], "CMD");
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().unwrap().iter();
        words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };

    let container = passes(storage.buildah().args(["from", "--pull-never", NAME]));
    let container = container.trim();
    let mounted = passes(storage.buildah().args(["mount", container]));
    let names = fs::read_dir(mounted.trim()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["referral-gateway"]);

    let run = |variables: &[(&str, &str)], command: &[String]| {
        let mut run = storage.buildah();
        run.args(["run", "--isolation", "chroot"]);
        for (name, value) in variables {
            run.arg(format!("--env={name}={value}"));
        }
        run.args([container, "--"]).args(command);
        run
    };
    let mut entry = words(&image["Entrypoint"]);
    entry.extend(["--upstream", "simulator"].map(str::to_owned));
    let running = Running::start(run(&LISTENERS, &entry)).await;

    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    for ids in ["Uid", "Gid"] {
        let wanted = format!("{ids}:\t65532\t65532\t65532\t65532\n");
        assert!(status.contains(&wanted), "{status}");
    }
    let telemetry = running.telemetry.to_string();
    let check = || {
        let variables = [("REFERRAL_GATEWAY_TELEMETRY__LISTEN", &*telemetry)];
        let mut check = run(&variables, &words(&image["Healthcheck"]["Test"])[1..]);
        check.output().unwrap().status.code()
    };
    assert_eq!(check(), Some(0));
    assert_eq!(running.stop().await, Some(0));
    assert_eq!(check(), Some(1));
}
