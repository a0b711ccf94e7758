//! Everything that the start looks at before it listens: `run`, `check` and a reload find the same faults.

use crate::{
    config::{self, Config, Files, Loaded, Problem, Sources},
    policy::Policy,
    upstream::{Proxy, SetupError, Trust},
};

/// All that the gateway starts with.
pub struct Prepared {
    /// The settings.
    pub config: Config,
    /// The policy that they name.
    pub policy: Policy,
    /// All files that were read.
    pub files: Files,
    /// Where settings and policy are read from again.
    pub sources: Sources,
    /// The certificates that the upstream is verified by.
    pub trust: Trust,
    /// The proxy to the upstream.
    pub proxy: Proxy,
}

/// Reads settings and policy, and checks everything that a start needs, except that the addresses are free.
///
/// # Errors
///
/// With every problem that was found. The gateway would not start.
pub fn prepare(sources: Sources) -> Result<Prepared, config::Error> {
    let Loaded {
        config,
        policy,
        files,
    } = config::load_all(sources.clone())?;
    let settings = &config.settings;
    for tls in [&settings.tls, &settings.admin.telemetry_tls]
        .into_iter()
        .flatten()
    {
        if let Err(error) = tls.check() {
            let what = format!("TLS cannot be set up: {error}");
            let problem =
                Problem::without_place(what, "check the certificate, its key and client_ca_file");
            return Err(config::Error::in_settings(vec![problem], files));
        }
    }
    let upstream = &settings.upstream;
    match (Trust::load(upstream), Proxy::of(&upstream.target)) {
        (Ok(trust), Ok(proxy)) => Ok(Prepared {
            config,
            policy,
            files,
            sources,
            trust,
            proxy,
        }),
        (trust, proxy) => {
            let errors = trust.err().into_iter().chain(proxy.err());
            let problems = errors.map(|error| problem(&error)).collect();
            Err(config::Error::in_settings(problems, files))
        }
    }
}

/// The problem that makes the upstream unusable, with its place and remedy.
pub(super) fn problem(error: &SetupError) -> Problem {
    match error {
        SetupError::Proxy(variable) => {
            Problem::in_environment(variable, error.to_string(), error.remedy())
        }
        SetupError::NoRoots | SetupError::Tls(_) | SetupError::Verifier(_) => {
            Problem::without_place(error.to_string(), error.remedy())
        }
    }
}
