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

mod admin;
mod arrows;
mod attacks;
mod captures;
mod certificate;
mod clients;
mod commands;
mod completions;
mod compose;
mod connect;
mod container_apps;
mod create;
mod cut_bodies;
mod dashboards;
mod deploy;
mod descriptors;
mod docs;
mod early_answers;
mod exec;
mod explain;
mod expression;
mod faults;
mod frames;
mod framing;
mod fuzz;
mod h2;
mod headers;
mod kept;
mod kubernetes;
mod life;
mod load;
mod manual;
mod multiplexed;
mod nginx;
mod observability;
mod one_judgement;
mod packages;
mod patch;
mod policy;
mod policy_reference;
mod policy_test;
mod proxies;
mod readme;
mod reload;
mod repair;
mod rollout;
mod routes;
mod scripts;
mod settings;
mod signs;
mod snapshots;
mod status_page;
mod stops;
mod streaming;
mod systemd;
mod tenants;
mod tls;
mod traces;
mod upstreams;
mod urls;
mod well_formed;
