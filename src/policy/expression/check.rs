//! Checks an expression: names, functions, types as far as they are known, and the bounds of its cost.

use cel::{
    Env,
    common::ast::{
        CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
    },
};
use regex::Regex;

use super::{
    arguments,
    error::CompileError,
    limits::{MAX_DEPTH, PART},
    operators::{OPERATORS, operation, written},
    parse::{Source, parse},
    program::{Loops, PATTERN, Program, Reads},
    shape::{is_header_list, is_plain_range},
    signatures::{self, BODY, Form, KINDS, RECORDS, Signatures, Wrong},
    types::Type,
};

/// Reads and checks an expression. It takes a deep stack.
pub(super) fn compile(text: &str, environment: &Env) -> Result<Program, CompileError> {
    let (mut code, source) = parse(text, environment)?;
    let mut checker = Checker {
        source,
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
    Ok(Program {
        code,
        reads: checker.reads,
        loops: checker.has_loop.then_some(checker.loops),
        names: checker.names,
        patterns: checker.patterns,
    })
}

struct Checker<'a> {
    source: Source<'a>,
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
            return Err(self.source.too_deep(part.id));
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
            Expr::Map(_) | Expr::Struct(_) => Err(self.source.wrong(
                part.id,
                "{..} is not supported",
                "compare the members one by one",
            )),
            Expr::Unspecified => Err(self.source.wrong(
                part.id,
                "cannot be read here",
                "correct the expression there",
            )),
        };
        self.depth -= 1;
        found
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
        let scope = self.scope.iter().map(|(name, _)| name.as_str());
        let wrong = signatures::no_variable(name, scope);
        Err(self.source.wrong(id, wrong.what, wrong.remedy))
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
                return Err(self.source.wrong(id, what, "select a member of an object"));
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
            let wrong = signatures::no_member(record, members, field);
            return Err(self.source.wrong_after(id, field, wrong.what, wrong.remedy));
        };
        if select.test {
            let remedy = if record == "referral" {
                "ask for referral.known"
            } else {
                "compare its value"
            };
            let what = format!("has() does not ask for {record}.{field}");
            return Err(self.source.wrong(id, what, remedy));
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
                return Err(self.source.wrong(
                    id,
                    "bytes are not supported",
                    "write a text, without b",
                ));
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
            return Err(self
                .source
                .wrong(id, "request.headers are in lower case", remedy));
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
                Err(self.source.wrong(id, what, remedy))
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
        let wrong = |this: &Self, wrong: Wrong| {
            this.source
                .wrong_before(id, &name, wrong.what, wrong.remedy)
        };
        let signatures = Signatures::of(&name).map_err(|why| wrong(self, why))?;
        let mut types = Vec::new();
        for argument in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            types.push(self.visit(argument)?);
        }
        let result = signatures
            .call(&name, form, &types)
            .map_err(|why| wrong(self, why))?;
        match name.as_str() {
            "matches" => self.pattern(id, call)?,
            "duration" => self.duration(id, call)?,
            _ => {}
        }
        Ok(result)
    }

    /// Compiles the pattern of `matches`, and puts its name in the place of its text.
    fn pattern(&mut self, id: u64, call: &mut CallExpr) -> Result<(), CompileError> {
        let Some(argument) = call.args.last_mut() else {
            return Ok(());
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr else {
            let remedy = "write it in quotes: text.matches('^[a-z]+$')";
            return Err(self.source.wrong_before(
                id,
                &call.func_name,
                "the pattern of `matches` must be a literal",
                remedy,
            ));
        };
        let regex = arguments::pattern(pattern.inner())
            .map_err(|(what, remedy)| self.source.wrong(argument.id, what, remedy))?;
        argument.expr = Expr::Ident(format!("{PATTERN}{}", self.patterns.len()));
        self.patterns.push(regex);
        Ok(())
    }

    fn duration(&self, id: u64, call: &CallExpr) -> Result<(), CompileError> {
        let argument = call.args.first().map(|argument| &argument.expr);
        match argument {
            Some(Expr::Literal(LiteralValue::String(text)))
                if arguments::is_duration(text.inner()) =>
            {
                Ok(())
            }
            _ => Err(self.source.wrong_before(
                id,
                &call.func_name,
                "`duration` takes a literal",
                "write such as duration('36h') or duration('1h30m')",
            )),
        }
    }

    fn comprehension(&mut self, id: u64, found: &mut ComprehensionExpr) -> Checked {
        if self.in_loop {
            return Err(self.source.wrong(
                id,
                "nested loops are not supported",
                "loop once, over one list; split it into several rules",
            ));
        }
        let variable = found.iter_var.as_str();
        let taken = [BODY]
            .into_iter()
            .chain(RECORDS.iter().map(|(record, _)| *record))
            .chain(KINDS);
        if taken.into_iter().any(|name| name == variable) {
            let what = format!("`{variable}` is a reserved name");
            return Err(self
                .source
                .wrong(id, what, "give the item of the loop another name"));
        }
        if !is_plain_range(&found.iter_range) {
            return Err(self.source.wrong(
                id,
                "loops over calculated lists are not supported",
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
                return Err(self.source.wrong(id, what, "loop over a list or an object"));
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
