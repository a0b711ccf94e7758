//! Evaluates a checked expression on one request.

use std::sync::{Arc, LazyLock, atomic::AtomicUsize};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        types::{CelBool, CelList, CelString, STRING_TYPE},
        value::CowVal,
    },
    context::VariableResolver,
};

use super::{
    error::EvalError,
    inputs::Inputs,
    operators,
    program::{PATTERN, Program},
    value::{self, Object, PATTERN_TYPE, Pattern},
};

/// Whether an expression is true of a request.
pub(super) fn holds(program: &Program, inputs: &Inputs<'_>) -> Result<bool, EvalError> {
    let body = program.reads.body.then(|| inputs.body()).transpose()?;
    let query = program.reads.query.then(|| inputs.query()).transpose()?;
    let headers = program.reads.headers.then(|| inputs.headers());
    if let Some(loops) = program.loops {
        if !program.names.iter().all(|name| inputs.names.knows(name)) {
            return Err(EvalError::Internal);
        }
        let lists = [body, query].into_iter().flatten();
        let lists = lists.map(|converted| converted.longest);
        let headers = headers.map_or(0, |names| names.inner().len());
        let items = lists.chain([headers, loops.written]).max();
        loops.check(
            items.unwrap_or_default(),
            inputs.body.map_or(0, <[u8]>::len),
            inputs.records(),
        )?;
    }

    let matched = Arc::new(AtomicUsize::new(0));
    let variables = Variables {
        inputs,
        body: body.map(|converted| &converted.object),
        query: query.map(|converted| &converted.object),
        headers,
        patterns: program
            .patterns
            .iter()
            .map(|regex| Pattern::new(regex, &matched))
            .collect(),
    };
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(&variables);
    let value = Value::resolve_val(&program.code, &context)
        .map_err(|error| understood(error, &program.names))?;
    value
        .downcast_ref::<CelBool>()
        .map(|holds| *holds.inner())
        .ok_or_else(|| EvalError::Type(format!("the result is {}", value.get_type().name())))
}

/// The variables of one evaluation.
struct Variables<'a> {
    inputs: &'a Inputs<'a>,
    body: Option<&'a Object>,
    query: Option<&'a Object>,
    headers: Option<&'a CelList<'static>>,
    patterns: Vec<Pattern>,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match name {
            "body" => Some(CowVal::Borrowed(self.body?)),
            "request.method" => text(self.inputs.method),
            "request.route" => text(self.inputs.route),
            "request.headers" => Some(CowVal::Borrowed(self.headers?)),
            "request.query" => Some(CowVal::Borrowed(self.query?)),
            "request.application" => text(self.inputs.application),
            "referral.known" => Some(CowVal::owned(CelBool::from(self.inputs.referral.is_some()))),
            "referral.status" => text(&self.inputs.referral?.status),
            "referral.substatus" => text(
                self.inputs
                    .referral?
                    .substatus
                    .as_deref()
                    .unwrap_or_default(),
            ),
            "tenant.alias" => text(self.inputs.tenant_alias),
            "tenant.id" => text(self.inputs.tenant_id),
            _ => {
                let pattern: usize = name.strip_prefix(PATTERN)?.parse().ok()?;
                Some(CowVal::Borrowed(self.patterns.get(pattern)?))
            }
        }
    }
}

/// The standard functions; `matches` is ours, since the crate's compiles its pattern anew for each call.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(false);
    environment
        .add_overload(
            "matches",
            "matches",
            vec![STRING_TYPE, PATTERN_TYPE],
            matches,
        )
        .expect("the crate has no `matches` without its feature `regex`");
    environment
        .add_member_overload(
            "matches",
            "matches of a text",
            STRING_TYPE,
            vec![PATTERN_TYPE],
            matches,
        )
        .expect("the crate has no `matches` without its feature `regex`");
    Arc::new(environment)
});

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let Ok([text, pattern]) = <[CowVal<'_, '_>; 2]>::try_from(arguments) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    text.downcast_ref::<CelString<'_>>()
        .zip(pattern.downcast_ref::<Pattern>())
        .and_then(|(text, pattern)| pattern.is_match(text.inner()))
        .map(|is_match| CowVal::owned(CelBool::from(is_match)))
        .ok_or_else(|| ExecutionError::function_error("matches", "too much text"))
}

/// The crate's errors hold values of the body, so only their kind is kept, and what the expression itself names.
fn understood(error: ExecutionError, names: &[String]) -> EvalError {
    let types = |operator: &str, types: &[&str]| {
        let operator = operators::written(operator);
        EvalError::Type(format!("{operator} with {}", types.join(" and ")))
    };
    match error {
        // All names were checked when the expression was compiled; only those of the referral can be missing.
        ExecutionError::UndeclaredReference(_) => EvalError::UnknownState,
        ExecutionError::NoSuchKey(name) => {
            EvalError::Missing(names.iter().find(|known| **known == *name).cloned())
        }
        ExecutionError::NoSuchOverload(call) => {
            let seen: Vec<_> = call.argument_types().iter().map(String::as_str).collect();
            types(call.function(), &seen)
        }
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            let operator = match operator {
                "add" => "+",
                "sub" => "-",
                "mul" => "*",
                "div" => "/",
                "rem" => "%",
                other => other,
            };
            EvalError::Type(format!("an operand of {operator}"))
        }
        ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedKeyType(_)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::ValuesNotComparable(..) => {
            EvalError::Type("the value of an operand".to_owned())
        }
        ExecutionError::Overflow(..)
        | ExecutionError::DivisionByZero(_)
        | ExecutionError::RemainderByZero(_) => EvalError::Range,
        ExecutionError::IndexOutOfBounds(_) => EvalError::Position,
        ExecutionError::FunctionError { function, message } if function == value::LOOK_ALIKE => {
            EvalError::LookAlike(message)
        }
        ExecutionError::FunctionError { function, .. } => EvalError::Function(function),
        _ => EvalError::Internal,
    }
}
