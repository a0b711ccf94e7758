//! The gateway and its parts, made from settings and policy.

use std::{sync::Arc, time::Instant};

use super::descriptors::Share;
use crate::{
    admin,
    cache::Snapshots,
    config::{Config, Settings},
    metrics::Metrics,
    offline,
    policy::{Mode, Policy, repair::Repair},
    proxy::{self, Gateway, RuleDecisions},
    rate_limit::{RateLimit, Terms},
    telemetry::Recent,
    tenant::Tenants,
    trace::Tracer,
    upstream::{self, Proxy, Trust, Upstream},
};

/// The gateway, and the parts of it that the listeners and the reload use too.
pub(super) struct Built {
    pub(super) gateway: Arc<Gateway>,
    pub(super) rate_limit: Arc<RateLimit>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) upstream: Arc<Upstream>,
}

pub(super) fn gateway(
    settings: &Settings,
    share: Share,
    policy: &Arc<Policy>,
    (trust, proxy): (Trust, Proxy),
    metrics: &Arc<Metrics>,
    decisions: &Arc<Recent>,
    tracer: Option<&Arc<Tracer>>,
) -> Built {
    set_series(metrics, settings, policy);
    let rate_limit = Arc::new(RateLimit::new(Instant::now()));
    let snapshots = Arc::new(Snapshots::new(&settings.snapshots, metrics));
    let of_upstream = upstream::Settings {
        max_connections: share.upstream,
        ..settings.upstream.clone()
    };
    let upstream = Arc::new(Upstream::new(&of_upstream, trust, proxy, metrics));
    let gateway = Gateway::new(proxy::Parts {
        in_force: in_force(settings, policy, Tenants::new(&settings.tenants), metrics),
        limits: settings.header_limits(),
        fetch_timeout: settings.upstream.response_timeout + settings.upstream.connect_timeout,
        rate_limit: Arc::clone(&rate_limit),
        snapshots: Arc::clone(&snapshots),
        upstream: Arc::clone(&upstream),
        metrics: Arc::clone(metrics),
        decisions: Arc::clone(decisions),
        tracer: tracer.cloned(),
    });
    Built {
        gateway: Arc::new(gateway),
        rate_limit,
        snapshots,
        upstream,
    }
}

/// The policy, limits, tenants and settings that requests are handled with, after [`set_series`].
pub(super) fn in_force(
    settings: &Settings,
    policy: &Arc<Policy>,
    tenants: Tenants,
    metrics: &Metrics,
) -> proxy::InForce {
    let known = settings.tenants.known.iter();
    let keys = known.map(|known| tenants.key(&known.id));
    proxy::InForce {
        settings: settings.proxy.clone(),
        policy: Arc::clone(policy),
        decisions: RuleDecisions::of(policy, metrics),
        terms: Terms::new(&settings.rate_limit, keys),
        tenants,
    }
}

/// The policy and settings that the telemetry and the admin listener show.
pub(super) fn shown(config: &Config, policy: &Arc<Policy>) -> admin::InForce {
    admin::InForce {
        policy: Arc::clone(policy),
        config: config.to_json(),
        token: config.settings.admin.token.clone(),
        max_tenants: config.settings.rate_limit.max_tenants.get(),
        offline: offline::Gateway::new(config.settings.offline(), Arc::clone(policy)),
    }
}

/// Sets the series of metrics that settings and policy define.
pub(super) fn set_series(metrics: &Metrics, settings: &Settings, policy: &Policy) {
    let rules = policy.modes().filter(|(_, mode)| *mode != Mode::Off);
    let rules = rules.map(|(rule, mode)| (&*rule.id, mode.as_str()));
    let rows = policy.states.rows.iter();
    let statuses: Vec<_> = rows.map(|row| row.status.as_str()).collect();
    metrics.set_policy(&policy.digest, &policy.name, rules, &statuses);
    for repair in Repair::ALL {
        metrics.begin_repair(repair.as_str());
    }
    let known = settings.tenants.known.iter();
    metrics.set_known_tenants(known.map(|known| known.alias.as_str()));
}
