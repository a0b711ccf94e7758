//! What `check --connect` prints of the connection to the upstream.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use crate::upstream::{
    Proxy, Settings, Trust,
    check::{Report, Step, check},
};

/// What came of a connection to the upstream.
pub(super) struct Connected(Report);

impl Connected {
    pub(super) async fn to(settings: &Settings, trust: Trust, proxy: Proxy) -> Self {
        Self(check(settings, trust, proxy).await)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.0.is_ok()
    }

    /// One line a step, with the remedy below it, and the certificates below that of TLS.
    pub(super) fn text(&self) -> String {
        let Report {
            steps,
            certificates,
            ..
        } = &self.0;
        let mut text = String::from("\n");
        if steps.is_empty() {
            text += "The upstream is the simulator: there is nothing to connect to.\n";
        }
        for step in steps {
            let Step {
                name,
                result,
                seen,
                remedy,
                took,
            } = step;
            let took = took.map_or_else(String::new, |took| format!(" ({})", milliseconds(took)));
            let _ = writeln!(text, "{name:<7}{:<9}{seen}{took}", result.as_str());
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "                remedy: {remedy}");
            }
            if *name == "tls" {
                for certificate in certificates {
                    let _ = writeln!(
                        text,
                        "                certificate: {}; issued by {}; valid from {} until {}",
                        certificate.subject,
                        certificate.issuer,
                        certificate.not_before,
                        certificate.not_after
                    );
                }
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let Report {
            steps,
            certificates,
            skew,
        } = &self.0;
        let step = |step: &Step| {
            json!({
                "step": step.name,
                "result": step.result.as_str(),
                "seen": step.seen,
                "remedy": step.remedy,
                "took_ms": step.took.map(|took| rounded(took.as_secs_f64() * 1000.0)),
            })
        };
        let certificates = certificates.iter().map(|certificate| {
            json!({
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "not_before": certificate.not_before,
                "not_after": certificate.not_after,
            })
        });
        json!({
            "ok": self.is_ok(),
            "steps": steps.iter().map(step).collect::<Vec<_>>(),
            "certificates": certificates.collect::<Vec<_>>(),
            "clock_skew_seconds": skew.map(|skew| rounded(skew.certain())),
        })
    }
}

/// With one decimal.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
