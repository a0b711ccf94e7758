//! The variables of a `.http` file: `@name = value`, and `{{name}}` where the value goes.

use std::collections::{HashMap, hash_map::Entry};

use crate::capture::{MAX_BYTES, Unreadable, quoted};

/// The variables that the file defines.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// A value that cannot be read is an error only where it is used.
    values: HashMap<String, Result<String, Unreadable>>,
    /// How many bytes have been put in for names, in all.
    filled: usize,
}

impl Variables {
    /// Reads `@name = value`, and whether it is one. A value may use the variables above it, so none can use itself.
    pub(super) fn define(&mut self, line: usize, text: &str) -> bool {
        let Some((name, value)) = text.strip_prefix('@').and_then(|text| text.split_once('='))
        else {
            return false;
        };
        let name = name.trim();
        let value = match value.contains('\\') {
            true => {
                let why = "a backslash in a variable, which editors read differently; write the text where it is used";
                Err(Unreadable::new(line, why))
            }
            false => self.fill(line, value.trim()),
        };
        match self.values.entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(entry) => {
                let why = format!("{} is defined a second time; keep one", quoted(name));
                *entry.into_mut() = Err(Unreadable::new(line, why));
            }
        }
        true
    }

    /// A line with the values in the place of `{{name}}`.
    pub(super) fn fill(&mut self, line: usize, text: &str) -> Result<String, Unreadable> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, (name, after))) = rest
            .split_once("{{")
            .and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
        {
            let name = name.trim();
            let value = match self.values.get(name) {
                Some(value) => value.as_ref().map_err(Unreadable::clone)?,
                None => {
                    let name = quoted(name);
                    let why = format!(
                        "the variable {name} is not defined in this file; define it by `@name = value`"
                    );
                    return Err(Unreadable::new(line, why));
                }
            };
            if value.len() > MAX_BYTES - self.filled {
                let why = format!("the variables of the file make more than {MAX_BYTES} bytes");
                return Err(Unreadable::new(line, why));
            }
            self.filled += value.len();
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}
