//! Rules that somebody else writes: CEL expressions over the request, its body, the referral and the tenant.
//!
//! | name | type | what it is |
//! | --- | --- | --- |
//! | `request.method` | text | `PUT`, `PATCH`, `POST` |
//! | `request.route` | text | the name of the route |
//! | `request.headers` | list | the names of the header fields, in lower case; never their values, which hold secrets |
//! | `request.query` | object | the parameters, decoded |
//! | `request.application` | text | the application that the token names, empty if it names none. The gateway need not have verified the token: the service refuses one that says what is not so |
//! | `body` | object | what the request sets (see [`body`]) |
//! | `referral.known` | boolean | whether it is known where the referral stands |
//! | `referral.status`, `referral.substatus` | text | where it stands; missing while that is not known |
//! | `tenant.alias`, `tenant.id` | text | whose request it is |
//!
//! Member names and parameter names compare without case, as the service reads them, so `body.details.dealValue` finds
//! `DealValue` too; values compare exactly. Numbers compare whatever their form (`50000`, `5e4`, `50000.0`), as doubles
//! where one of the two is none of 64 bits. Arithmetic wants two of one type, and a number may come as a string, so
//! `double(body.details.dealValue)` is what reads all three. A missing member is an error, and so is a value of another
//! type than an operator takes; `has(body.details)` asks whether there is one, `null` counting as a value.
//!
//! An expression is bounded by its length, its depth, the JSON values it is given and the work of its loops, one inside
//! another being refused. It does no input or output and knows no clock.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock, OnceLock, atomic::AtomicUsize},
    thread,
};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        types::{CelBool, CelList, CelString, STRING_TYPE},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    parser::Expression as Code,
};
use http::HeaderMap;
use regex::Regex;

use crate::referral::{State, folded};

mod body;
mod check;
mod value;

#[cfg(test)]
mod tests;

use value::{Object, PATTERN_TYPE, Pattern, Root};

/// The longest expression, in bytes.
const MAX_BYTES: usize = 2048;

/// How deep parentheses, brackets and calls may nest in the text.
const MAX_NESTING: usize = 24;

/// How deep the parts of an expression may nest. Each level takes 40 KB of stack in a debug build.
const MAX_DEPTH: usize = 24;

/// The stack of the thread that reads an expression. The crate's parser stops by itself at 96 levels, and takes
/// 250 KB for each in a debug build.
const PARSER_STACK: usize = 32 << 20;

/// What loops may cost together: for each item, 64 for each part of the step, and for each mention of the body or of a
/// record its bytes.
const MAX_WORK: usize = 64 << 20;

/// What a part of a loop's step costs.
const PART: usize = 64;

/// How much text one evaluation may give to `matches`, in bytes. With the largest pattern, made to be slow, that takes
/// most of a second; with any pattern that somebody needs, a millisecond.
const MAX_MATCHED: usize = 64 << 10;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    code: Code,
    reads: Reads,
    loops: Option<Loops>,
    /// Member names and texts in it.
    names: Vec<String>,
    patterns: Vec<Regex>,
}

/// What an expression looks at.
#[derive(Debug, Clone, Copy, Default)]
struct Reads {
    body: bool,
    headers: bool,
    query: bool,
    referral: bool,
}

/// What the loops of an expression cost.
#[derive(Debug, Clone, Copy, Default)]
struct Loops {
    /// How many parts the steps have together, and bytes of text written in them in units of [`PART`].
    parts: usize,
    /// How often the steps mention the body.
    mentions: usize,
    /// How often the steps mention anything else of the request.
    records: usize,
    /// The length of the longest list that is written out.
    written: usize,
}

/// Why a text is no expression that a rule can use: what is wrong, where, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct CompileError {
    /// The place in the text, in bytes from 0.
    pub offset: usize,
    /// The line in the text, from 1.
    pub line: usize,
    /// The column in the line, in characters from 1.
    pub column: usize,
    what: String,
    remedy: String,
}

