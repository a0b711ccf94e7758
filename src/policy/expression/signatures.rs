//! The variables and functions of expressions: their names, and the types that they take and give.

use super::types::Type;
use crate::{nearest::nearest, yaml::quoted};

/// The variables that have members of their own, and no others.
pub(super) const RECORDS: [(&str, &[(&str, Type)]); 3] = [
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

pub(super) const BODY: &str = "body";

/// The types that an expression may name.
pub(super) const KINDS: [&str; 8] = [
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
pub(super) enum Form {
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

/// What is wrong with a name or a call, and what to write.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// Why a name is no value, where the loops around give names to their items.
pub(super) fn no_variable<'a>(name: &str, scope: impl Iterator<Item = &'a str>) -> Wrong {
    if let Some((_, members)) = RECORDS.iter().find(|(record, _)| *record == name) {
        return Wrong {
            what: format!("`{name}` is not a value by itself"),
            remedy: format!("write {}", written_out(name, members)),
        };
    }
    let records = RECORDS.iter().map(|(record, _)| *record);
    let known = scope.chain([BODY]).chain(records).chain(KINDS);
    Wrong {
        what: format!("unknown variable {}", quoted(name)),
        remedy: match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "known variables: body, request, referral, tenant".to_owned(),
        },
    }
}

/// That a variable of [`RECORDS`] lacks a member.
pub(super) fn no_member(record: &str, members: &[(&str, Type)], name: &str) -> Wrong {
    Wrong {
        what: format!("`{record}` has no member {}", quoted(name)),
        remedy: match nearest(name, members.iter().map(|(name, _)| *name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", written_out(record, members)),
        },
    }
}

/// The ways to call one function.
pub(super) struct Signatures(Vec<&'static Function>);

impl Signatures {
    /// Those of a function by its name.
    pub(super) fn of(name: &str) -> Result<Self, Wrong> {
        let known = FUNCTIONS.iter().filter(|function| function.name == name);
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return Err(unknown(name));
        }
        Ok(Self(known))
    }

    /// What a call in this form gives, with arguments of these types, the value that it is called on first.
    pub(super) fn call(&self, name: &str, form: Form, types: &[Type]) -> Result<Type, Wrong> {
        let same_form = self.0.iter().filter(|function| function.form == form);
        if same_form.clone().next().is_none() {
            return Err(Wrong {
                what: format!("`{name}` cannot be called this way"),
                remedy: match form {
                    Form::Plain => format!("write value.{name}(..)"),
                    Form::Member => format!("write {name}(value)"),
                },
            });
        }
        let same_count = same_form
            .clone()
            .filter(|function| function.takes.len() == types.len());
        let fitting = same_count.clone().find(|function| {
            let takes = function.takes.iter().zip(types);
            takes.into_iter().all(|(takes, kind)| kind.is_one_of(takes))
        });
        if let Some(function) = fitting {
            return Ok(function.gives);
        }
        if same_count.count() > 0 {
            let seen: Vec<_> = types.iter().map(Type::to_string).collect();
            return Err(Wrong {
                what: format!("`{name}` does not take {}", seen.join(" and ")),
                remedy: "use values of a type that it takes".to_owned(),
            });
        }
        let itself = usize::from(form == Form::Member);
        let least = same_form.map(|function| function.takes.len()).min();
        Err(Wrong {
            what: format!("`{name}` is given {} arguments", types.len() - itself),
            remedy: format!("give it {}", least.unwrap_or_default() - itself),
        })
    }
}

fn unknown(name: &str) -> Wrong {
    if let Some((_, usage)) = MACROS.iter().find(|(macro_name, _)| *macro_name == name) {
        return Wrong {
            what: format!("`{name}` cannot be called this way"),
            remedy: format!("write {usage}"),
        };
    }
    let macros = MACROS.iter().map(|(name, _)| *name);
    let functions = FUNCTIONS.iter().map(|function| function.name);
    let mut known: Vec<_> = functions.chain(macros).collect();
    known.dedup();
    Wrong {
        what: format!("unknown function {}", quoted(name)),
        remedy: match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known functions: {}", known.join(", ")),
        },
    }
}

fn written_out(record: &str, members: &[(&str, Type)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, _)| format!("{record}.{name}"))
        .collect();
    members.join(", ")
}
