//! Reads an expression and checks it: names, functions, types as far as they can be told, and what bounds its cost.

use std::fmt;

use cel::{
    Env, ParseErrors,
    common::ast::{
        CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr,
        SourceInfo, operators,
    },
};
use regex::{Regex, RegexBuilder};

use super::{CompileError, Expression, Loops, MAX_DEPTH, PART, PATTERN, Reads};
use crate::{nearest::nearest, yaml::quoted};

/// How large a compiled pattern may be, in bytes: its size bounds the time for each byte of text.
const MAX_PATTERN: usize = 128 << 10;

/// The type of a part of an expression, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// Anything, as the request will have it.
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    List,
    Object,
    /// An object of texts.
    Query,
    Null,
    Time,
    Duration,
    /// A type itself, such as `string`.
    Kind,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "a value of the request",
            Self::Bool => "a boolean",
            Self::Int => "an int",
            Self::Uint => "a uint",
            Self::Double => "a double",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object | Self::Query => "an object",
            Self::Null => "null",
            Self::Time => "a timestamp",
            Self::Duration => "a duration",
            Self::Kind => "a type",
        })
    }
}

impl Type {
    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    fn may_be(self, other: Self) -> bool {
        self == Self::Any || other == Self::Any || self == other
    }

    fn is_one_of(self, types: &[Self]) -> bool {
        types.iter().any(|other| self.may_be(*other))
    }

    /// Whether the two can ever be equal.
    fn compares_with(self, other: Self) -> bool {
        let objects = [Self::Object, Self::Query];
        self.may_be(other)
            || (self.is_number() && other.is_number())
            || (objects.contains(&self) && objects.contains(&other))
    }
}

/// The variables that have members of their own, and no others.
const RECORDS: [(&str, &[(&str, Type)]); 3] = [
    (
        "request",
        &[
            ("method", Type::Text),
            ("route", Type::Text),
            ("headers", Type::List),
            ("query", Type::Query),
            ("application", Type::Text),
        ],
    ),
    (
        "referral",
        &[
            ("known", Type::Bool),
            ("status", Type::Text),
            ("substatus", Type::Text),
        ],
    ),
    ("tenant", &[("alias", Type::Text), ("id", Type::Text)]),
];

const BODY: &str = "body";

/// The types that an expression may name.
const KINDS: [&str; 8] = [
    "bool",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "uint",
];

/// How the macros are written.
const MACROS: [(&str, &str); 7] = [
    ("has", "has(body.member)"),
    ("all", "list.all(item, condition)"),
    ("exists", "list.exists(item, condition)"),
    ("exists_one", "list.exists_one(item, condition)"),
    ("existsOne", "list.existsOne(item, condition)"),
    ("filter", "list.filter(item, condition)"),
    ("map", "list.map(item, value)"),
];

/// One way to call a function.
struct Function {
    name: &'static str,
    form: Form,
    /// What it takes, the value it is called on first.
    takes: &'static [&'static [Type]],
    gives: Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `size(text)`
    Plain,
    /// `text.size()`
    Member,
}

