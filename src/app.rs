//! Puts the parts together, starts, waits for a signal, drains.

mod descriptors;
mod prepare;
mod reload;
mod tls;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{Request, Response, uri::Scheme};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use crate::{
    admin::{self, Admin, Readiness, Telemetry},
    body::{Body, Inbound},
    cache::Snapshots,
    config::{Config, Settings},
    metrics::{Metrics, label},
    policy::{Mode, Policy, repair::Repair},
    problem,
    proxy::{self, Gateway, RuleDecisions, headers},
    rate_limit::{RateLimit, Terms},
    server::{self, Handler, Phase, Server},
    telemetry,
    tenant::Tenants,
    upstream::{self, Proxy, Trust, Upstream},
};
use descriptors::Share;
use reload::Reload;
use tls::Listeners;

pub use prepare::{Prepared, prepare};

/// Pause between two sweeps of limits, proofs, remembered credentials and snapshots.
const SWEEP: Duration = Duration::from_secs(10);

/// Runs the gateway until a signal ends it. Settings and policy are read again when they change.
///
/// # Errors
///
/// When it cannot listen.
pub async fn run(prepared: Prepared) -> anyhow::Result<ExitCode> {
    let Prepared {
        config,
        policy,
        files,
        sources,
        trust,
        proxy,
    } = prepared;
    let (config, policy) = (Arc::new(config), Arc::new(policy));
    let settings = &config.settings;
    let metrics = Arc::new(Metrics::new());
    let logging = telemetry::start(&settings.log, metrics.log_dropped.clone())?;
    for warning in config.warnings() {
        warn!(target: "referral_gateway", "{warning}");
    }
    let share = Share::of_process(
        settings.server.max_connections,
        settings.upstream.max_connections,
    );
    let mut signals = Signals::new()?;
    let hangup = signal(SignalKind::hangup())?;

    let listener = listen(settings.listen, "--listen").await?;
    let telemetry_listener = listen(settings.admin.telemetry_listen, "--telemetry").await?;
    let admin_listener = listen(settings.admin.listen, "--admin").await?;
    let addresses = [
        listener.local_addr()?,
        telemetry_listener.local_addr()?,
        admin_listener.local_addr()?,
    ];

    let gateway = gateway(settings, share, &policy, (trust, proxy), &metrics);
    let readiness = Readiness::default();
    let status = Arc::new(admin::Status {
        metrics: Arc::clone(&metrics),
        in_force: ArcSwap::from_pointee(shown(&config, &policy)),
        logging: logging.clone(),
        rate_limit: Arc::clone(&gateway.rate_limit),
        snapshots: Arc::clone(&gateway.snapshots),
        readiness: readiness.clone(),
        upstream: Arc::clone(&gateway.upstream),
    });

    let own = server::Settings {
        max_connections: share.own,
        ..settings.server.clone()
    };
    let of_data = server::Settings {
        max_connections: share.data,
        ..settings.server.clone()
    };
    let (data_phase, own_phase) = (
        watch::channel(Phase::Serving).0,
        watch::channel(Phase::Serving).0,
    );
    let listeners = Listeners::new(settings, &metrics)?;
    let telemetry = Server {
        settings: own.clone(),
        handler: Telemetry(Arc::clone(&status)),
        tls: listeners.telemetry.clone(),
        metrics: None,
        phase: own_phase.subscribe(),
    };
    let admin = Server {
        settings: own,
        handler: Admin(Arc::clone(&status)),
        tls: None,
        metrics: None,
        phase: own_phase.subscribe(),
    };
    let data = Server {
        settings: of_data,
        handler: Data {
            gateway: Arc::clone(&gateway.gateway),
            scheme: match listeners.data {
                Some(_) => &Scheme::HTTPS,
                None => &Scheme::HTTP,
            },
        },
        tls: listeners.data.clone(),
        metrics: Some(Arc::clone(&metrics)),
        phase: data_phase.subscribe(),
    };
    tokio::spawn(telemetry.serve(telemetry_listener));
    tokio::spawn(admin.serve(admin_listener));
    let mut data = tokio::spawn(data.serve(listener));
    tokio::spawn(sweep(
        Arc::clone(&gateway.rate_limit),
        Arc::clone(&gateway.snapshots),
        Arc::clone(&gateway.gateway),
    ));
    let reload = Reload {
        sources,
        config: Arc::clone(&config),
        files: files.clone(),
        accepted: files,
        gateway: Arc::clone(&gateway.gateway),
        upstream: gateway.upstream,
        listeners,
        status,
    };
    tokio::spawn(reload.run(hangup));

    readiness.set_ready();
    metrics.set_state(label::State::Ready);
    let [listen, telemetry, admin] = addresses;
    info!(
        target: "referral_gateway",
        version = env!("CARGO_PKG_VERSION"),
        config = config.file().map(|file| file.display().to_string()),
        %listen,
        %telemetry,
        %admin,
        upstream = config.upstream(),
        policy = policy.name,
        policy_digest = policy.digest,
        "Ready"
    );

    let signal = signals.next().await;
    let ending = Instant::now();
    readiness.set_draining();
    metrics.set_state(label::State::Draining);
    gateway.gateway.drain();
    info!(target: "referral_gateway", signal, in_flight = metrics.in_flight.get(), "Draining: finishing open requests; a second signal stops at once");

    let draining = async {
        tokio::time::sleep(settings.drain.min).await;
        data_phase.send_replace(Phase::Stopping);
        let left = settings.drain.max.saturating_sub(ending.elapsed());
        let finished = async {
            let _ = (&mut data).await;
            gateway.gateway.finish_writes().await;
        };
        tokio::time::timeout(left, finished).await.is_ok()
    };
    let code = tokio::select! {
        finished = draining => {
            if finished {
                info!(target: "referral_gateway", "Drained; all requests are finished");
            } else {
                warn!(target: "referral_gateway", in_flight = metrics.in_flight.get(), "drain.max is over; ending with requests under way");
            }
            ExitCode::SUCCESS
        }
        signal = signals.next() => {
            warn!(target: "referral_gateway", signal, in_flight = metrics.in_flight.get(), "A second signal; ending at once");
            ExitCode::FAILURE
        }
    };
    own_phase.send_replace(Phase::Stopping);
    Ok(code)
}

