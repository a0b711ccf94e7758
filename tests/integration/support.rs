//! What every test here stands on: the gateway as a process, a client that writes bytes, an
//! upstream that records what arrived, and referrals to send.

use std::time::Duration;

pub(crate) mod caller;
pub(crate) mod gateway;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod referral;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod wire;

pub(crate) use gateway::Gateway;
pub(crate) use referral::{ID, ITEM, LIST, TAG, body};
pub(crate) use token::token;
pub(crate) use upstream::{Reply, Upstream, reply};
pub(crate) use wire::{Answer, Wire, at_once};

/// Where nobody listens. A port that was free a moment ago may be that of another test by now.
pub(crate) const NOWHERE: &str = "127.0.0.1:1";

/// How long anything is waited for. It is reached only when a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// Waits for `future`, but not for ever.
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    before(DEADLINE, what, future)
}

/// Waits for `future`, which a time-out that was set must end: before the one of the defaults could.
pub(crate) async fn before<T>(default: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(default, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {default:?} in vain for: {what}"),
    }
}

/// Asks again until the answer is yes: for what can only be looked at, such as a metric.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    within(what, async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if condition().await {
                return;
            }
        }
    })
    .await;
}

/// Looks at a number that grows until it has stood still for a while, and gives it back.
pub(crate) async fn settled(mut number: impl FnMut() -> usize) -> usize {
    let (mut last, mut still) = (number(), 0);
    eventually("a number to stand still", async || {
        let current = number();
        still = if current == last { still + 1 } else { 0 };
        last = current;
        still >= 25
    })
    .await;
    last
}

/// A small generator of the same numbers every time.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }
}
