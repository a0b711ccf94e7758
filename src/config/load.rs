//! Reads settings and policy, and finds all problems of both.

use std::{fmt, net::SocketAddr};

use super::{
    files::Files,
    keys,
    layers::{Layers, Sources},
    policy::{self, NoPolicy},
    problem::Problem,
    read,
    settings::{PolicySource, Settings},
};
use crate::policy::Policy;

/// Valid settings, and where each of them comes from.
#[derive(Debug)]
pub struct Config {
    /// The settings of every part.
    pub settings: Settings,
    pub(super) layers: Layers,
    pub(super) files: Files,
    /// Where the simulator listens, if it stands in for the service.
    pub(super) simulator: Option<SocketAddr>,
    /// The settings that were changed and wait for a restart.
    pub(super) waiting: Vec<String>,
}

/// Settings, and the policy that they name.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The policy.
    pub policy: Policy,
    /// All files that were read.
    pub files: Files,
}

/// Everything that is wrong with the settings and with the policy that they name.
#[derive(Debug)]
pub struct Error {
    settings: Vec<Problem>,
    policy: Vec<Problem>,
    /// All files that were read.
    pub files: Files,
}

/// Reads the settings of all sources, and checks them.
///
/// # Errors
///
/// With everything that is wrong with them.
pub fn load(sources: Sources) -> Result<Config, Error> {
    let (config, settings) = read(sources);
    if settings.is_empty() {
        return Ok(config);
    }
    Err(Error {
        settings,
        policy: Vec::new(),
        files: config.files,
    })
}

/// Reads the settings of all sources and the policy that they name, and checks both.
///
/// # Errors
///
/// With everything that is wrong with either.
pub fn load_all(sources: Sources) -> Result<Loaded, Error> {
    let (config, settings) = read(sources);
    let mut files = config.files.clone();
    let policy = policy::read(&config.settings.policy, &mut files)
        .map_err(|wrong| match wrong {
            NoPolicy::Document(problems) => problems,
            NoPolicy::Path(fault) => {
                let problem = config.layers.problem(keys::DOCUMENT.name, fault);
                problem.into_iter().collect()
            }
        })
        .and_then(|policy| policy::check_tenants(policy, &config.settings.tenants.known));
    match policy {
        Ok(policy) if settings.is_empty() => Ok(Loaded {
            config,
            policy,
            files,
        }),
        policy => Err(Error {
            settings,
            policy: policy.err().unwrap_or_default(),
            files,
        }),
    }
}

/// Reads a policy document by itself. The tenants that it names are not compared with any settings.
///
/// # Errors
///
/// With what is wrong with it.
pub fn load_policy(source: &PolicySource) -> Result<Policy, Error> {
    let mut files = Files::default();
    policy::read(source, &mut files).map_err(|wrong| Error {
        settings: Vec::new(),
        policy: match wrong {
            NoPolicy::Document(problems) => problems,
            NoPolicy::Path(fault) => vec![Problem::in_file(source, fault)],
        },
        files,
    })
}

/// The settings, with the default in place of each wrong one, and all that is wrong with them.
fn read(sources: Sources) -> (Config, Vec<Problem>) {
    let mut files = Files::default();
    let (mut layers, mut problems) = Layers::read(sources, &mut files);
    let (settings, wrong) = read::all(&mut layers, &mut files);
    problems.extend(wrong);
    // Those of the file as they stand in it, then the others.
    problems.sort_by_key(|problem| (problem.line.is_none(), problem.line, problem.column));
    let config = Config {
        settings,
        layers,
        files,
        simulator: None,
        waiting: Vec::new(),
    };
    (config, problems)
}

impl Error {
    /// An error of the settings alone.
    pub fn in_settings(problems: Vec<Problem>, files: Files) -> Self {
        Self {
            settings: problems,
            policy: Vec::new(),
            files,
        }
    }

    /// All that is wrong: the settings first, then the policy.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.of_settings().iter().chain(self.of_policy())
    }

    /// What is wrong with the settings.
    pub fn of_settings(&self) -> &[Problem] {
        &self.settings
    }

    /// What is wrong with the policy.
    pub fn of_policy(&self) -> &[Problem] {
        &self.policy
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems().enumerate() {
            let end_of_line = if number == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
