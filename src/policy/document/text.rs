//! A policy document as it is written.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::policy::{Check, Method, Mode, OnError, repair::Repair};

/// A document. What is missing or cannot be read is `None`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "referral-gateway policy")]
pub(super) struct Document {
    /// The name in logs and metrics: 1 to 40 of a-z, 0-9 and -.
    #[schemars(with = "String")]
    pub(super) name: Option<Spanned<String>>,
    /// The rules.
    #[schemars(with = "Vec<RuleText>")]
    pub(super) rules: Option<Vec<Option<RuleText>>>,
    /// By status: what may follow it and which substatus it may have.
    #[schemars(with = "BTreeMap<String, StateText>")]
    pub(super) states: Option<BTreeMap<String, Option<StateText>>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    /// The name in answers, logs and metrics: 1 to 40 of a-z, 0-9 and -.
    #[schemars(with = "String")]
    pub(super) id: Spanned<String>,
    /// What the rule checks.
    #[schemars(with = "Check")]
    pub(super) check: Spanned<Check>,
    /// The methods it applies to: each once, and each one that its check applies to.
    #[schemars(with = "Vec<Method>", length(min = 1))]
    pub(super) on: Spanned<Vec<Spanned<Method>>>,
    /// What happens on a finding.
    #[schemars(with = "Mode")]
    pub(super) mode: Spanned<Mode>,
    /// Other modes for single tenants, by their aliases in the settings. Only the `tid` of a token makes a caller one of
    /// them.
    #[schemars(with = "Option<BTreeMap<String, Mode>>")]
    pub(super) modes: Option<BTreeMap<String, Spanned<Mode>>>,
    /// The status it answers with (400 to 499), instead of the check's own.
    #[schemars(with = "Option<u16>")]
    pub(super) status: Option<Spanned<ClientError>>,
    /// With mode `repair`: the repairs that may be made.
    #[schemars(with = "Option<Vec<Repair>>")]
    pub(super) repairs: Option<Spanned<Vec<Spanned<Repair>>>>,
    /// With check `expression`: the CEL expression that must be true.
    #[schemars(with = "Option<String>")]
    pub(super) expression: Option<Spanned<String>>,
    /// With check `expression`: what was expected, for the answer.
    #[schemars(with = "Option<String>")]
    pub(super) message: Option<Spanned<String>>,
    /// With check `expression`: how to fix the request, for the answer.
    #[schemars(with = "Option<String>")]
    pub(super) fix: Option<Spanned<String>>,
    /// With check `expression`: the outcome of an expression that has no value. Default: deny.
    #[schemars(with = "Option<OnError>")]
    pub(super) on_error: Option<Spanned<OnError>>,
}

/// A status of class 4xx.
#[derive(Debug)]
pub(super) struct ClientError(pub(super) StatusCode);

impl<'de> Deserialize<'de> for ClientError {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(reader).ok();
        status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(StatusCode::is_client_error)
            .map(Self)
            .ok_or_else(|| {
                serde::de::Error::custom("not a client error; write a number from 400 to 499")
            })
    }
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateText {
    /// The status that may follow.
    #[schemars(with = "Vec<String>")]
    pub(super) next: Vec<Spanned<String>>,
    /// The substatus that is allowed with this status.
    pub(super) substatus: Vec<String>,
    /// Whether the substatus may change while the status stays. Default: true.
    pub(super) substatus_may_change: Option<bool>,
}

/// True if a text can be the name of a document or a rule.
pub(super) fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
