//! The pure core: facts in, verdict out.

mod document;

pub use document::DocumentError;

/// The rules in force and the tables of states they use.
#[derive(Debug)]
pub struct Policy {
    /// The document's name.
    pub name: String,
}

impl Policy {
    /// Reads a policy document; `file` is the name used in error texts.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        document::parse(text, file)
    }
}