impl CompileError {
    fn new(text: &str, offset: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let offset = text.floor_char_boundary(offset);
        let before = text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Why an expression has no value for a request. The text names nothing that the request holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The body was not read.
    #[error("the body could not be read")]
    Unread,
    /// The body is not JSON.
    #[error("the body is not JSON in UTF-8")]
    NotJson,
    /// The body is JSON of another kind.
    #[error("the body is not one JSON object, nor a JSON Patch in a PATCH")]
    NotAnObject,
    /// The body nests too deep.
    #[error(
        "the body nests objects or lists deeper than {} levels",
        body::MAX_DEPTH
    )]
    TooDeep,
    /// The body has too many values.
    #[error("the body has more than {} values", body::MAX_VALUES)]
    TooManyValues,
    /// Readers differ in which of two members counts.
    #[error("an object of the body has two members of one name, compared without case")]
    RepeatedMember,
    /// What a JSON Patch sets cannot be told.
    #[error("what operation {operation} of the JSON Patch sets cannot be told: {why}")]
    Patch {
        /// Counted from 1.
        operation: usize,
        /// What stands in the way.
        why: &'static str,
    },
    /// The query cannot be read in one way only.
    #[error("the query names a parameter twice, compared without case, or is not UTF-8")]
    Query,
    /// The loops would take too long.
    #[error("the loops of the expression would take too long on this body")]
    TooMuchWork,
    /// Where the referral stands is not known.
    #[error("it is not known where the referral stands")]
    UnknownState,
    /// A member is not there.
    #[error("the member {} is missing", .0.as_deref().unwrap_or("that the expression reads"))]
    Missing(Option<String>),
    /// A member has letters that only some readers take for others.
    #[error(
        "the member {0} is spelt with look-alike letters or blanks, which only some readers take for it"
    )]
    LookAlike(String),
    /// A value is of another type.
    #[error("a value has another type than the expression takes: {0}")]
    Type(String),
    /// A number is beyond what its type holds, or a divisor is zero.
    #[error("the result of a calculation is out of range")]
    Range,
    /// A position is beyond the end of a list.
    #[error("a position is beyond the end of its list")]
    Position,
    /// A function cannot use its argument.
    #[error("{0}() cannot use the value it is given")]
    Function(String),
    /// Anything else.
    #[error("the expression could not be evaluated")]
    Internal,
}

/// What an expression may look at.
///
/// The body and the query are converted once, when the first expression needs them, so change neither afterwards. What
/// is known of the referral may be added later.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The method.
    pub method: &'a str,
    /// The name of the route.
    pub route: &'a str,
    /// The header section. Expressions see the names only.
    pub headers: &'a HeaderMap,
    /// The query of the target, as it came.
    pub query: Option<&'a str>,
    /// The claim `appid` or `azp` of the token; empty if there is none.
    pub application: &'a str,
    /// The body, if it was read.
    pub body: Option<&'a [u8]>,
    /// Where the referral stands, if that is known.
    pub referral: Option<&'a State>,
    /// The configured alias of the tenant; empty if there is none.
    pub tenant_alias: &'a str,
    /// The id of the tenant.
    pub tenant_id: &'a str,
    /// The names that the expressions of the policy use, of every one that is evaluated on this.
    pub names: &'a Names,
    /// What has been converted so far.
    pub converted: &'a Converted,
}

/// Body, query and header names in the form in which expressions see them, filled when first needed.
#[derive(Debug, Default)]
pub struct Converted {
    body: OnceLock<Result<Root, EvalError>>,
    query: OnceLock<Result<Root, EvalError>>,
    headers: OnceLock<CelList<'static>>,
}

/// How the expressions of a policy spell the names that their loops may compare with.
///
/// A loop over the members of an object sees their names, and compares them exactly. So that no spelling slips through,
/// it sees each name as the expressions spell it. Where they disagree, such a loop is an error.
#[derive(Debug, Clone, Default)]
pub struct Names(HashMap<String, Option<String>>);

impl<'a> FromIterator<&'a Expression> for Names {
    fn from_iter<I: IntoIterator<Item = &'a Expression>>(expressions: I) -> Self {
        let mut names = HashMap::new();
        for name in expressions
            .into_iter()
            .filter(|expression| expression.loops.is_some())
            .flat_map(|expression| &expression.names)
        {
            names
                .entry(folded(name).into_owned())
                .and_modify(|known: &mut Option<String>| {
                    if known.as_ref() != Some(name) {
                        *known = None;
                    }
                })
                .or_insert_with(|| Some(name.clone()));
        }
        Self(names)
    }
}

impl Names {
    fn knows(&self, name: &str) -> bool {
        self.0.contains_key(folded(name).as_ref())
    }
}

impl Expression {
    /// Reads an expression, and refuses one that could not be a rule.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        let wrong =
            |offset, what: String, remedy: &str| CompileError::new(text, offset, what, remedy);
        if text.trim_ascii().is_empty() {
            return Err(wrong(0, "is empty".to_owned(), "write a condition"));
        }
        if text.len() > MAX_BYTES {
            let what = format!("{} bytes are more than {MAX_BYTES}", text.len());
            return Err(wrong(0, what, "split it into several rules"));
        }
        if let Some(offset) = nests_deeper_than(text, MAX_NESTING) {
            let what = format!("parentheses nest deeper than {MAX_NESTING} levels");
            return Err(wrong(offset, what, "split it into several rules"));
        }
        let compiled = thread::scope(|scope| {
            thread::Builder::new()
                .name("expression".to_owned())
                .stack_size(PARSER_STACK)
                .spawn_scoped(scope, || check::compile(text, &ENVIRONMENT))
                .map_err(|error| format!("cannot be read for want of memory: {error}"))?
                .join()
                .map_err(|_| "makes the parser fail".to_owned())
        });
        compiled.unwrap_or_else(|what| Err(wrong(0, what, "write it in another way")))
    }

    /// Whether it looks at the body.
    pub fn reads_body(&self) -> bool {
        self.reads.body
    }

    /// Whether it looks at where the referral stands.
    pub fn reads_referral(&self) -> bool {
        self.reads.referral
    }

    /// Whether it is true of a request.
    pub fn holds(&self, inputs: &Inputs<'_>) -> Result<bool, EvalError> {
        // A panic inside the crate costs this evaluation, not the request's task.
        catch_unwind(AssertUnwindSafe(|| self.evaluate(inputs))).unwrap_or(Err(EvalError::Internal))
    }

    fn evaluate(&self, inputs: &Inputs<'_>) -> Result<bool, EvalError> {
        let body = self.reads.body.then(|| inputs.body()).transpose()?;
        let query = self.reads.query.then(|| inputs.query()).transpose()?;
        let headers = self.reads.headers.then(|| inputs.headers());
        if let Some(loops) = self.loops {
            if !self.names.iter().all(|name| inputs.names.knows(name)) {
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
            patterns: self
                .patterns
                .iter()
                .map(|regex| Pattern::new(regex, &matched))
                .collect(),
        };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&variables);
        let value = Value::resolve_val(&self.code, &context)
            .map_err(|error| EvalError::of(error, &self.names))?;
        value
            .downcast_ref::<CelBool>()
            .map(|holds| *holds.inner())
            .ok_or_else(|| EvalError::Type(format!("the result is {}", value.get_type().name())))
    }
}

