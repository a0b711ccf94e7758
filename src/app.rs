//! Puts the parts together, starts, waits for a signal, drains.

mod command;
mod descriptors;
mod parts;
mod prepare;
mod reload;
mod sockets;
mod summary;
mod tls;
mod traces;
mod until;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use anyhow::ensure;
use arc_swap::ArcSwap;
use http::{Request, Response, uri::Scheme};
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use crate::{
    admin::{self, Admin, Control, Followers, History, Readiness, Telemetry},
    body::{Body, Inbound},
    cache::Snapshots,
    config::Settings,
    metrics::{Metrics, label},
    problem,
    proxy::Gateway,
    rate_limit::RateLimit,
    server::{self, Handler, Listener, Phase, Server},
    telemetry::{self, Recent, Stream},
    trace::Export,
};
use descriptors::Share;
use parts::{gateway, shown};
use reload::Reload;
use tls::Listeners;
use until::{Over, Until};

pub use command::Command;
pub use prepare::{Prepared, prepare};
pub use sockets::Sockets;
pub use traces::trace_warnings;
pub use until::stop_signal;

/// Pause between two sweeps of limits, proofs, remembered credentials and snapshots.
const SWEEP: Duration = Duration::from_secs(10);

/// A connection to an own listener is closed after so long without a request.
const OWN_IDLE: Duration = Duration::from_secs(30);
/// A connection to an own listener is closed when the other side takes nothing for so long.
const OWN_WRITE: Duration = Duration::from_secs(20);

