//! The export of traces, as the environment wants it.

use std::{process::ExitCode, sync::Arc};

use tracing::{info, warn};

use crate::{
    config::Problem,
    metrics::Metrics,
    trace::{Environment, Export},
    upstream::platform_roots,
};

/// The variables about traces that have no effect.
pub fn trace_warnings() -> Vec<Problem> {
    let warnings = Environment::of_process().warnings().into_iter();
    warnings
        .map(|warning| Problem::in_environment(&warning.variable, warning.what, warning.remedy))
        .collect()
}

/// Starts the export if the environment names a collector, and says what is wrong with the environment.
pub(super) fn start(metrics: &Arc<Metrics>) -> Option<Export> {
    for warning in trace_warnings() {
        warn!(target: "referral_gateway", "{warning}");
    }
    let environment = Environment::of_process();
    let settings = environment.settings()?;
    match Export::start(&settings, environment.headers(), platform_roots(), metrics) {
        Ok(export) => {
            info!("Exporting traces");
            Some(export)
        }
        Err(error) => {
            warn!(target: "referral_gateway", "No traces are exported: {error:#}; check the OTEL_EXPORTER_OTLP_ variables");
            None
        }
    }
}

/// Exports the last spans, unless another signal comes meanwhile; returns how the program ends.
pub(super) async fn end(
    export: Option<Export>,
    signal: impl Future<Output = &'static str>,
    code: ExitCode,
) -> ExitCode {
    let Some(export) = export else {
        return code;
    };
    tokio::select! {
        () = export.end() => code,
        signal = signal => {
            warn!(target: "referral_gateway", signal, "Another signal; ending without the last spans");
            ExitCode::FAILURE
        }
    }
}
