//! Reloads settings and policy while requests pass: all of it, or nothing.

use std::{
    fmt, future,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::{
    parts,
    prepare::prepare,
    sockets,
    tls::{Listeners, Renewal},
};
use crate::{
    admin::{self, Reloaded},
    config::{Config, Files, PolicySource, Problem, Sources},
    metrics::label::{ReloadResult, ReloadSubject},
    policy::Policy,
    proxy::Gateway,
    upstream::{Trust, Upstream},
};

/// Pause between two comparisons of the files.
const LOOK: Duration = Duration::from_secs(1);
/// How often files are read in a row if they change meanwhile.
const READINGS: usize = 3;
/// The most problems of one reload that are logged, for settings and policy each, and the most names in one list.
const MAX_LOGGED: usize = 20;

/// What a reload reads, and what it changes.
pub(super) struct Reload {
    pub(super) sources: Sources,
    /// The settings in force.
    pub(super) config: Arc<Config>,
    /// The files of the last reading, valid or not.
    pub(super) files: Files,
    /// The files from which settings and policy in force were read.
    pub(super) accepted: Files,
    pub(super) gateway: Arc<Gateway>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) listeners: Listeners,
    pub(super) status: Arc<admin::Status>,
}

/// Everything that comes into force together.
struct Ready {
    config: Config,
    policy: Policy,
    /// The trusted certificates, if they changed.
    trust: Option<Trust>,
    /// TLS of the listeners.
    tls: Renewal,
}

/// The problems, one line each.
#[derive(Default)]
struct Wrong {
    settings: Vec<String>,
    policy: Vec<String>,
}

impl Reload {
    /// Reloads at each signal, and when the contents of the files have changed.
    ///
    /// It compares contents, and neither watches files nor compares their times: only so it notices swapped links, mounts
    /// and replaced files.
    pub(super) async fn run(
        mut self,
        mut hangup: Option<Signal>,
        mut asked: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    ) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = None;
        loop {
            tokio::select! {
                () = next(&mut hangup) => {
                    self.reload("SIGHUP", None).await;
                    changed = None;
                }
                Some(asker) = asked.recv() => {
                    if let Some(reloaded) = self.reload("POST /reload", None).await {
                        // An asker who has left finds the outcome in /status.
                        let _ = asker.send(reloaded);
                    }
                    changed = None;
                }
                _ = looks.tick(), if !self.files.is_empty() => {
                    let files = self.files.clone();
                    let Ok(now) = spawn_blocking(move || files.look()).await else {
                        continue;
                    };
                    if now == self.files {
                        changed = None;
                    } else if changed.as_ref() == Some(&now) {
                        self.reload("changed files", Some(&now)).await;
                        changed = None;
                    } else {
                        // A file may be half written, so the change must be the same in two comparisons in a row.
                        changed = Some(now);
                    }
                }
            }
        }
    }

    /// Reads everything and, if all of it is valid, takes it into force.
    ///
    /// `looked` is what the comparison found: if the files have changed again since, the next comparison decides.
    async fn reload(&mut self, cause: &str, looked: Option<&Files>) -> Option<Reloaded> {
        sockets::tell_reloading();
        let reloaded = self.read_and_apply(cause, looked).await;
        sockets::tell(&[NotifyState::Ready]);
        let reloaded = reloaded?;
        let last = self.status.reloaded.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(reloaded.clone());
        Some(reloaded)
    }

    async fn read_and_apply(&mut self, cause: &str, looked: Option<&Files>) -> Option<Reloaded> {
        // Reading a pipe that nobody writes to would end all reloads.
        let files = self.files.clone();
        let now = match looked {
            Some(looked) => looked.clone(),
            None => spawn_blocking(move || files.look())
                .await
                .unwrap_or_default(),
        };
        if let Some(path) = now.stream() {
            let is_policy = matches!(&self.config.settings.policy, PolicySource::Path(policy) if policy == path);
            let problem = format!(
                "{}: a pipe can be read only once; restart the gateway to read a new one",
                path.display()
            );
            let wrong = if is_policy {
                Wrong::in_policy(problem)
            } else {
                Wrong::in_settings(problem)
            };
            self.files = now.clone();
            return Some(self.refuse(cause, wrong));
        }
        let (mut sources, running) = (self.sources.clone(), Arc::clone(&self.config));
        sources.refuses_blank = !running.is_blank();
        let listeners = self.listeners.clone();
        let reading = spawn_blocking(move || read_at_once(&sources, &running, &listeners));
        let (files, read) = match reading.await {
            Ok(read) => read,
            Err(bug) => {
                let wrong = Wrong::in_settings(format!("a bug: {bug}"));
                return Some(self.refuse(cause, wrong));
            }
        };
        if looked.is_some_and(|looked| files.contradict(looked)) {
            return None;
        }
        self.files = files;
        match read {
            Ok(ready) => Some(self.accept(cause, ready)),
            Err(wrong) => Some(self.refuse(cause, wrong)),
        }
    }

    fn accept(&mut self, cause: &str, ready: Ready) -> Reloaded {
        let Ready {
            config,
            policy,
            trust,
            tls,
        } = ready;
        let old = self.gateway.in_force();
        let is_same_policy = policy.digest == old.policy.digest;
        let is_same_config = config.is_same_as(&self.config);
        let changed_settings = list(config.changed_since(&self.config));
        let changed_files = self.files.changed_since(&self.accepted);
        let changed_files = list(changed_files.map(|path| path.display()));
        self.accepted = self.files.clone();
        let policy = if is_same_policy {
            Arc::clone(&old.policy)
        } else {
            Arc::new(policy)
        };
        if !(is_same_policy && is_same_config) {
            let tenants = old.tenants.renewed(&config.settings.tenants);
            let metrics = &self.status.metrics;
            parts::set_series(metrics, &config.settings, &policy);
            let new = parts::in_force(&config.settings, &policy, tenants, metrics);
            if let Some(trust) = trust {
                self.upstream.set_trust(trust);
            }
            self.listeners.put(tls);
            self.gateway.put_in_force(new);
            let shown = parts::shown(&config, &policy);
            self.status.in_force.store(Arc::new(shown));
            let (level, was) = (&config.settings.log.level, &self.config.settings.log.level);
            // A level set by an operator stays until the settings name another one.
            if level != was
                && let Err(error) = self.status.logging.set_level(level)
            {
                warn!(%error, level, "The log level cannot be changed");
            }
            self.config = Arc::new(config);
        }
        let result = |is_same| match is_same {
            true => ReloadResult::Unchanged,
            false => ReloadResult::Success,
        };
        let (of_settings, of_policy) = (result(is_same_config), result(is_same_policy));
        self.status
            .metrics
            .reload(ReloadSubject::Settings, of_settings);
        self.status.metrics.reload(ReloadSubject::Policy, of_policy);
        info!(
            target: "referral_gateway",
            cause,
            settings = of_settings.as_str(),
            policy = of_policy.as_str(),
            policy_name = policy.name,
            policy_digest = policy.digest,
            changed_files,
            changed_settings,
            "Reloaded"
        );
        let mut waiting = Vec::new();
        for setting in self.config.waiting() {
            warn!(target: "referral_gateway", setting, "Setting changed; restart to apply it");
            waiting.push(setting.to_owned());
        }
        Reloaded {
            at: SystemTime::now(),
            cause: cause.to_owned(),
            settings: Some(of_settings),
            policy: Some(of_policy),
            problems: Vec::new(),
            waiting,
        }
    }

    /// Logs the problems, and changes nothing.
    fn refuse(&self, cause: &str, wrong: Wrong) -> Reloaded {
        let mut reloaded = Reloaded {
            at: SystemTime::now(),
            cause: cause.to_owned(),
            settings: None,
            policy: None,
            problems: Vec::new(),
            waiting: Vec::new(),
        };
        for (what, problems) in [
            (ReloadSubject::Settings, wrong.settings),
            (ReloadSubject::Policy, wrong.policy),
        ] {
            if problems.is_empty() {
                continue;
            }
            self.status.metrics.reload(what, ReloadResult::Failure);
            match what {
                ReloadSubject::Settings => reloaded.settings = Some(ReloadResult::Failure),
                ReloadSubject::Policy => reloaded.policy = Some(ReloadResult::Failure),
            }
            let shown = problems.iter().take(MAX_LOGGED).cloned();
            reloaded.problems.extend(shown);
            let what = what.as_str();
            for problem in problems.iter().take(MAX_LOGGED) {
                error!(target: "referral_gateway", cause, what, problem, "Reload failed; keeping the current configuration");
            }
            let more = problems.len().saturating_sub(MAX_LOGGED);
            if more > 0 {
                error!(target: "referral_gateway", cause, what, more, "Reload failed; `check` lists the remaining problems");
                let rest = format!("{more} more in the {what}; `check` lists them");
                reloaded.problems.push(rest);
            }
        }
        reloaded
    }
}

