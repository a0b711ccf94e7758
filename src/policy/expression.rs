//! Users' own rules: CEL expressions over the request, its body, the referral and the tenant.
//!
//! | name | type | what it is |
//! | --- | --- | --- |
//! | `request.method` | text | `PUT`, `PATCH`, `POST` |
//! | `request.route` | text | the name of the route |
//! | `request.headers` | list | the names of the header fields, in lower case; never their values, which hold secrets |
//! | `request.query` | object | the parameters, decoded |
//! | `request.application` | text | the application that the token names, empty if it names none. The token may be unverified: the service refuses a false one |
//! | `body` | object | what the request sets (see [`body`]) |
//! | `referral.known` | boolean | true if the state of the referral is known |
//! | `referral.status`, `referral.substatus` | text | the state; missing while it is unknown |
//! | `tenant.alias`, `tenant.id` | text | the tenant of the request |
//!
//! Member names and parameter names compare without case, as the service reads them, so `body.details.dealValue` finds
//! `DealValue` too; values compare exactly. Numbers compare by value in any form (`50000`, `5e4`, `50000.0`), as
//! doubles where one of the two is not a 64-bit integer. Arithmetic takes two numbers of one type, and a client may send a
//! number as a string, so `double(body.details.dealValue)` reads all three. A missing member is an error, and so is a value of
//! the wrong type; `has(body.details)` asks whether a member is present, and `null` is a value.
//!
//! An expression has bounds: its length, its depth, the number of JSON values it reads and the work of its loops. Nested
//! loops are refused. It does no input or output and reads no clock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

mod arguments;
mod body;
mod check;
mod error;
mod evaluate;
mod inputs;
mod limits;
mod names;
mod operators;
mod parse;
mod program;
mod shape;
mod signatures;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use error::{CompileError, EvalError};
use evaluate::ENVIRONMENT;
pub use inputs::{Converted, Inputs};
use limits::{MAX_BYTES, MAX_NESTING, PARSER_STACK};
pub use names::Names;
use program::Program;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression(Program);

impl<'a> FromIterator<&'a Expression> for Names {
    fn from_iter<I: IntoIterator<Item = &'a Expression>>(expressions: I) -> Self {
        let programs = expressions.into_iter().map(|Expression(program)| program);
        let looping = programs.filter(|program| program.loops.is_some());
        Self::of(looping.flat_map(|program| &program.names))
    }
}

impl Expression {
    /// Whether this text is a literal of the expression, or the name of a member.
    pub fn contains_text(&self, text: &str) -> bool {
        self.0.names.iter().any(|name| name == text)
    }

    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the text, with its place and what to write.
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
        if let Some(offset) = parse::nests_deeper_than(text, MAX_NESTING) {
            let what = format!("parentheses nest deeper than {MAX_NESTING} levels");
            return Err(wrong(offset, what, "split it into several rules"));
        }
        let compiled = thread::scope(|scope| {
            thread::Builder::new()
                .name("expression".to_owned())
                .stack_size(PARSER_STACK)
                .spawn_scoped(scope, || check::compile(text, &ENVIRONMENT))
                .map_err(|error| format!("cannot be read, out of memory: {error}"))?
                .join()
                .map_err(|_| "makes the parser fail".to_owned())
        });
        compiled
            .unwrap_or_else(|what| Err(wrong(0, what, "write it in another way")))
            .map(Self)
    }

    /// True if it reads the body.
    pub fn reads_body(&self) -> bool {
        self.0.reads.body
    }

    /// True if it reads the state of the referral.
    pub fn reads_referral(&self) -> bool {
        self.0.reads.referral
    }

    /// Evaluates it on a request.
    ///
    /// # Errors
    ///
    /// When it has no value for this request, such as by a missing member.
    pub fn holds(&self, inputs: &Inputs<'_>) -> Result<bool, EvalError> {
        // A panic inside the crate costs this evaluation, not the request's task.
        catch_unwind(AssertUnwindSafe(|| evaluate::holds(&self.0, inputs)))
            .unwrap_or(Err(EvalError::Internal))
    }
}
