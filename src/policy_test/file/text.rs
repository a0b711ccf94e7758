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
    /// The policy document under test: a path from this file, or `builtin`.
    pub(super) policy: Text,
    /// What holds for each case that does not say otherwise.
    #[serde(default)]
    pub(super) defaults: Defaults,
    /// The cases.
    #[schemars(with = "Vec<CaseText>", length(min = 1))]
    pub(super) cases: Spanned<Vec<CaseText>>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Defaults {
    /// What is given.
    pub(super) given: GivenText,
    /// The request.
    pub(super) request: RequestText,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseText {
    /// The sentence that must be true. No two cases of a file have the same.
    pub(super) name: Text,
    /// A table: the case holds for each row, in which `${name}` stands for the value of that name, `${name.member}` for
    /// a part of it, and `$${` for `${`. Texts only: `verdict`, `status` and `repaired` are the same for all rows.
    #[schemars(with = "Option<Vec<BTreeMap<String, Value>>>", length(min = 1))]
    pub(super) each: Option<Spanned<Vec<BTreeMap<String, Value>>>>,
    /// The same for each combination of these values.
    #[schemars(with = "Option<BTreeMap<String, Vec<Value>>>")]
    pub(super) matrix: Option<Spanned<BTreeMap<String, Vec<Value>>>>,
    /// What is given.
    #[serde(default)]
    pub(super) given: GivenText,
    /// The request.
    #[serde(default)]
    pub(super) request: RequestText,
    /// What must come of it.
    pub(super) expect: ExpectText,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GivenText {
    /// The alias of the tenant whose request it is, as the settings would name it. Default: a tenant without one.
    pub(super) tenant: Option<Text>,
    /// The id of the tenant that the token names, for one without an alias. Default: none.
    pub(super) tenant_id: Option<Text>,
    /// The application that the token names. Default: none.
    pub(super) application: Option<Text>,
    /// Where referrals stand, at which entity tag.
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
    /// Header fields by name: a text, a list of texts for as many lines, or null to take a default away.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(super) headers: BTreeMap<String, Spanned<Value>>,
    /// The body, a JSON value.
    #[schemars(with = "Option<Value>")]
    pub(super) body: Option<Spanned<Value>>,
    /// The body, byte for byte.
    pub(super) raw: Option<Text>,
    /// In place of all that: a file that holds the request (raw HTTP, .http, HAR, curl), as a path from this file.
    pub(super) http: Option<Text>,
    /// Which of several requests of that file: its name, or its number.
    pub(super) which: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectText {
    /// What becomes of the request.
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
    /// The repairs that are used, in the order of use: these and no others. Default: none.
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
    /// `unchanged`: the bytes that came.
    pub(super) body: Option<Unchanged>,
    /// The body, byte for byte.
    pub(super) raw: Option<Text>,
    /// A file that holds the body, as a path from this file.
    pub(super) file: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unchanged {
    Unchanged,
}

/// A text with its place, in which `${name}` may stand for a value of the case's table.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(super) struct Text(#[schemars(with = "String")] pub(super) Spanned<String>);