const fn plain(name: &'static str, takes: &'static [&'static [Type]], gives: Type) -> Function {
    Function {
        name,
        form: Form::Plain,
        takes,
        gives,
    }
}

const fn member(name: &'static str, takes: &'static [&'static [Type]], gives: Type) -> Function {
    Function {
        name,
        form: Form::Member,
        takes,
        gives,
    }
}

const TEXT: &[Type] = &[Type::Text];
const TIME: &[Type] = &[Type::Time];
const SPAN: &[Type] = &[Type::Time, Type::Duration];
const SIZED: &[Type] = &[Type::Text, Type::List, Type::Object, Type::Query];

const FUNCTIONS: [Function; 34] = [
    plain("bool", &[&[Type::Bool, Type::Text]], Type::Bool),
    member("contains", &[TEXT, TEXT], Type::Bool),
    plain(
        "double",
        &[&[Type::Double, Type::Int, Type::Uint, Type::Text]],
        Type::Double,
    ),
    plain("duration", &[TEXT], Type::Duration),
    member("endsWith", &[TEXT, TEXT], Type::Bool),
    member("getDate", &[TIME], Type::Int),
    member("getDate", &[TIME, TEXT], Type::Int),
    member("getDayOfMonth", &[TIME], Type::Int),
    member("getDayOfMonth", &[TIME, TEXT], Type::Int),
    member("getDayOfWeek", &[TIME], Type::Int),
    member("getDayOfWeek", &[TIME, TEXT], Type::Int),
    member("getDayOfYear", &[TIME], Type::Int),
    member("getDayOfYear", &[TIME, TEXT], Type::Int),
    member("getFullYear", &[TIME], Type::Int),
    member("getFullYear", &[TIME, TEXT], Type::Int),
    member("getHours", &[SPAN], Type::Int),
    member("getHours", &[TIME, TEXT], Type::Int),
    member("getMilliseconds", &[SPAN], Type::Int),
    member("getMinutes", &[SPAN], Type::Int),
    member("getMinutes", &[TIME, TEXT], Type::Int),
    member("getMonth", &[TIME], Type::Int),
    member("getMonth", &[TIME, TEXT], Type::Int),
    member("getSeconds", &[SPAN], Type::Int),
    plain(
        "int",
        &[&[Type::Int, Type::Uint, Type::Double, Type::Text, Type::Time]],
        Type::Int,
    ),
    plain("matches", &[TEXT, TEXT], Type::Bool),
    member("matches", &[TEXT, TEXT], Type::Bool),
    plain("size", &[SIZED], Type::Int),
    member("size", &[SIZED], Type::Int),
    member("startsWith", &[TEXT, TEXT], Type::Bool),
    plain(
        "string",
        &[&[
            Type::Text,
            Type::Bool,
            Type::Int,
            Type::Uint,
            Type::Double,
            Type::Time,
            Type::Duration,
        ]],
        Type::Text,
    ),
    plain(
        "timestamp",
        &[&[Type::Text, Type::Int, Type::Time]],
        Type::Time,
    ),
    plain("type", &[&[Type::Any]], Type::Kind),
    plain(
        "uint",
        &[&[Type::Uint, Type::Int, Type::Double, Type::Text]],
        Type::Uint,
    ),
    plain("dyn", &[&[Type::Any]], Type::Any),
];

/// Operators as the crate calls them, and as they are written.
const OPERATORS: [(&str, &str); 19] = [
    (operators::CONDITIONAL, "?:"),
    (operators::LOGICAL_AND, "&&"),
    (operators::LOGICAL_OR, "||"),
    (operators::LOGICAL_NOT, "!"),
    (operators::SUBSTRACT, "-"),
    (operators::ADD, "+"),
    (operators::MULTIPLY, "*"),
    (operators::DIVIDE, "/"),
    (operators::MODULO, "%"),
    (operators::EQUALS, "=="),
    (operators::NOT_EQUALS, "!="),
    (operators::GREATER_EQUALS, ">="),
    (operators::LESS_EQUALS, "<="),
    (operators::GREATER, ">"),
    (operators::LESS, "<"),
    (operators::NEGATE, "-"),
    (operators::INDEX, "[]"),
    (SELECT, "."),
    (operators::IN, "in"),
];

/// What the crate calls the selection of a member in its errors.
const SELECT: &str = "_._";

/// An operator or function as it is written.
pub(super) fn written(name: &str) -> &str {
    OPERATORS
        .iter()
        .find(|(operator, _)| *operator == name)
        .map_or(name, |(_, written)| written)
}

/// Reads and checks an expression. It takes a deep stack.
pub(super) fn compile(text: &str, environment: &Env) -> Result<Expression, CompileError> {
    let (mut code, source) = environment
        .parser()
        .parse_with_source_info(text)
        .map_err(|errors| unreadable(text, &errors))?;
    let mut checker = Checker {
        text,
        source: &source,
        scope: Vec::new(),
        depth: 0,
        in_loop: false,
        in_step: false,
        names: Vec::new(),
        reads_any: false,
        reads: Reads::default(),
        loops: Loops::default(),
        has_loop: false,
        patterns: Vec::new(),
    };
    let result = checker.visit(&mut code)?;
    let start = text.len() - text.trim_start().len();
    if !result.may_be(Type::Bool) {
        let what = format!("the result is {result}, not a boolean");
        return Err(CompileError::new(
            text,
            start,
            what,
            "compare it with something",
        ));
    }
    if !checker.reads_any {
        let what = "it names no variable, so its result is always the same";
        let remedy = "use body, request, referral or tenant";
        return Err(CompileError::new(text, start, what, remedy));
    }
    Ok(Expression {
        code,
        reads: checker.reads,
        loops: checker.has_loop.then_some(checker.loops),
        names: checker.names,
        patterns: checker.patterns,
    })
}

/// The first error of the parser, in our words.
fn unreadable(text: &str, errors: &ParseErrors) -> CompileError {
    let Some(error) = errors.errors.first() else {
        return CompileError::new(text, 0, "cannot be read", "correct the expression");
    };
    let (line, column) = error.pos;
    let before = usize::try_from(line - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let letters = usize::try_from(column - 1).unwrap_or_default();
    let rest = text.get(start..).unwrap_or_default();
    let offset = start
        + rest
            .char_indices()
            .nth(letters)
            .map_or(rest.len(), |(offset, _)| offset);
    let message = error.msg.trim_start_matches("Syntax error: ");
    if message.contains("Recursion limit") {
        return too_deep(text, offset);
    }
    if message.contains("has() macro") {
        let remedy = "write such as has(body.member), or 'member' in body";
        return CompileError::new(text, offset, "has() asks for a member", remedy);
    }
    let message = message.split(" expecting ").next().unwrap_or_default();
    let message = message.replace("'<EOF>'", "its end");
    let message: String = message.chars().take(80).collect();
    let what = format!("cannot be read here: {message}");
    CompileError::new(text, offset, what, mending(text, offset))
}

/// What to write, where the parser stopped at a word of another language.
fn mending(text: &str, offset: usize) -> &'static str {
    let (before, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
    if before.trim_end().ends_with("not") {
        return "write ! for not";
    }
    match rest.chars().next() {
        Some('=') => "write == to compare",
        Some('&') => "write && for and",
        Some('|') => "write || for or",
        Some('\u{2018}'..='\u{201f}') => "write plain quotes",
        Some('"' | '\'') => "close the text in its line, and write \\\\ for a backslash in it",
        _ if rest.starts_with("and") => "write && for and",
        _ if rest.starts_with("or") => "write || for or",
        _ => "correct the expression there",
    }
}

fn too_deep(text: &str, offset: usize) -> CompileError {
    let what = format!("its parts nest deeper than {MAX_DEPTH} levels");
    CompileError::new(text, offset, what, "split it into several rules")
}

struct Checker<'a> {
    text: &'a str,
    source: &'a SourceInfo,
    /// The variables of the loop around, if any.
    scope: Vec<(String, Type)>,
    depth: usize,
    in_loop: bool,
    in_step: bool,
    names: Vec<String>,
    reads_any: bool,
    reads: Reads,
    loops: Loops,
    has_loop: bool,
    patterns: Vec<Regex>,
}

type Checked = Result<Type, CompileError>;

impl Checker<'_> {
    fn visit(&mut self, part: &mut IdedExpr) -> Checked {
        if self.depth == MAX_DEPTH {
            return Err(too_deep(self.text, self.offset(part.id)));
        }
        self.depth += 1;
        if self.in_step {
            self.loops.parts += 1;
        }
        let found = match &mut part.expr {
            Expr::Ident(name) => self.name(part.id, name),
            Expr::Select(select) => self.select(part.id, select),
            Expr::Literal(literal) => self.literal(part.id, literal),
            Expr::List(list) => self.list(list),
            Expr::Call(call) => self.call(part.id, call),
            Expr::Comprehension(comprehension) => self.comprehension(part.id, comprehension),
            Expr::Map(_) | Expr::Struct(_) => Err(self.wrong(
                part.id,
                "{..} has no use here",
                "compare the members one by one",
            )),
            Expr::Unspecified => Err(self.wrong(
                part.id,
                "cannot be read here",
                "correct the expression there",
            )),
        };
        self.depth -= 1;
        found
    }

    fn offset(&self, id: u64) -> usize {
        self.source
            .offset_for(id)
            .map_or(0, |(start, _)| start as usize)
    }

    fn wrong(&self, id: u64, what: impl Into<String>, remedy: impl Into<String>) -> CompileError {
        CompileError::new(self.text, self.offset(id), what, remedy)
    }

    /// An error at a name that stands before the place that its part has, such as the bracket of a call.
    fn wrong_name(
        &self,
        id: u64,
        name: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> CompileError {
        let end = self.offset(id);
        let before = self.text.get(..end).unwrap_or_default();
        let offset = before.rfind(name).unwrap_or(end);
        CompileError::new(self.text, offset, what, remedy)
    }

    fn name(&mut self, id: u64, name: &str) -> Checked {
        if let Some((_, kind)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Ok(*kind);
        }
        if name == BODY {
            self.reads_any = true;
            self.reads.body = true;
            if self.in_step {
                self.loops.mentions += 1;
            }
            return Ok(Type::Object);
        }
        if KINDS.contains(&name) {
            return Ok(Type::Kind);
        }
        if let Some((_, members)) = RECORDS.iter().find(|(record, _)| *record == name) {
            let what = format!("`{name}` is no value by itself");
            return Err(self.wrong(id, what, format!("write {}", written_out(name, members))));
        }
        let records = RECORDS.iter().map(|(record, _)| *record);
        let variables = self.scope.iter().map(|(name, _)| name.as_str());
        let known = variables.chain([BODY]).chain(records).chain(KINDS);
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "known variables: body, request, referral, tenant".to_owned(),
        };
        Err(self.wrong(id, format!("unknown variable {}", quoted(name)), remedy))
    }

    fn select(&mut self, id: u64, select: &mut SelectExpr) -> Checked {
        if let Expr::Ident(name) = &select.operand.expr
            && let Some((record, members)) = RECORDS.iter().find(|(record, _)| record == name)
        {
            return self.record(id, record, members, select);
        }
        let operand = self.visit(&mut select.operand)?;
        let found = match operand {
            Type::Any | Type::Object => Type::Any,
            Type::Query => Type::Text,
            _ => {
                let what = format!("{operand} has no members");
                return Err(self.wrong(id, what, "select a member of an object"));
            }
        };
        self.names.push(select.field.clone());
        Ok(if select.test { Type::Bool } else { found })
    }

    /// A member of a variable whose members are known.
    fn record(
        &mut self,
        id: u64,
        record: &str,
        members: &[(&str, Type)],
        select: &SelectExpr,
    ) -> Checked {
        let field = select.field.as_str();
        let Some((_, kind)) = members.iter().find(|(name, _)| *name == field) else {
            let dot = self.offset(id);
            let after = self.text.get(dot..).unwrap_or_default();
            let offset = dot + after.find(field).unwrap_or_default();
            let remedy = match nearest(field, members.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {}", written_out(record, members)),
            };
            let what = format!("`{record}` has no member {}", quoted(field));
            return Err(CompileError::new(self.text, offset, what, remedy));
        };
        if select.test {
            let remedy = if record == "referral" {
                "ask for referral.known"
            } else {
                "compare its value"
            };
            let what = format!("has() does not ask for {record}.{field}");
            return Err(self.wrong(id, what, remedy));
        }
        self.reads_any = true;
        if self.in_step {
            self.loops.records += 1;
        }
        match (record, field) {
            ("request", "headers") => self.reads.headers = true,
            ("request", "query") => self.reads.query = true,
            ("referral", _) => self.reads.referral = true,
            _ => {}
        }
        Ok(*kind)
    }

    fn literal(&mut self, id: u64, literal: &LiteralValue) -> Checked {
        Ok(match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::UInt(_) => Type::Uint,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(text) => {
                if self.in_step {
                    self.loops.parts += text.inner().len() / PART;
                }
                self.names.push(text.inner().to_owned());
                Type::Text
            }
            LiteralValue::Bytes(_) => {
                return Err(self.wrong(id, "bytes have no use here", "write a text, without b"));
            }
        })
    }

    fn list(&mut self, list: &mut ListExpr) -> Checked {
        self.loops.written = self.loops.written.max(list.elements.len());
        for element in &mut list.elements {
            self.visit(element)?;
        }
        Ok(Type::List)
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Checked {
        if call.target.is_none()
            && let Some((operator, _)) = OPERATORS
                .iter()
                .find(|(operator, _)| *operator == call.func_name)
        {
            return self.operator(id, operator, &mut call.args);
        }
        if call.func_name == operators::NOT_STRICTLY_FALSE {
            for argument in &mut call.args {
                self.visit(argument)?;
            }
            return Ok(Type::Bool);
        }
        self.function(id, call)
    }

    fn operator(&mut self, id: u64, operator: &str, operands: &mut [IdedExpr]) -> Checked {
        let header = operator == operators::IN && is_header_list(operands.last());
        let mut types = Vec::with_capacity(operands.len());
        for operand in &mut *operands {
            types.push(self.visit(operand)?);
        }
        if header
            && let Some(Expr::Literal(LiteralValue::String(name))) =
                operands.first().map(|operand| &operand.expr)
            && name.inner().chars().any(char::is_uppercase)
        {
            let id = operands.first().map_or(id, |operand| operand.id);
            let remedy = format!("write {:?}", name.inner().to_lowercase());
            return Err(self.wrong(id, "request.headers are in lower case", remedy));
        }
        match operation(operator, &types) {
            Some(result) => Ok(result),
            None => {
                let seen: Vec<_> = types.iter().map(Type::to_string).collect();
                let what = format!(
                    "`{}` does not take {}",
                    written(operator),
                    seen.join(" and ")
                );
                let numbers = types.iter().all(|kind| kind.is_number());
                let remedy = if numbers && operator != operators::MODULO {
                    "give both the same type, such as by double(..)"
                } else {
                    "use values of a type that it takes"
                };
                Err(self.wrong(id, what, remedy))
            }
        }
    }

    fn function(&mut self, id: u64, call: &mut CallExpr) -> Checked {
        let name = call.func_name.clone();
        let form = if call.target.is_some() {
            Form::Member
        } else {
            Form::Plain
        };
        let known: Vec<&Function> = FUNCTIONS
            .iter()
            .filter(|function| function.name == name)
            .collect();
        if known.is_empty() {
            return Err(self.unknown_function(id, &name));
        }
        let mut types = Vec::new();
        if let Some(target) = &mut call.target {
            types.push(self.visit(target)?);
        }
        for argument in &mut call.args {
            types.push(self.visit(argument)?);
        }

        let same_form = |function: &&&Function| function.form == form;
        if !known.iter().any(|function| same_form(&function)) {
            let remedy = match form {
                Form::Plain => format!("write value.{name}(..)"),
                Form::Member => format!("write {name}(value)"),
            };
            let what = format!("`{name}` is not called in this way");
            return Err(self.wrong_name(id, &name, what, remedy));
        }
        let fitting = known.iter().filter(same_form);
        let Some(function) = fitting.clone().find(|function| {
            function.takes.len() == types.len()
                && function
                    .takes
                    .iter()
                    .zip(&types)
                    .all(|(takes, kind)| kind.is_one_of(takes))
        }) else {
            let counts = fitting.map(|function| function.takes.len());
            let seen: Vec<_> = types.iter().map(Type::to_string).collect();
            let (what, remedy) = if counts.clone().any(|count| count == types.len()) {
                (
                    format!("`{name}` does not take {}", seen.join(" and ")),
                    "use values of a type that it takes".to_owned(),
                )
            } else {
                let least = counts.min().unwrap_or_default() - usize::from(form == Form::Member);
                (
                    format!("`{name}` is given {} arguments", call.args.len()),
                    format!("give it {least}"),
                )
            };
            return Err(self.wrong_name(id, &name, what, remedy));
        };
        let result = function.gives;
        match name.as_str() {
            "matches" => self.pattern(id, call)?,
            "duration" => self.duration(id, call)?,
            _ => {}
        }
        Ok(result)
    }

    fn unknown_function(&self, id: u64, name: &str) -> CompileError {
        if let Some((_, usage)) = MACROS.iter().find(|(macro_name, _)| *macro_name == name) {
            let what = format!("`{name}` is not called in this way");
            return self.wrong_name(id, name, what, format!("write {usage}"));
        }
        let macros = MACROS.iter().map(|(name, _)| *name);
        let functions = FUNCTIONS.iter().map(|function| function.name);
        let mut known: Vec<_> = functions.chain(macros).collect();
        known.dedup();
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known functions: {}", known.join(", ")),
        };
        self.wrong_name(
            id,
            name,
            format!("unknown function {}", quoted(name)),
            remedy,
        )
    }

    /// Compiles the pattern of `matches`, and puts its name in the place of its text.
    fn pattern(&mut self, id: u64, call: &mut CallExpr) -> Result<(), CompileError> {
        let Some(argument) = call.args.last_mut() else {
            return Ok(());
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr else {
            let remedy = "write it in quotes: text.matches('^[a-z]+$')";
            return Err(self.wrong_name(
                id,
                &call.func_name,
                "the pattern of `matches` is not written out",
                remedy,
            ));
        };
        let regex = RegexBuilder::new(pattern.inner())
            .size_limit(MAX_PATTERN)
            .build();
        let regex = regex.map_err(|error| {
            let (what, remedy) = match error {
                regex::Error::CompiledTooBig(_) => (
                    "the pattern is too large".to_owned(),
                    "repeat less, or write [0-9] for \\d and [A-Za-z] for \\w",
                ),
                error => {
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default();
                    let why = why.trim().trim_start_matches("error: ");
                    (
                        format!("the pattern cannot be used: {why}"),
                        "correct the pattern",
                    )
                }
            };
            CompileError::new(self.text, self.offset(argument.id), what, remedy)
        })?;
        argument.expr = Expr::Ident(format!("{PATTERN}{}", self.patterns.len()));
        self.patterns.push(regex);
        Ok(())
    }

    /// The crate reads as much of a duration as it understands, and leaves the rest.
    fn duration(&self, id: u64, call: &CallExpr) -> Result<(), CompileError> {
        let argument = call.args.first().map(|argument| &argument.expr);
        match argument {
            Some(Expr::Literal(LiteralValue::String(text))) if is_duration(text.inner()) => Ok(()),
            _ => Err(self.wrong_name(
                id,
                &call.func_name,
                "`duration` takes a written duration",
                "write such as duration('36h') or duration('1h30m')",
            )),
        }
    }

    fn comprehension(&mut self, id: u64, found: &mut ComprehensionExpr) -> Checked {
        if self.in_loop {
            return Err(self.wrong(
                id,
                "a loop inside a loop",
                "loop once, over one list; split it into several rules",
            ));
        }
        let variable = found.iter_var.as_str();
        let taken = [BODY]
            .into_iter()
            .chain(RECORDS.iter().map(|(record, _)| *record))
            .chain(KINDS);
        if taken.into_iter().any(|name| name == variable) {
            let what = format!("`{variable}` has a meaning of its own");
            return Err(self.wrong(id, what, "name the item of the loop otherwise"));
        }
        if !is_plain_range(&found.iter_range) {
            return Err(self.wrong(
                id,
                "a loop over a calculated list",
                "loop over a member of the body, or over a written list",
            ));
        }
        self.has_loop = true;
        self.in_loop = true;
        let item = match self.visit(&mut found.iter_range)? {
            Type::Any | Type::List => Type::Any,
            Type::Object | Type::Query => Type::Text,
            other => {
                let what = format!("a loop over {other}");
                return Err(self.wrong(id, what, "loop over a list or an object"));
            }
        };
        let initial = self.visit(&mut found.accu_init)?;
        self.scope.push((found.iter_var.clone(), item));
        self.scope.push((found.accu_var.clone(), initial));
        self.in_step = true;
        self.visit(&mut found.loop_cond)?;
        self.visit(&mut found.loop_step)?;
        self.in_step = false;
        let result = self.visit(&mut found.result)?;
        self.scope.clear();
        self.in_loop = false;
        Ok(result)
    }
}

fn written_out(record: &str, members: &[(&str, Type)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, _)| format!("{record}.{name}"))
        .collect();
    members.join(", ")
}

