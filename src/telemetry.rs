//! Tracing, access records and decision records.

/// What is logged, and in which form.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A filter in the syntax of `tracing-subscriber`'s `EnvFilter`, for example `info` or `warn,referral_gateway::proxy=debug`.
    pub level: String,
    /// The form of a line.
    pub format: Format,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
