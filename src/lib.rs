//! An HTTP policy gateway in front of Microsoft's Partner Center Referrals API.
//!
//! What happens to a PUT: [`server`] accepts the connection and reads the request, [`proxy`] holds
//! everything that happens to it, in order. It asks [`tenant`] whose request it is, [`rate_limit`]
//! whether it may pass now, [`policy`] what the rules make of it (with what [`cache`] knows of the
//! referral), [`upstream`] for the answer, and turns every refusal into a [`problem`].
//!
//! The modules stand in reading order.

pub mod cli;

pub mod app;
pub mod config;

pub mod server;

pub mod proxy;

pub mod offline;
pub mod policy_test;

pub mod cache;
pub mod policy;
pub mod problem;
pub mod rate_limit;
pub mod referral;
pub mod tenant;
pub mod upstream;

pub mod admin;
pub mod body;
pub mod capture;
pub mod certificate;
pub mod identity;
pub mod metrics;
pub mod nearest;
pub mod pace;
pub mod plain;
pub mod rebase;
pub mod table;
pub mod target;
pub mod telemetry;
pub mod trace;
pub mod version;
pub mod yaml;

pub mod simulator;
