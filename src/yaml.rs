//! Stub until merged.
use serde::de::DeserializeOwned;
/// x
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);
/// x
pub fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|e| Error(format!("{file}: {e}")))
}
