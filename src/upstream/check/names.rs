//! The addresses of a name, as the gateway resolves it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::time::timeout_at;
use tower_service::Service as _;

use super::{remedy, step::Step};
use crate::upstream::cause::plain;

/// The most addresses of a name that are shown.
const MAX_ADDRESSES: usize = 4;

/// The step of a lookup that may take until `deadline`, which is `limit` after the beginning; `whose` says more of the host.
pub(super) async fn look_up(
    host: &str,
    whose: &str,
    deadline: tokio::time::Instant,
    limit: Duration,
) -> Step {
    let literal = host.trim_matches(['[', ']']);
    if literal.parse::<IpAddr>().is_ok() {
        return Step::ok("dns", format!("{literal} is an address{whose}"));
    }
    let began = Instant::now();
    let looked_up = timeout_at(deadline, addresses(host)).await;
    let took = began.elapsed();
    let step = match looked_up {
        Ok(Ok(found)) if !found.is_empty() => {
            let all: Vec<_> = found.iter().map(ToString::to_string).collect();
            let more = all.len().saturating_sub(MAX_ADDRESSES);
            let some = all.get(..MAX_ADDRESSES).unwrap_or(&all).join(", ");
            let more = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Step::ok("dns", format!("{host} is {some}{more}{whose}"))
        }
        Ok(Ok(_)) => Step::failed("dns", format!("{host} has no address"), remedy::NAME),
        Ok(Err(error)) => {
            let cause = plain(&error);
            let seen = format!("{host}: {}", cause.alone());
            Step::failed("dns", seen, cause.remedy.unwrap_or(remedy::NAME))
        }
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let seen = format!("{host}: no answer of the name servers within {limit}");
            Step::failed("dns", seen, remedy::NAME_SERVERS)
        }
    };
    step.taking(took)
}

/// The addresses of a name, as the gateway resolves it.
async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    let name: Name = host.parse().map_err(io::Error::other)?;
    let found = GaiResolver::new().call(name).await?;
    let mut addresses: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}
