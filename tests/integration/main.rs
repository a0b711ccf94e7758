//! Black-box tests: the real binary between a real client and a scripted upstream, over loopback.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails here says so by stopping"
)]

mod support;

mod arrows;
mod attacks;
mod commands;
mod deploy;
mod framing;
mod fuzz;
mod h2;
mod headers;
mod life;
mod load;
mod observability;
mod policy;
mod proxies;
mod readme;
mod routes;
mod settings;
mod snapshots;
mod streaming;
mod tenants;
mod upstreams;
mod well_formed;