/// The data listener's requests.
#[derive(Clone)]
struct Data {
    gateway: Arc<Gateway>,
    scheme: &'static Scheme,
}

impl Handler for Data {
    fn handle(&self, request: Request<Inbound>) -> impl Future<Output = Response<Body>> + Send {
        Arc::clone(&self.gateway).handle(request, self.scheme)
    }

    fn unread(status: u16, stray: Option<u8>) -> Vec<u8> {
        problem::unread(status, stray)
    }

    fn clear_text() -> Vec<u8> {
        problem::clear_text()
    }
}

/// The gateway, and the parts of it that the listeners and the reload use too.
struct Built {
    gateway: Arc<Gateway>,
    rate_limit: Arc<RateLimit>,
    snapshots: Arc<Snapshots>,
    upstream: Arc<Upstream>,
}

fn gateway(
    settings: &Settings,
    share: Share,
    policy: &Arc<Policy>,
    (trust, proxy): (Trust, Proxy),
    metrics: &Arc<Metrics>,
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
        limits: headers::Limits {
            max_bytes: settings.server.max_header_bytes,
            max_fields: settings.server.max_headers,
        },
        fetch_timeout: settings.upstream.response_timeout + settings.upstream.connect_timeout,
        rate_limit: Arc::clone(&rate_limit),
        snapshots: Arc::clone(&snapshots),
        upstream: Arc::clone(&upstream),
        metrics: Arc::clone(metrics),
    });
    Built {
        gateway: Arc::new(gateway),
        rate_limit,
        snapshots,
        upstream,
    }
}

/// The policy, limits, tenants and settings that requests are handled with, after [`set_series`].
fn in_force(
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
fn shown(config: &Config, policy: &Arc<Policy>) -> admin::InForce {
    admin::InForce {
        policy: Arc::clone(policy),
        config: config.to_json(),
        token: config.settings.admin.token.clone(),
        max_tenants: config.settings.rate_limit.max_tenants.get(),
    }
}

/// Sets the series of metrics that settings and policy define.
fn set_series(metrics: &Metrics, settings: &Settings, policy: &Policy) {
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

/// Listens on an address; `flag` is the flag that sets it.
///
/// # Errors
///
/// When the address cannot be used, with the remedy.
pub async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let privilege = match (error.kind(), address.port()) {
            (ErrorKind::PermissionDenied, 1..1024) => {
                "a port below 1024 needs a privilege (CAP_NET_BIND_SERVICE): "
            }
            _ => "",
        };
        anyhow::anyhow!(
            "cannot listen on {address}: {error}; {privilege}choose another address by {flag}, or port 0 for any free one"
        )
    })
}

/// Forgets idle tenants, and proofs and snapshots that are over, from time to time.
async fn sweep(rate_limit: Arc<RateLimit>, snapshots: Arc<Snapshots>, gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let in_force = gateway.in_force();
        rate_limit.sweep(&in_force.terms, Instant::now());
        in_force.tenants.sweep();
        snapshots.sweep();
    }
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Starts logging for a command that runs without the gateway.
///
/// # Errors
///
/// When the filter cannot be used.
pub fn start_log(settings: &telemetry::Settings) -> anyhow::Result<()> {
    telemetry::start(settings, Metrics::new().log_dropped)?;
    Ok(())
}

/// Waits for a signal that ends the program.
pub async fn stop_signal() {
    match Signals::new() {
        Ok(mut signals) => drop(signals.next().await),
        Err(error) => warn!(%error, "Cannot wait for signals; kill the program to end it"),
    }
}
