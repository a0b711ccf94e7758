//! Faults on request: the header `Simulator-Fault` names what goes wrong with this request.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::HeaderName};

use super::{Failure, answer::Refusal};

const HEADER: HeaderName = HeaderName::from_static("simulator-fault");
const FORMS: &str = "Simulator-Fault takes a comma-separated list of delay=500ms (at most 60s), \
                     status=503, retry-after=5, reset, reset-after";
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The faults of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    delay: Duration,
    status: Option<StatusCode>,
    retry_after: Option<u64>,
    reset: Option<When>,
}

/// When the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before anything is done.
    Before,
    /// After everything is done: the write takes effect, and its answer is lost.
    After,
}

impl Faults {
    /// What the headers of a request ask for.
    pub(super) fn asked(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut faults = Self::default();
        for line in headers.get_all(HEADER) {
            let line = line.to_str().unwrap_or("?");
            for fault in line.split(',').map(str::trim) {
                faults
                    .take(fault)
                    .ok_or_else(|| Refusal::invalid("Simulator-Fault", FORMS))?;
            }
        }
        Ok(faults)
    }

    fn take(&mut self, fault: &str) -> Option<()> {
        match fault.split_once('=').unwrap_or((fault, "")) {
            ("reset", "") => self.reset = Some(When::Before),
            ("reset-after", "") => self.reset = Some(When::After),
            ("delay", delay) => {
                let delay = humantime::parse_duration(delay).ok()?;
                self.delay = Some(delay).filter(|delay| *delay <= MAX_DELAY)?;
            }
            ("status", status) => {
                let status = status.parse().ok()?;
                self.status = Some(status).filter(|status: &StatusCode| status.as_u16() >= 400);
                self.status?;
            }
            ("retry-after", seconds) => self.retry_after = Some(seconds.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// The faults before the request is handled.
    pub(super) async fn before(&self) -> Result<(), Failure> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.reset == Some(When::Before) {
            return Err(Failure::Reset);
        }
        match self.status {
            Some(StatusCode::TOO_MANY_REQUESTS) => {
                Err(Refusal::throttled(self.retry_after.unwrap_or(1)).into())
            }
            Some(status) => {
                let refusal = Refusal::of(status, "the status that Simulator-Fault asks for");
                Err(refusal.retry_after(self.retry_after).into())
            }
            None => Ok(()),
        }
    }

    /// The faults after the request is handled.
    pub(super) fn after(&self) -> Result<(), Failure> {
        match self.reset {
            Some(When::After) => Err(Failure::Reset),
            Some(When::Before) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: Option<&Faults>) {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, line.parse().expect("a header value"));
        assert_eq!(Faults::asked(&headers).ok().as_ref(), wanted, "{line}");
    }

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        let none = Faults::default;
        let delay = Duration::from_millis(500);
        let status = Some(StatusCode::SERVICE_UNAVAILABLE);
        let reset = Some(When::Before);
        for (line, wanted) in [
            ("delay=500ms", Faults { delay, ..none() }),
            ("status=503", Faults { status, ..none() }),
            ("reset", Faults { reset, ..none() }),
            (
                "reset-after",
                Faults {
                    reset: Some(When::After),
                    ..none()
                },
            ),
            (
                "delay=500ms, status=503,retry-after=5",
                Faults {
                    delay,
                    status,
                    retry_after: Some(5),
                    reset: None,
                },
            ),
        ] {
            check(line, Some(&wanted));
        }
        for line in [
            "",
            "boom",
            "delay",
            "delay=soon",
            "delay=61s",
            "status=200",
            "status=x",
            "reset=1",
            "retry-after=-1",
            "reset;status=503",
        ] {
            check(line, None);
        }
    }
}
