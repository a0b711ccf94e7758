//! Every setting, typed: what the text of flags, environment, file and defaults means.

mod contents;
mod file;
mod files;
mod keys;
mod layers;
mod load;
mod origin;
mod policy;
mod problem;
mod read;
mod renew;
mod settings;
mod show;
mod together;
mod value;
mod warnings;

pub use file::schema;
pub use files::{Files, bytes_of};
pub use layers::Sources;
pub use load::{Config, Error, Loaded, load, load_all, load_policy};
pub use problem::Problem;
pub use settings::{Drain, PolicySource, Settings};

#[cfg(test)]
mod tests;
