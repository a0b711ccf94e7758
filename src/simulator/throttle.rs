//! The limits of each tenant per minute. Every attempt counts, refused ones too.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, header::AUTHORIZATION};
use serde_json::Value;

use super::{answer::Refusal, text};

const WINDOW: Duration = Duration::from_secs(60);

/// Beyond this many tenants at once, all others count as one.
const MAX_TENANTS: usize = 4096;

const ANONYMOUS: &str = "anonymous";

/// Writes are throttled sooner than reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Read,
    Write,
}

impl Class {
    pub(super) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ => Self::Write,
        }
    }
}

/// The tenant in a token. The token is not verified, and a caller may have none.
pub(super) fn tenant(headers: &HeaderMap) -> String {
    let claims = || {
        let (scheme, token) = text(headers, &AUTHORIZATION)?.trim().split_once(' ')?;
        let claims = token.trim().split('.').nth(1)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        scheme.eq_ignore_ascii_case("bearer").then_some(claims)
    };
    let claims = claims().and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
    claims
        .as_ref()
        .and_then(|claims| claims.get("tid"))
        .and_then(Value::as_str)
        .filter(|tid| tid.len() <= 64)
        .unwrap_or(ANONYMOUS)
        .to_owned()
}

/// The counters of all tenants.
#[derive(Debug)]
pub(super) struct Throttle {
    reads: Option<NonZeroU32>,
    writes: Option<NonZeroU32>,
    windows: Mutex<HashMap<String, Window>>,
}

/// One minute of one tenant.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: SystemTime,
    reads: u32,
    writes: u32,
}

impl Window {
    /// The rest of the minute; `None` when it is over, or the clock was set back.
    fn left(&self, now: SystemTime) -> Option<Duration> {
        WINDOW
            .checked_sub(now.duration_since(self.since).ok()?)
            .filter(|left| !left.is_zero())
    }
}

impl Throttle {
    pub(super) fn new(reads: Option<NonZeroU32>, writes: Option<NonZeroU32>) -> Self {
        Self {
            reads,
            writes,
            windows: Mutex::default(),
        }
    }

    /// Counts an attempt, and refuses it above the limit of the minute.
    pub(super) fn admit(&self, tenant: &str, class: Class, now: SystemTime) -> Result<(), Refusal> {
        let limit = match class {
            Class::Read => self.reads,
            Class::Write => self.writes,
        };
        let Some(limit) = limit else {
            return Ok(());
        };

        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_TENANTS && !windows.contains_key(tenant) {
            windows.retain(|_, window| window.left(now).is_some());
        }
        let key = match windows.len() >= MAX_TENANTS && !windows.contains_key(tenant) {
            true => ANONYMOUS,
            false => tenant,
        };
        let fresh = Window {
            since: now,
            reads: 0,
            writes: 0,
        };
        let window = windows.entry(key.to_owned()).or_insert(fresh);
        let left = window.left(now).unwrap_or_else(|| {
            *window = fresh;
            WINDOW
        });
        let count = match class {
            Class::Read => &mut window.reads,
            Class::Write => &mut window.writes,
        };
        *count = count.saturating_add(1);
        if *count <= limit.get() {
            return Ok(());
        }
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Err(Refusal::throttled(seconds))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroU32,
        time::{Duration, UNIX_EPOCH},
    };

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use http::{HeaderMap, header::AUTHORIZATION};

    use super::{ANONYMOUS, Class, MAX_TENANTS, Refusal, Throttle, tenant};

    #[test]
    fn a_tenant_is_held_back_until_its_minute_is_over() {
        let throttle = Throttle::new(None, NonZeroU32::new(2));
        let at = |second: u64| UNIX_EPOCH + Duration::from_secs(second);
        for (tenant, class, second, wanted) in [
            ("a", Class::Write, 0, Ok(())),
            ("a", Class::Write, 1, Ok(())),
            ("a", Class::Write, 3, Err(Refusal::throttled(57))),
            ("b", Class::Write, 3, Ok(())),
            ("a", Class::Read, 3, Ok(())),
            ("a", Class::Write, 59, Err(Refusal::throttled(1))),
            ("a", Class::Write, 60, Ok(())),
        ] {
            let seen = throttle.admit(tenant, class, at(second));
            assert_eq!(seen, wanted, "{tenant} {class:?} at {second} s");
        }
    }

    #[test]
    fn tenants_beyond_the_bound_share_one_counter() {
        let throttle = Throttle::new(NonZeroU32::new(1), None);
        for tenant in 0..2 * MAX_TENANTS {
            let admitted = throttle.admit(&tenant.to_string(), Class::Read, UNIX_EPOCH);
            assert_eq!(admitted.is_ok(), tenant <= MAX_TENANTS, "{tenant}");
        }
        let windows = throttle.windows.lock().expect("no panic before");
        assert!(windows.len() <= MAX_TENANTS + 1);
    }

    #[test]
    fn the_tenant_is_the_tid_of_the_token() {
        let token = |claims: &str| format!("Bearer e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        for (line, wanted) in [
            (token(r#"{"tid":"t-1"}"#), "t-1"),
            (token(r#"{"oid":"t-1"}"#), ANONYMOUS),
            (
                token(&format!(r#"{{"tid":"{}"}}"#, "x".repeat(65))),
                ANONYMOUS,
            ),
            ("Bearer opaque".to_owned(), ANONYMOUS),
            ("Basic a.b.c".to_owned(), ANONYMOUS),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, line.parse().expect("a header value"));
            assert_eq!(tenant(&headers), wanted, "{line}");
        }
        assert_eq!(tenant(&HeaderMap::new()), ANONYMOUS);
    }
}