impl Loops {
    /// Whether the loops end in time, over lists of so many items, with so many bytes of the body and of records.
    fn check(self, items: usize, body: usize, records: usize) -> Result<(), EvalError> {
        let step = (self.parts * PART)
            .saturating_add(self.mentions.saturating_mul(body))
            .saturating_add(self.records.saturating_mul(records));
        if items.saturating_mul(step) > MAX_WORK {
            return Err(EvalError::TooMuchWork);
        }
        Ok(())
    }
}

impl Inputs<'_> {
    /// How many bytes of the request a mention of anything but the body can cost.
    fn records(&self) -> usize {
        let headers = self.headers.keys().map(|name| name.as_str().len());
        self.query.map_or(0, str::len)
            + self.application.len()
            + self.tenant_id.len()
            + headers.sum::<usize>()
    }

    fn body(&self) -> Result<&Root, EvalError> {
        let body = self.converted.body.get_or_init(|| {
            let members = body::read(self.body.ok_or(EvalError::Unread)?, self.method)?;
            Ok(Root::of(members, self.names))
        });
        body.as_ref().map_err(Clone::clone)
    }

    fn query(&self) -> Result<&Root, EvalError> {
        let query = self.converted.query.get_or_init(|| {
            let members = body::read_query(self.query.unwrap_or_default())?;
            Ok(Root::of(members, self.names))
        });
        query.as_ref().map_err(Clone::clone)
    }

    fn headers(&self) -> &CelList<'static> {
        self.converted.headers.get_or_init(|| {
            let names = self.headers.keys().map(|name| -> Box<dyn Val> {
                Box::new(CelString::from(name.as_str().to_owned()))
            });
            CelList::from(names.collect::<Vec<_>>())
        })
    }
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

/// What the name of a compiled pattern begins with. No name in an expression can.
const PATTERN: &str = "@pattern";

/// The standard functions; `matches` is ours, since the crate's compiles its pattern anew for each call.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
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

impl EvalError {
    /// The crate's errors hold values of the body, so only their kind is kept, and what the expression itself names.
    fn of(error: ExecutionError, names: &[String]) -> Self {
        let types = |operator: &str, types: &[&str]| {
            let operator = check::written(operator);
            Self::Type(format!("{operator} with {}", types.join(" and ")))
        };
        match error {
            // All names were checked when the expression was compiled; only those of the referral can be missing.
            ExecutionError::UndeclaredReference(_) => Self::UnknownState,
            ExecutionError::NoSuchKey(name) => {
                Self::Missing(names.iter().find(|known| **known == *name).cloned())
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
                Self::Type(format!("an operand of {operator}"))
            }
            ExecutionError::UnexpectedType { .. }
            | ExecutionError::UnsupportedKeyType(_)
            | ExecutionError::UnsupportedIndex(..)
            | ExecutionError::UnsupportedTargetType { .. }
            | ExecutionError::ValuesNotComparable(..) => {
                Self::Type("the value of an operand".to_owned())
            }
            ExecutionError::Overflow(..)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_) => Self::Range,
            ExecutionError::IndexOutOfBounds(_) => Self::Position,
            ExecutionError::FunctionError { function, message }
                if function == value::LOOK_ALIKE =>
            {
                Self::LookAlike(message)
            }
            ExecutionError::FunctionError { function, .. } => Self::Function(function),
            _ => Self::Internal,
        }
    }
}

/// Where brackets outside of texts nest deeper than `limit`.
fn nests_deeper_than(text: &str, limit: usize) -> Option<usize> {
    let (mut depth, mut quote, mut raw, mut escaped) = (0usize, None, false, false);
    let mut before = b' ';
    for (offset, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = !raw,
            (Some(open), _) if byte == open || byte == b'\n' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => (quote, raw) = (Some(byte), matches!(before, b'r' | b'R')),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                if depth > limit {
                    return Some(offset);
                }
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        before = byte;
    }
    None
}
