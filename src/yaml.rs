//! Reads YAML texts (settings, policy documents, tests); an error names place and remedy.

mod error;
mod explain;
mod misread;
mod node;
mod part;
mod places;
mod reading;
mod scalar;
mod whole;

use std::{io, marker::PhantomData, path::Path};

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_saphyr::DuplicateKeyPolicy;

use self::{
    explain::explain,
    misread::misread,
    node::{Node, options},
};

pub use error::Error;
pub use places::{Place, Places, locate};
pub use scalar::{quoted, scalar};
pub use whole::{MAX_FAULTS, Whole, more, read_all};

/// The largest text that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The text of a file from its bytes.
pub fn text(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<String, Error> {
    let name = path.display().to_string();
    let bytes = bytes.map_err(|error| {
        let (what, remedy) = unreadable(&error);
        Error::new(&name, None, what, remedy)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default())
            .chars()
            .count() as u64
            + 1;
        Error::new(
            &name,
            Some((line, column)),
            "not UTF-8",
            "save the file as UTF-8",
        )
    })
}

/// Why a file cannot be read, and how to mend it.
pub fn unreadable(error: &io::Error) -> (String, &'static str) {
    let (what, remedy) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file", "give the path of an existing file"),
        io::ErrorKind::IsADirectory => ("a folder, not a file", "name a file in it"),
        _ => {
            let remedy = "give the path of a file that this user may read";
            return (format!("cannot be read: {error}"), remedy);
        }
    };
    (what.to_owned(), remedy)
}

/// Reads one YAML document; `file` is the name used in error texts.
///
/// A key given twice is an error, and so is an unknown one if `T` has `deny_unknown_fields`.
/// A hand-written `Deserialize` may name its remedy in the message: `what; remedy`.
pub fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Error> {
    read_seed(PhantomData, text, file)
}

/// Reads one YAML document as [`read`] does, by a seed.
pub fn read_seed<T, S>(seed: S, text: &str, file: &str) -> Result<T, Error>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    check_text(text, file)?;
    let options = options(DuplicateKeyPolicy::Error);
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        seed.deserialize(reader)
    })
    .map_err(|error| explain(&error, text, file))
}

/// Whether a text says nothing: it is empty, or holds only comments.
pub fn is_blank(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.split(['\n', '\r']).map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// Whether a text is one YAML document, whatever it says.
pub fn check(text: &str, file: &str) -> Result<(), Error> {
    check_text(text, file)?;
    let root = Node::read(text);
    root.map(|_| ())
        .map_err(|error| explain(&error, text, file))
}

fn check_text(text: &str, file: &str) -> Result<(), Error> {
    if text.len() > MAX_BYTES {
        let what = format!("{} bytes are more than {MAX_BYTES}", text.len());
        return Err(Error::new(file, None, what, "split it or shorten it"));
    }
    if let Some((place, what)) = misread(text) {
        return Err(Error::new(file, Some(place), what, misread::REMEDY));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
