//! One case of a test file: its input and what it expects.

use serde::Deserialize;

use crate::{capture::Captured, policy::repair::Repair, yaml};

/// One case, with the values of its table filled in.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Its place in the file.
    pub(super) place: yaml::Place,
    pub(super) given: Given,
    pub(super) request: Captured,
    pub(super) expect: Expect,
}

/// What is true before the request.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) tenant: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) application: Option<String>,
    pub(super) snapshots: Vec<Snapshot>,
}

/// The state of a referral at an entity tag.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) etag: String,
    pub(super) status: String,
    pub(super) substatus: Option<String>,
}

/// The expected outcome of a case; `None` is not compared.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) verdict: Outcome,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    /// Sorted.
    pub(super) rules: Vec<String>,
    /// Sorted.
    pub(super) findings: Option<Vec<String>>,
    /// Sorted.
    pub(super) warnings: Option<Vec<String>>,
    pub(super) repaired: Vec<Repair>,
    /// By name, in lower case; the lines of each.
    pub(super) headers: Vec<(String, Vec<String>)>,
    pub(super) body: Option<Vec<u8>>,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The gateway sends it to the service.
    Pass,
    /// The gateway answers it and sends nothing.
    Refuse,
}
