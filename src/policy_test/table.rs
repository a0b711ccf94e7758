//! The table of a case: one case for each row, with `${name}` as a placeholder for a value.

use std::{cell::Cell, collections::BTreeMap};

use serde_json::Value;

use crate::nearest::nearest;

/// The cases of one file, rows of tables included.
pub(super) const MAX_ROWS: usize = 10_000;

/// The longest size of all texts of one case together, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// What is wrong, and how to fix it.
type Wrong = (String, String);

/// The values of one row by their names; a case without a table has none, and its texts stay as they are.
#[derive(Debug)]
pub(super) struct Row<'a> {
    values: Option<BTreeMap<&'a str, &'a Value>>,
    /// How many bytes its texts may still take.
    left: Cell<usize>,
}

/// The rows of a table that is written row by row. Each has the same names.
pub(super) fn each(rows: &[BTreeMap<String, Value>]) -> Result<Vec<Row<'_>>, Wrong> {
    let Some(first) = rows.first() else {
        let remedy = "write at least one row, such as { from: New, to: Active }";
        return Err(wrong("`each` is empty", remedy));
    };
    let other = rows.iter().position(|row| !row.keys().eq(first.keys()));
    if let Some(other) = other {
        let what = format!(
            "row {} of `each` does not have the names of the first row",
            other + 1
        );
        let names: Vec<_> = first.keys().map(String::as_str).collect();
        let remedy = format!("give each row the names {}", names.join(", "));
        return Err((what, remedy));
    }
    Ok(rows
        .iter()
        .map(|row| Row::of(row.iter().map(|(name, value)| (name.as_str(), value))))
        .collect())
}

/// The rows of a table that combines some values, one row for each combination.
pub(super) fn matrix(axes: &BTreeMap<String, Vec<Value>>) -> Result<Vec<Row<'_>>, Wrong> {
    if axes.is_empty() {
        let remedy = "name at least one list of values, such as { from: [New, Active] }";
        return Err(wrong("`matrix` is empty", remedy));
    }
    if let Some((name, _)) = axes.iter().find(|(_, values)| values.is_empty()) {
        let what = format!("`matrix` has no values for `{name}`");
        return Err((what, "write at least one".to_owned()));
    }
    let mut rows: Vec<Vec<(&str, &Value)>> = vec![Vec::new()];
    for (name, values) in axes {
        if rows.len().saturating_mul(values.len()) > MAX_ROWS {
            let what = format!("`matrix` makes more than {MAX_ROWS} rows");
            return Err((what, "shorten a list, or write two cases".to_owned()));
        }
        rows = rows
            .into_iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.push((name, value));
                    row
                })
            })
            .collect();
    }
    Ok(rows.into_iter().map(Row::of).collect())
}

impl<'a> Row<'a> {
    /// Of a case without a table.
    pub(super) fn none() -> Self {
        Self {
            values: None,
            left: Cell::new(MAX_BYTES),
        }
    }

    fn of(values: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        Self {
            values: Some(values.into_iter().collect()),
            ..Self::none()
        }
    }

    /// A text with values in the place of `${name}`.
    pub(super) fn text(&self, text: &str) -> Result<String, Wrong> {
        let mut filled = String::new();
        for piece in self.pieces(text)? {
            match piece {
                Piece::Text(text) => filled.push_str(self.take(text)?),
                Piece::Value(Value::String(text)) => filled.push_str(self.take(text)?),
                Piece::Value(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => {
                    filled.push_str(self.take(&value.to_string())?);
                }
                Piece::Value(Value::Array(_) | Value::Object(_)) => {
                    let what = "a text contains a list or a mapping of the table";
                    return Err(wrong(what, "name a part of it, such as `${name.member}`"));
                }
            }
        }
        Ok(filled)
    }

    /// A JSON value with values in the place of `${name}`. A text that is nothing else becomes the value itself.
    pub(super) fn value(&self, value: &Value) -> Result<Value, Wrong> {
        Ok(match value {
            Value::String(text) => match self.pieces(text)?.as_slice() {
                [Piece::Value(value)] => {
                    self.take(&value.to_string())?;
                    (*value).clone()
                }
                _ => Value::String(self.text(text)?),
            },
            Value::Array(list) => {
                let list: Result<_, _> = list.iter().map(|value| self.value(value)).collect();
                Value::Array(list?)
            }
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| Ok((self.text(name)?, self.value(value)?)));
                Value::Object(members.collect::<Result<_, Wrong>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// Counts a piece before it is added.
    fn take<'t>(&self, text: &'t str) -> Result<&'t str, Wrong> {
        let Some(left) = self.left.get().checked_sub(text.len()) else {
            let what = format!("the texts of this case are longer than {MAX_BYTES} bytes");
            return Err((what, "shorten them".to_owned()));
        };
        self.left.set(left);
        Ok(text)
    }

    /// The pieces of a text: literal parts and values.
    fn pieces<'t>(&'t self, text: &'t str) -> Result<Vec<Piece<'t>>, Wrong> {
        let mut pieces = Vec::new();
        let mut rest = text;
        if self.values.is_some() {
            while let Some((before, after)) = rest.split_once("${") {
                if let Some(before) = before.strip_suffix('$') {
                    pieces.extend([Piece::Text(before), Piece::Text("${")]);
                    rest = after;
                    continue;
                }
                let Some((name, after)) = after.split_once('}') else {
                    let remedy = "write `${name}`, or `$${` for a literal `${`";
                    return Err(wrong("a `${` has no `}`", remedy));
                };
                pieces.extend([Piece::Text(before), Piece::Value(self.named(name)?)]);
                rest = after;
            }
        }
        pieces.push(Piece::Text(rest));
        pieces.retain(|piece| !matches!(piece, Piece::Text("")));
        Ok(pieces)
    }

    fn named(&self, path: &str) -> Result<&'a Value, Wrong> {
        let mut parts = path.split('.');
        let name = parts.next().unwrap_or_default();
        let values = self.values.iter().flatten();
        let value = values
            .clone()
            .find(|(known, _)| **known == name)
            .map(|(_, value)| *value);
        let found = value.and_then(|value| {
            parts.try_fold(value, |value, part| match value {
                Value::Object(members) => members.get(part),
                _ => None,
            })
        });
        found.ok_or_else(|| {
            let known: Vec<_> = values.map(|(name, _)| *name).collect();
            let what = format!("the table has no value `{path}`");
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) if near != name => format!("did you mean `{near}`?"),
                _ => format!("its names are {}", known.join(", ")),
            };
            (what, remedy)
        })
    }
}

enum Piece<'a> {
    Text(&'a str),
    Value(&'a Value),
}

fn wrong(what: &str, remedy: &str) -> Wrong {
    (what.to_owned(), remedy.to_owned())
}
