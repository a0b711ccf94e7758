//! The accept loop of the data listener and the life of its connections.

use std::time::Duration;

/// What one caller may ask of the data listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From the first byte of a request to the end of its header section.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this long.
    pub idle_timeout: Duration,
    /// Upper bound of a request's header section, in bytes.
    pub max_header_bytes: usize,
    /// Upper bound of the number of header fields of a request.
    pub max_headers: usize,
    /// Connections open at once; one more is answered 503 and closed.
    pub max_connections: usize,
}
