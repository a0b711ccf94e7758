//! Whose request this is, from the token's claims.

use http::HeaderName;

/// How a tenant is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The header that names the tenant when the token has no `tid`.
    pub header: Option<HeaderName>,
    /// Tenants known by an alias, which may appear in logs and metrics.
    pub known: Vec<Known>,
}

/// A tenant known by an alias.
#[derive(Debug, Clone)]
pub struct Known {
    /// The name in logs and metrics.
    pub alias: String,
    /// The tenant's id: the `tid` claim or the value of the tenant header.
    pub id: String,
}
