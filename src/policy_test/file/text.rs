//! A test file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::{policy::repair::Repair, policy_test::case::Outcome};

/// A test file as it is written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "referral-gateway policy tests")]
pub(super) struct FileText {
    /// The policy document under test: a path relative to this file, or `builtin`.
    pub(super) policy: Text,
    /// Defaults for the cases.
    #[serde(default)]
    pub(super) defaults: Defaults,
    /// The cases.
    #[schemars(with = "Vec<CaseText>", length(min = 1))]
    pub(super) cases: Spanned<Vec<CaseText>>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Defaults {
    /// What is true before the request.
    pub(super) given: GivenText,
    /// The request.
    pub(super) request: RequestText,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseText {
    /// The sentence that must be true, unique in the file.
    pub(super) name: Text,
    /// A table: the case runs once for each row. In texts, `${name}` is the value of that name, `${name.member}` a
    /// part of it, and `$${` a literal `${`. `verdict`, `status` and `repaired` are the same for all rows.
    #[schemars(with = "Option<Vec<BTreeMap<String, Value>>>", length(min = 1))]
    pub(super) each: Option<Spanned<Vec<BTreeMap<String, Value>>>>,
    /// A table of all combinations of these values.
    #[schemars(with = "Option<BTreeMap<String, Vec<Value>>>")]
    pub(super) matrix: Option<Spanned<BTreeMap<String, Vec<Value>>>>,
    /// What is true before the request.
    #[serde(default)]
    pub(super) given: GivenText,
    /// The request.
    #[serde(default)]
    pub(super) request: RequestText,
    /// The expected outcome.
    pub(super) expect: ExpectText,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GivenText {
    /// The tenant's alias, as in the settings. Default: a tenant without an alias.
    pub(super) tenant: Option<Text>,
    /// The id of a tenant without an alias, as in the token. Default: none.
    pub(super) tenant_id: Option<Text>,
    /// The id of the application, as in the token. Default: none.
    pub(super) application: Option<Text>,
    /// The states of referrals, each at an entity tag.
    pub(super) snapshots: Option<Vec<SnapshotText>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotText {
    /// The referral's id.
    pub(super) id: Text,
    /// The entity tag, with its quotes: '"1"'.
    pub(super) etag: Text,
    /// `New`, `Active`, `Closed`.
    pub(super) status: Text,
    /// `Pending`, `Accepted`, `Won`, ... Default: not known.
    pub(super) substatus: Option<Text>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestText {
    /// The method.
    pub(super) method: Option<Text>,
    /// Path and query.
    pub(super) path: Option<Text>,
    /// Header fields by name: a text, a list of texts for as many lines, or null to remove a default.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(super) headers: BTreeMap<String, Spanned<Value>>,
    /// The body, a JSON value.
    #[schemars(with = "Option<Value>")]
    pub(super) body: Option<Spanned<Value>>,
    /// The body, byte for byte.
    pub(super) raw: Option<Text>,
    /// Instead of all that: a file with the request (raw HTTP, .http, HAR, curl), relative to this file.
    pub(super) http: Option<Text>,
    /// Which request of that file: its name or number.
    pub(super) which: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectText {
    /// What happens to the request.
    #[schemars(with = "Outcome")]
    pub(super) verdict: Spanned<Outcome>,
    /// The status of the refusal.
    #[schemars(with = "Option<u16>")]
    pub(super) status: Option<Spanned<u16>>,
    /// The code of the refusal.
    pub(super) code: Option<Text>,
    /// The ids of the rules that find something: these and no others. Default: none.
    #[serde(default)]
    pub(super) rules: Vec<Text>,
    /// The codes of the findings: these and no others, in any order. Default: any.
    pub(super) findings: Option<Vec<Text>>,
    /// The codes of the findings that the answer names in a `Warning`: these and no others. Default: any.
    pub(super) warnings: Option<Vec<Text>>,
    /// The repairs, in the order of use: these and no others. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<Repair>")]
    pub(super) repaired: Vec<Spanned<Repair>>,
    /// What is sent to the service.
    #[schemars(with = "Option<ForwardedText>")]
    pub(super) forwarded: Option<Spanned<ForwardedText>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForwardedText {
    /// Header fields by name: a text, a list of texts for as many lines, or null for none.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(super) headers: BTreeMap<String, Spanned<Value>>,
    /// `unchanged`: the bytes of the request's body.
    pub(super) body: Option<Unchanged>,
    /// The body, byte for byte.
    pub(super) raw: Option<Text>,
    /// A file with the body, relative to this file.
    pub(super) file: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unchanged {
    Unchanged,
}

/// A text with its place in the file. It may contain `${name}` of the case's table.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(super) struct Text(#[schemars(with = "String")] pub(super) Spanned<String>);
