//! Turns errors of the YAML library into plain messages.

use super::{
    error::Error,
    node::{End, Node, Place, place},
    scalar::quoted,
};
use crate::nearest::nearest;

/// The error in plain words.
pub(super) fn explain(error: &serde_saphyr::Error, text: &str, file: &str) -> Error {
    use serde_saphyr::Error as Yaml;

    let at = error.location().map(place);
    let is_blank = |line: &str| matches!(line.trim_start().chars().next(), None | Some('#'));
    if text.lines().all(is_blank) {
        let remedy = "write `key: value` lines into it";
        return Error::new(file, None, "the file is empty", remedy);
    }
    let root = Node::read(text);
    // The text may not be YAML at all, and that error is more useful.
    if let (Yaml::Unexpected { .. } | Yaml::SerdeUnknownField { .. }, Err(broken)) = (error, &root)
    {
        return syntax(broken, text, file);
    }
    let root = root.ok();
    // A block mapping begins at its first key, so the kind of error decides which of the two is meant.
    let end = match error {
        Yaml::SerdeUnknownField { .. } | Yaml::DuplicateMappingKey { .. } => End::Key,
        _ => End::Value,
    };
    let found = at.and_then(|at| root.as_ref()?.find(end, at, text));
    let is_root = found.as_ref().is_some_and(|found| found.path.is_empty());
    let found = found.unwrap_or_default();
    let is = |wrong: &str| {
        if is_root {
            return format!("the file is {wrong}");
        }
        format!(
            "{} is {}: {wrong}",
            quoted(&found.path),
            quoted(&found.value)
        )
    };
    let wrong = |what: String, remedy: &str| Error::new(file, at, what, remedy);

    match error {
        Yaml::AliasError { error, .. } => explain(error, text, file),
        Yaml::SerdeUnknownField {
            field, expected, ..
        } => {
            let path = if found.path.is_empty() {
                field
            } else {
                &found.path
            };
            let remedy = suggestion(field, expected);
            wrong(format!("unknown key {}", quoted(path)), &remedy)
        }
        Yaml::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let remedy = hint(variant, expected).unwrap_or_else(|| "write one of these".to_owned());
            wrong(is(&format!("not one of {}", expected.join(", "))), &remedy)
        }
        Yaml::SerdeMissingField { field, .. } => {
            let lacking = at.and_then(|at| root.as_ref()?.lacking(field, at, text));
            let (at, inside) = lacking.unwrap_or((at, String::new()));
            let inside = if inside.is_empty() {
                "the document"
            } else {
                &inside
            };
            let what = format!("{inside} has no `{field}`");
            Error::new(file, at, what, format!("add `{field}: ...`"))
        }
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = if found.path.is_empty() {
                key.as_deref().unwrap_or_default()
            } else {
                &found.path
            };
            wrong(
                format!("the key {} is given twice", quoted(key)),
                "keep one of them",
            )
        }
        Yaml::InvalidScalar { ty, .. } => {
            let (wrong_type, remedy) = scalar_type(ty, &found.value);
            wrong(is(&wrong_type), remedy)
        }
        Yaml::InvalidBooleanStrict { .. } => wrong(is("not a boolean"), "write true or false"),
        Yaml::SerdeInvalidType { expected, .. } | Yaml::SerdeInvalidValue { expected, .. } => {
            wrong(is(&format!("not {expected}")), &format!("write {expected}"))
        }
        Yaml::Unexpected { expected, .. } => {
            let (kind, remedy) = structure(expected);
            let remedy = if is_root {
                remedy.trim_end_matches(" below it")
            } else {
                remedy
            };
            wrong(is(&kind), remedy)
        }
        Yaml::Message { msg, .. } => match msg.split_once("; ") {
            Some((what, remedy)) => wrong(is(what), remedy),
            None => wrong(is(msg), "correct the value"),
        },
        Yaml::MultipleDocuments { .. } => wrong(
            "a second document begins".to_owned(),
            "keep one document in the file",
        ),
        Yaml::MergeKeyNotAllowed { .. } => wrong(
            "merge keys (`<<`) are not read".to_owned(),
            "write the keys out",
        ),
        _ => syntax(error, text, file),
    }
}

/// An error of the YAML syntax, in the parser's words.
fn syntax(error: &serde_saphyr::Error, text: &str, file: &str) -> Error {
    let at = error.location().map(place);
    let message = error.to_string();
    let what = match at {
        Some((line, column)) => {
            let suffix = format!(" at line {line}, column {column}");
            message.strip_suffix(&suffix).unwrap_or(&message).to_owned()
        }
        None => message,
    };
    if what.starts_with("mapping values are not allowed") {
        let remedy = "write the second on a line of its own, indented below the first; a value with `: ` in it needs quotes";
        return Error::new(file, at, "two keys on one line", remedy);
    }
    if what.contains("did not find expected") && at.is_some_and(|at| is_indented_anew(text, at)) {
        let remedy = "indent this line like the lines above it";
        return Error::new(file, at, "the indentation changes here", remedy);
    }
    let remedy = if what.contains("tab") {
        "indent with spaces"
    } else {
        "correct the YAML there"
    };
    Error::new(file, at, what, remedy)
}

/// Whether a line begins at `place`, and the line above it has another indentation.
fn is_indented_anew(text: &str, (line, column): Place) -> bool {
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let lines: Vec<&str> = text
        .lines()
        .take(usize::try_from(line).unwrap_or(usize::MAX))
        .collect();
    let Some((last, before)) = lines.split_last() else {
        return false;
    };
    let mut written = before.iter().rev().filter(|line| !line.trim().is_empty());
    let own = indentation(last);
    own as u64 + 1 == column
        && written
            .next()
            .is_some_and(|above| indentation(above) != own)
}

fn suggestion(word: &str, known: &[&'static str]) -> String {
    match hint(word, known) {
        Some(hint) => hint,
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("known keys here: {}", known.join(", ")),
    }
}

/// The known word that was probably meant.
fn hint(word: &str, known: &[&'static str]) -> Option<String> {
    let boolean = match word {
        "true" => "on",
        "false" => "off",
        _ => "",
    };
    if let Some(meant) = known.iter().find(|known| **known == boolean) {
        return Some(format!(
            "did you mean `{meant}`? Tools for YAML 1.1 write it as `{word}`"
        ));
    }
    let near = nearest(word, known.iter().copied())?;
    Some(format!("did you mean `{near}`?"))
}

fn scalar_type(ty: &str, value: &str) -> (String, &'static str) {
    let most = match ty {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => u64::MAX,
        "f32" | "f64" => return ("not a number".to_owned(), "write a number, such as 1.5"),
        "bool" => return ("not a boolean".to_owned(), "write true or false"),
        _ => return (format!("not of the type {ty}"), "correct the value"),
    };
    match value.parse::<i128>() {
        Ok(number) if number > i128::from(most) => {
            (format!("more than {most}"), "write a smaller number")
        }
        _ => (
            "not a whole number".to_owned(),
            "write digits only, such as 100",
        ),
    }
}

fn structure(expected: &str) -> (String, &'static str) {
    match expected {
        "mapping start" => (
            "not a mapping".to_owned(),
            "write `key: value` lines below it",
        ),
        "sequence start" => ("not a list".to_owned(), "write a list, such as [a, b]"),
        "string scalar" => (
            "not a text".to_owned(),
            "write one word or a text in quotes",
        ),
        other => (format!("not the expected {other}"), "correct the value"),
    }
}
