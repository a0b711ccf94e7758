//! The programs of `tests/deploy/install`, and what they render.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, OnceLock},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    page::root,
    tools::{passes, shell, tool},
};

/// Objects, as kubectl and helm print them.
pub(super) type Objects = Vec<Value>;

/// Where the programs of one of the names are. `None`, and it says so: they could not be installed.
pub(crate) fn installed(name: &str) -> Option<&'static Path> {
    static INSTALLED: OnceLock<(BTreeMap<String, PathBuf>, String)> = OnceLock::new();
    let (folders, said) = INSTALLED.get_or_init(|| {
        let mut install = tool("bash");
        install.arg(root().join("tests/deploy/install"));
        let Output {
            status,
            stdout,
            stderr,
        } = install.output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(status.success(), "{said}");
        let printed = String::from_utf8(stdout).unwrap();
        let lines = printed.lines().filter_map(|line| line.split_once(' '));
        let folders = lines.map(|(name, folder)| (name.to_owned(), folder.into()));
        (folders.collect(), said)
    });
    let folder = folders.get(name);
    if folder.is_none() {
        let own = format!("skipped: {name}: ");
        let missing = said.lines().find(|line| line.starts_with(&own));
        // `tests/run` says so as well.
        eprintln!("{}", missing.expect(said));
    }
    folder.map(PathBuf::as_path)
}

/// One of the binaries, which sees no setting of whoever runs the tests.
fn binary(name: &str, home: &Path) -> Option<Command> {
    let mut command = shell("env");
    command
        .arg(installed("kubectl-and-helm")?.join(name))
        .env("HOME", home)
        .stdin(Stdio::null());
    Some(command)
}

/// What a command says on standard error that must fail.
#[track_caller]
pub(crate) fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?} succeeds");
    stderr
}

/// The objects of a text in YAML. What has comments alone is none.
fn objects(text: &str) -> Objects {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let objects = documents.into_iter().filter(|object| !object.is_null());
    objects.collect()
}

/// A copy of `deploy/`, in which a test may write.
pub(super) struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = tool("cp");
        copy.args(["-r", "deploy", "policies"]).arg(folder.path());
        passes(copy.current_dir(root()));
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What `kubectl kustomize` makes of a folder below `deploy/kubernetes`.
    #[track_caller]
    pub(super) fn kustomize(&self, name: &str) -> Option<Objects> {
        let mut kubectl = binary("kubectl", self.folder.path())?;
        kubectl
            .arg("kustomize")
            .arg(self.path("deploy/kubernetes").join(name));
        Some(objects(&passes(&mut kubectl)))
    }

    /// `helm` with a command and a chart below `deploy/helm`.
    pub(super) fn helm(
        &self,
        command: &[&str],
        chart: &str,
        arguments: &[&str],
    ) -> Option<Command> {
        let mut helm = binary("helm", self.folder.path())?;
        helm.args(command)
            .arg(self.path("deploy/helm").join(chart))
            .args(arguments)
            .current_dir(self.folder.path());
        Some(helm)
    }

    /// What `helm template` makes of a chart in the namespace `partner`, as a release of that name.
    #[track_caller]
    pub(super) fn template(
        &self,
        release: &str,
        chart: &str,
        arguments: &[&str],
    ) -> Option<Objects> {
        let command = ["template", "--namespace", "partner", release];
        let mut helm = self.helm(&command, chart, arguments)?;
        Some(objects(&passes(&mut helm)))
    }
}

/// What `kubectl kustomize` makes of a folder of the repository, read where it lies.
pub(super) fn kustomize(name: &str) -> Option<Objects> {
    static RENDERED: OnceLock<Mutex<BTreeMap<String, Objects>>> = OnceLock::new();
    let mut rendered = RENDERED.get_or_init(Mutex::default).lock().unwrap();
    if !rendered.contains_key(name) {
        let mut kubectl = binary("kubectl", &env::temp_dir())?;
        kubectl
            .arg("kustomize")
            .arg(root().join("deploy/kubernetes").join(name));
        rendered.insert(name.to_owned(), objects(&passes(&mut kubectl)));
    }
    rendered.get(name).cloned()
}
