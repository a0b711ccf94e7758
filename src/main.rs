//! Parses arguments, runs, turns an error into an exit code.

use std::process::ExitCode;

use referral_gateway::cli;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments = cli::Arguments::read().unwrap_or_else(|usage| usage.exit());
    // It fails only when a provider is installed already, and nothing ran before this line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            cli::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