/// Waits for a signal, for ever if there is none to wait for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => future::pending().await,
    }
}

/// The first names in one text, and how many more there are.
fn list(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let shown = names.get(..MAX_LOGGED).unwrap_or(&names).join(", ");
    match names.len().saturating_sub(MAX_LOGGED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Wrong {
    fn in_settings(problem: String) -> Self {
        Self {
            settings: vec![problem],
            ..Self::default()
        }
    }

    fn in_policy(problem: String) -> Self {
        Self {
            policy: vec![problem],
            ..Self::default()
        }
    }
}

/// Reads and checks everything, and returns the files that were read. If a file changes meanwhile, it reads all of them
/// again: files that are swapped together come into force together.
fn read_at_once(
    sources: &Sources,
    running: &Config,
    listeners: &Listeners,
) -> (Files, Result<Ready, Wrong>) {
    let mut reading = read(sources.clone(), running, listeners);
    for _ in 1..READINGS {
        if reading.0.look() == reading.0 {
            break;
        }
        reading = read(sources.clone(), running, listeners);
    }
    reading
}

fn read(
    sources: Sources,
    running: &Config,
    listeners: &Listeners,
) -> (Files, Result<Ready, Wrong>) {
    let prepared = match prepare(sources) {
        Ok(prepared) => prepared,
        Err(error) => {
            let lines = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect();
            let wrong = Wrong {
                settings: lines(error.of_settings()),
                policy: lines(error.of_policy()),
            };
            return (error.files, Err(wrong));
        }
    };
    let config = running.renewed(prepared.config);
    let (old, new) = (&running.settings.upstream, &config.settings.upstream);
    // A new `upstream.url` may wait for a restart, so the certificates are loaded for the running one.
    let is_other = old.authorities != new.authorities || old.client != new.client;
    let trust = is_other.then(|| Trust::load(new));
    let ready = match (trust.transpose(), listeners.prepare(&config.settings)) {
        (Ok(trust), Ok(tls)) => Ok(Ready {
            config,
            policy: prepared.policy,
            trust,
            tls,
        }),
        (Err(error), _) => Err(Wrong::in_settings(
            super::prepare::problem(&error).to_string(),
        )),
        (_, Err(error)) => Err(Wrong::in_settings(error.to_string())),
    };
    (prepared.files, ready)
}
