//! What a tenant costs in memory, part by part: `cargo bench --bench memory`.
//!
//! A tenant has one slot of the limiter, one proven credential and one snapshot of one referral. The numbers are those of
//! the kernel (`VmRSS`). Freed pages go back at once, so that what is left is what is in use:
//! `_RJEM_MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its numbers, and says by stopping that it cannot set up its input"
)]

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::{HeaderMap, HeaderValue, header};
use referral_gateway::{
    cache::{Scope, Settings, Snapshots},
    metrics::Metrics,
    rate_limit::{self, Class, Cooldown, Limits, Quota, RateLimit, Terms},
    referral::{EntityTag, ReferralId, State},
    tenant::{self, Caller, Tenants},
};
use tikv_jemallocator::Jemalloc;

// The program's own allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const TENANTS: usize = 100_000;

fn main() {
    let start = Instant::now();
    let tenants = Tenants::new(&tenant::Settings::default());
    let terms = terms();
    let rate_limit = RateLimit::new(start);
    let settings = Settings {
        max_entries: TENANTS as u64,
        max_age: Duration::from_secs(600),
        scope: Scope::Principal,
    };
    let snapshots = Snapshots::new(&settings, &Arc::new(Metrics::new()));

    let empty = resident();
    part("proof", || {
        for number in 0..TENANTS {
            tenants.prove(&caller(&tenants, number));
        }
    });
    assert!(caller(&tenants, 0).proven);
    part("slot", || {
        for number in 0..TENANTS {
            let caller = caller(&tenants, number);
            let permit = rate_limit.admit(&terms, &caller, Class::Reads, Instant::now());
            drop(permit.unwrap());
        }
    });
    assert_eq!(rate_limit.tracked(), TENANTS);
    part("snapshot", || {
        for number in 0..TENANTS {
            learn(&snapshots, &caller(&tenants, number), number);
        }
    });
    println!("{} snapshots", snapshots.len());
    println!("in all: {} bytes a tenant", (resident() - empty) / TENANTS);

    for number in 0..TENANTS {
        let caller = caller(&tenants, number);
        snapshots.forget(&caller, &id(number));
        tenants.disprove(&caller);
    }
    rate_limit.sweep(&terms, Instant::now() + Duration::from_secs(3600));
    tenants.sweep();
    println!(
        "{} snapshots, {} tenants, which cost {} bytes each",
        snapshots.len(),
        rate_limit.tracked(),
        resident().saturating_sub(empty) / TENANTS
    );
}

fn part(name: &str, fill: impl FnOnce()) {
    let before = resident();
    let start = Instant::now();
    fill();
    let each = start.elapsed().as_nanos() / TENANTS as u128;
    let bytes = resident().saturating_sub(before) / TENANTS;
    println!("{name}: {bytes} bytes a tenant, {each} ns to make, with its token read");
}

/// The memory of this process that is in use, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kilobytes * 1024
}

/// A user of this tenant, with a token that nobody has signed.
fn caller(tenants: &Tenants, number: usize) -> Caller {
    let claims = format!(
        r#"{{"tid":"11111111-aaaa-4000-8000-{number:012}","oid":"22222222-bbbb-4000-8000-{number:012}","appid":"a","exp":4102444800}}"#
    );
    let token = format!("Bearer e30.{}.c2ln", BASE64.encode(claims));
    let headers =
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(token).unwrap())]);
    tenants.identify(&headers).unwrap()
}

fn id(number: usize) -> ReferralId {
    ReferralId::parse(&format!("5f1c2d3e-0001-4a4a-9b9b-{number:012}")).unwrap()
}

fn learn(snapshots: &Snapshots, caller: &Caller, number: usize) {
    let tag = format!("\"0a00b1c2-0000-0100-0000-{number:012}\"");
    let tag = EntityTag::parse(tag.as_bytes()).unwrap();
    let state = State {
        status: "New".into(),
        substatus: Some("Received".into()),
    };
    assert!(snapshots.learn(caller, &id(number), &tag.into(), &state));
}

/// Limits that are never reached.
fn terms() -> Terms {
    let quota = Quota {
        per_minute: NonZeroU32::MAX,
        burst: NonZeroU32::MAX,
    };
    let settings = rate_limit::Settings {
        default: Limits {
            reads: quota,
            writes: quota,
            concurrency: NonZeroU32::MAX,
        },
        known: Vec::new(),
        max_tenants: NonZeroUsize::new(TENANTS).unwrap(),
        cooldown: Cooldown {
            default: Duration::from_secs(30),
            max: Duration::from_secs(300),
        },
    };
    Terms::new(&settings, [])
}
