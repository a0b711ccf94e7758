//! The check `expression`: a rule's expression must be true of the request.

use http::StatusCode;

use super::{Condition, Inputs, Names, OnError, Rule, Verdict, facts::Facts, verdict::Found};
use crate::referral::State;

/// Evaluates the expression; `state` is the state of the referral, if it is known.
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
                "{} The rule could not be evaluated: {error}.",
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
