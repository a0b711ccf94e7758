//! A rule's own expression must be true of the request.

use http::StatusCode;

use super::{Expression, Inputs, Names, Rule, Verdict, facts::Facts, verdict::Found};
use crate::referral::State;

/// The expression of a rule, and what to say when it is not true.
#[derive(Debug)]
pub struct Condition {
    /// What must be true.
    pub expression: Expression,
    /// What was expected.
    pub message: String,
    /// How to mend it.
    pub fix: Option<String>,
    /// What an expression that has no value leads to.
    pub on_error: OnError,
}

/// What an expression that has no value leads to: a missing member, a value of another type, too much work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// A finding, so that nothing passes unjudged.
    #[default]
    Deny,
    /// No finding.
    Pass,
}

/// What an expression says that need not know where the referral stands, or is told.
pub(super) fn check(
    rule: &Rule,
    condition: &Condition,
    names: &Names,
    facts: &Facts<'_>,
    state: Option<&State>,
    verdict: &mut Verdict,
) {
    let context = &facts.context;
    let inputs = Inputs {
        method: facts.method.as_str(),
        route: context.route,
        headers: facts.headers,
        query: context.query,
        application: context.application,
        body: facts.body.is_readable().then(|| facts.body.bytes()),
        referral: state,
        tenant_alias: context.tenant_alias,
        tenant_id: context.tenant_id,
        names,
        converted: &facts.converted,
    };
    let (code, message) = match condition.expression.holds(&inputs) {
        Ok(true) => return,
        Ok(false) => ("expression_not_met", condition.message.clone()),
        Err(_) if condition.on_error == OnError::Pass => return,
        Err(error) => (
            "expression_failed",
            format!(
                "{} The rule could not be judged: {error}.",
                condition.message
            ),
        ),
    };
    let fix = condition
        .fix
        .clone()
        .unwrap_or_else(|| format!("Send what the rule {} asks for.", rule.id));
    verdict.add(
        rule,
        Found {
            status: StatusCode::FORBIDDEN,
            code,
            target: "request",
            message,
            fix: fix.into(),
        },
    );
}