/// Whether this is `request.headers`.
fn is_header_list(part: Option<&IdedExpr>) -> bool {
    let Some(Expr::Select(select)) = part.map(|part| &part.expr) else {
        return false;
    };
    select.field == "headers"
        && matches!(&select.operand.expr, Expr::Ident(name) if name == "request")
}

/// Whether the length of what a loop runs over is that of a list in the request or in the text.
fn is_plain_range(range: &IdedExpr) -> bool {
    match &range.expr {
        Expr::Ident(_) | Expr::Select(_) | Expr::List(_) => true,
        Expr::Call(call) if call.func_name == operators::INDEX => true,
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).all(is_plain_range)
        }
        _ => false,
    }
}

/// Whether a text is a duration as CEL writes them: numbers with units, and a sign in front.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let units = ["ns", "us", "ms", "h", "m", "s"];
    while let Some(after) = units.iter().find_map(|unit| {
        let number = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let digits = rest.len() - number.len();
        number
            .strip_prefix(unit)
            .filter(|_| (1..=9).contains(&digits))
    }) {
        if after.is_empty() {
            return true;
        }
        rest = after;
    }
    false
}

/// The type of an operator's result; nothing if it does not take operands of these types.
fn operation(operator: &str, operands: &[Type]) -> Option<Type> {
    use Type::{
        Any, Bool, Double, Duration, Int, Kind, List, Null, Object, Query, Text, Time, Uint,
    };

    let ordered = |a: Type, b: Type| {
        a.compares_with(b)
            && [a, b]
                .iter()
                .all(|kind| !matches!(kind, List | Object | Query | Null | Kind))
    };
    match (operator, operands) {
        (operators::LOGICAL_NOT, [a]) => a.may_be(Bool).then_some(Bool),
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => {
            (a.may_be(Bool) && b.may_be(Bool)).then_some(Bool)
        }
        (operators::CONDITIONAL, [condition, a, b]) if condition.may_be(Bool) => match (a, b) {
            (a, b) if a == b => Some(*a),
            (Any | Null, _) | (_, Any | Null) => Some(Any),
            (Object | Query, Object | Query) => Some(Object),
            _ => None,
        },
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => a.compares_with(*b).then_some(Bool),
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [a, b],
        ) => ordered(*a, *b).then_some(Bool),
        (operators::IN, [_, Any | List]) | (operators::IN, [Any | Text, Object | Query]) => {
            Some(Bool)
        }
        (operators::INDEX, [Any, _]) => Some(Any),
        (operators::INDEX, [List, index]) => index.is_one_of(&[Int, Uint, Double]).then_some(Any),
        (operators::INDEX, [Object, Any | Text]) => Some(Any),
        (operators::INDEX, [Query, Any | Text]) => Some(Text),
        (operators::NEGATE, [a]) => a.is_one_of(&[Int, Double]).then_some(*a),
        (operators::ADD, [Time, Duration] | [Duration, Time]) => Some(Time),
        (operators::SUBSTRACT, [Time, Time]) => Some(Duration),
        (operators::SUBSTRACT, [Time, Duration]) => Some(Time),
        (operators::ADD, [a, b]) => same(*a, *b, &[Int, Uint, Double, Text, List, Time, Duration]),
        (operators::SUBSTRACT, [a, b]) => same(*a, *b, &[Int, Uint, Double, Time, Duration]),
        (operators::MULTIPLY | operators::DIVIDE, [a, b]) => same(*a, *b, &[Int, Uint, Double]),
        (operators::MODULO, [a, b]) => same(*a, *b, &[Int, Uint]),
        _ => None,
    }
}

/// The type of what comes of two values of one of these types.
fn same(a: Type, b: Type, types: &[Type]) -> Option<Type> {
    let moments = [Type::Time, Type::Duration];
    let known = if a == Type::Any { b } else { a };
    let fits = a.may_be(b) && a.is_one_of(types) && b.is_one_of(types);
    match (a, b) {
        // Two timestamps cannot be added, but a timestamp and something that turns out to be a duration can.
        (Type::Time, Type::Time) => None,
        (Type::Any, _) | (_, Type::Any) if moments.contains(&known) => fits.then_some(Type::Any),
        _ => fits.then_some(known),
    }
}