/// Runs the gateway until a signal ends it, or around a command until that ends. Settings and policy are read again when
/// they change.
///
/// # Errors
///
/// When it cannot listen.
pub async fn run(
    prepared: Prepared,
    sockets: Sockets,
    command: Option<Command>,
) -> anyhow::Result<ExitCode> {
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
    // Standard output belongs to the command.
    let stream = match command {
        None => Stream::Output,
        Some(_) => Stream::Error,
    };
    let logging = telemetry::start(&settings.log, stream, metrics.log_dropped.clone())?;
    for warning in config.warnings() {
        warn!(target: "referral_gateway", "{warning}");
    }
    let share = Share::of_process(
        settings.server.max_connections,
        settings.upstream.max_connections,
    );
    let traces = traces::start(&metrics);
    let (mut until, hangup) = Until::new(command)?;

    let of = &settings.admin;
    let listener = listener(sockets.data, settings.listen, "--listen").await?;
    let telemetry_listener =
        self::listener(sockets.telemetry, of.telemetry_listen, "--telemetry").await?;
    let admin_listener = self::listener(sockets.admin, of.listen, "--admin").await?;
    let addresses = [
        listener.socket.local_addr()?,
        telemetry_listener.socket.local_addr()?,
        admin_listener.socket.local_addr()?,
    ];
    check_inherited(settings, addresses)?;

    let decisions = Arc::new(Recent::default());
    let gateway = gateway(
        settings,
        share,
        &policy,
        (trust, proxy),
        &metrics,
        &decisions,
        traces.as_ref().map(Export::tracer),
    );
    let (control, orders) = Control::new();
    let readiness = Readiness::default();
    let status = Arc::new(admin::Status {
        metrics: Arc::clone(&metrics),
        in_force: ArcSwap::from_pointee(shown(&config, &policy)),
        logging: logging.clone(),
        gateway: Arc::clone(&gateway.gateway),
        rate_limit: Arc::clone(&gateway.rate_limit),
        snapshots: Arc::clone(&gateway.snapshots),
        upstream: Arc::clone(&gateway.upstream),
        decisions,
        followers: Followers::default(),
        readiness: readiness.clone(),
        history: History::default(),
        reloaded: Mutex::default(),
        explaining: Arc::default(),
        control,
        started: (SystemTime::now(), Instant::now()),
    });

    let own = server::Settings {
        max_connections: share.own,
        // Places are few, and who probes or asks comes back.
        idle_timeout: settings.server.idle_timeout.min(OWN_IDLE),
        write_timeout: settings.server.write_timeout.min(OWN_WRITE),
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
    tokio::spawn(sample(Arc::clone(&status)));
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
    tokio::spawn(reload.run(hangup, orders.reload));

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
    let told = format!("Ready on {listen}; policy {}", policy.name);
    sockets::tell(&[NotifyState::Ready, NotifyState::Status(&told)]);

    let url = until::url(listen, settings.tls.as_ref());
    let Over {
        why,
        since: ending,
        code: own_code,
    } = until
        .over(&url, settings.drain.max, &mut data, &orders.drain)
        .await;
    readiness.set_draining();
    metrics.set_state(label::State::Draining);
    gateway.gateway.drain();
    sockets::tell(&[
        NotifyState::Stopping,
        NotifyState::Status("Finishing open requests"),
    ]);
    info!(target: "referral_gateway", cause = why, in_flight = metrics.in_flight.get(), "Draining: finishing open requests; a second signal stops at once");

    let draining = async {
        tokio::time::sleep(settings.drain.min).await;
        data_phase.send_replace(Phase::Stopping);
        let left = settings.drain.max.saturating_sub(ending.elapsed());
        let finished = async {
            if !data.is_finished() {
                let _ = (&mut data).await;
            }
            gateway.gateway.finish_writes().await;
        };
        tokio::time::timeout(left, finished).await.is_ok()
    };
    let (code, traces) = tokio::select! {
        finished = draining => {
            if finished {
                info!(target: "referral_gateway", "Drained; all requests are finished");
            } else {
                warn!(target: "referral_gateway", in_flight = metrics.in_flight.get(), "drain.max is over; ending with requests under way");
            }
            (ExitCode::SUCCESS, traces)
        }
        signal = until.second_signal() => {
            warn!(target: "referral_gateway", signal, in_flight = metrics.in_flight.get(), "A second signal; ending at once");
            (ExitCode::FAILURE, None)
        }
    };
    own_phase.send_replace(Phase::Stopping);
    let code = traces::end(traces, until.second_signal(), code).await;
    let Some(own_code) = own_code else {
        return Ok(code);
    };
    summary::log(&metrics);
    Ok(own_code)
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

/// The listener on a socket that the service manager has opened, else on an address; `flag` is the flag that sets it.
async fn listener(
    inherited: Option<std::net::TcpListener>,
    address: SocketAddr,
    flag: &str,
) -> anyhow::Result<Listener> {
    match inherited {
        Some(socket) => sockets::take(socket),
        None => Ok(Listener {
            socket: listen(address, flag).await?,
            is_ours: true,
        }),
    }
}

/// The addresses of sockets that were inherited are not those of the settings, so what holds of them is looked at again.
fn check_inherited(settings: &Settings, [data, _, admin]: [SocketAddr; 3]) -> anyhow::Result<()> {
    let reaches_out = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
    ensure!(
        !reaches_out(admin) || settings.admin.token.is_some(),
        "the admin listener's socket is on {admin}, which is not loopback, and no token protects it; \
         change ListenStream=, or set admin.token_file"
    );
    if reaches_out(data) && !reaches_out(settings.listen) && settings.tls.is_none() {
        warn!(
            target: "referral_gateway",
            "The data listener's socket is on {data}: other machines can reach it, in clear text; set tls, or change ListenStream="
        );
    }
    Ok(())
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

/// Keeps the counters of the last minutes.
async fn sample(status: Arc<admin::Status>) {
    let mut steps = interval(admin::STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        status.history.add(&status.metrics);
    }
}

/// Starts logging for a command that runs without the gateway.
///
/// # Errors
///
/// When the filter cannot be used.
pub fn start_log(settings: &telemetry::Settings) -> anyhow::Result<()> {
    telemetry::start(settings, Stream::Output, Metrics::new().log_dropped)?;
    Ok(())
}
