//! TLS of a listener: what it shows, which clients it takes, and the handshakes.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, OtherError, PeerIncompatible, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::CertificateDer,
    server::{
        NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, info, warn};

use self::clients::{Clients, Unlisted};
use super::{linger, preface::Protocol, socket::Socket};
use crate::{
    identity::{self, Identity, Name},
    metrics::{
        Metrics,
        label::{Certificate, Listener, TlsFailure},
    },
    pace::Pace,
};

mod clients;

/// TLS of a listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the listener shows.
    pub identity: Identity,
    /// The authorities of the clients' certificates. None: no client is asked for one.
    pub client_authorities: Vec<CertificateDer<'static>>,
    /// The names of the clients that are taken. None: all that an authority vouches for.
    pub client_names: Vec<Name>,
}

impl Settings {
    /// Whether a listener can speak TLS with them.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn check(&self) -> Result<(), rustls::Error> {
        in_force(self, &aws_lc_rs::Ticketer::new()?).map(drop)
    }

    /// The host, as a URL has it, by which a client on this machine reaches the listener and finds the name in the
    /// certificate; none if the certificate has no such name.
    pub fn host_for(&self, address: IpAddr) -> Option<String> {
        let address = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let hosts = self.identity.hosts();
        let is = |wanted: &str| hosts.iter().find(|host| *host == wanted);
        let is_name = |host: &&String| host.parse::<Ipv4Addr>().is_err() && !host.starts_with('[');
        let host = is(&address).or_else(|| is("localhost"));
        host.or_else(|| hosts.iter().find(is_name)).cloned()
    }

    /// Who gets through a handshake, for people.
    pub fn admits(&self) -> String {
        let names: Vec<String> = self.client_names.iter().map(Name::to_string).collect();
        match (self.client_authorities.is_empty(), names.as_slice()) {
            (true, _) => "every client that reaches the address".to_owned(),
            (false, []) => "clients with a certificate of client_ca_file".to_owned(),
            (false, [one]) => format!("the client {one}"),
            (false, [first, .., _]) => format!("{first} and {} more clients", names.len() - 1),
        }
    }
}

/// The protocols that ALPN offers (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS of a listener, as it handles connections.
pub struct Tls {
    listener: Listener,
    in_force: ArcSwap<InForce>,
    tickets: Arc<dyn ProducesTickets>,
    metrics: Arc<Metrics>,
    paces: Mutex<[Pace; TlsFailure::ALL.len()]>,
}

/// What a renewal exchanges.
pub struct InForce {
    config: Arc<ServerConfig>,
    valid: RangeInclusive<i64>,
    admits: String,
    admitted: (Vec<CertificateDer<'static>>, Vec<Name>),
    shown: Vec<CertificateDer<'static>>,
}

impl Tls {
    /// TLS by these settings.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub fn new(
        settings: &Settings,
        listener: Listener,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, rustls::Error> {
        let tickets = aws_lc_rs::Ticketer::new()?;
        let in_force = in_force(settings, &tickets)?;
        let tls = Self {
            listener,
            in_force: ArcSwap::from_pointee(in_force),
            tickets,
            metrics: Arc::clone(metrics),
            paces: Mutex::default(),
        };
        tls.tell();
        Ok(tls)
    }

    /// What is in force: in the log and in the metrics.
    fn tell(&self) {
        let in_force = self.in_force.load();
        self.metrics
            .set_certificate(certificate(self.listener), Some(&in_force.valid));
        info!(
            listener = self.listener.as_str(),
            certificate_expires = identity::written(*in_force.valid.end()),
            admits = in_force.admits,
            "Serving TLS"
        );
    }

    /// What new connections are to be handled by.
    ///
    /// # Errors
    ///
    /// When the settings cannot be used.
    pub fn prepare(&self, settings: &Settings) -> Result<InForce, rustls::Error> {
        in_force(settings, &self.tickets)
    }

    /// Handles new connections by this; open ones stay.
    pub fn put(&self, new: InForce) {
        let is_same = self.in_force.load().is_same_as(&new);
        self.in_force.store(Arc::new(new));
        if !is_same {
            self.tell();
        }
    }

    /// The handshake of one connection. It has no time limit of its own, but what follows a failure has.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
        let config = Arc::clone(&self.in_force.load().config);
        let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
        let (error, stream) = match Box::pin(accepting).await {
            Ok(stream) => return Some(Box::new(stream)),
            Err(failed) => failed,
        };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let reason = inner.map_or(TlsFailure::Closed, reason);
        self.count(reason, &error);
        if reason != TlsFailure::Closed {
            // The client may have sent its request already; closing at once would take the alert away.
            linger::turn_away(Socket::Clear(stream), &[]).await;
        }
        None
    }

    /// Answers a connection that has no place, unless it speaks HTTP/2.
    pub(super) async fn turn_away(&self, stream: TcpStream, answer: &[u8]) {
        if let Ok(Some(stream)) = timeout(linger::TURNED_AWAY, self.accept(stream)).await {
            let socket = Socket::Tls(stream);
            if matches!(socket.agreed(), Some(Protocol::Http1)) {
                linger::turn_away(socket, answer).await;
            }
        }
    }

    /// A handshake took too long.
    pub(super) fn timed_out(&self) {
        self.count(TlsFailure::Timeout, &"the client is too slow");
    }

    /// A caller sent HTTP in clear text.
    pub(super) fn clear_text(&self) {
        self.count(
            TlsFailure::ClearText,
            &"the client sends HTTP in clear text",
        );
    }

    fn count(&self, reason: TlsFailure, error: &dyn fmt::Display) {
        self.metrics.tls_failed(self.listener, reason);
        let (listener, reason_name) = (self.listener.as_str(), reason.as_str());
        // Probes of load balancers close at once.
        if reason == TlsFailure::Closed {
            debug!(listener, %error, "A client left during the TLS handshake");
            return;
        }
        let failed = {
            let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
            let pace = paces.get_mut(reason as usize);
            pace.and_then(|pace| pace.event(Instant::now()))
        };
        if let Some(failed) = failed {
            warn!(listener, reason = reason_name, %error, failed, "A TLS handshake failed");
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl InForce {
    fn is_same_as(&self, other: &Self) -> bool {
        self.shown == other.shown && self.admitted == other.admitted
    }
}

fn in_force(
    settings: &Settings,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<InForce, rustls::Error> {
    let builder = ServerConfig::builder();
    let clients = clients(settings)?;
    let builder = match &clients {
        Some(clients) => {
            builder.with_client_cert_verifier(Arc::clone(clients) as Arc<dyn ClientCertVerifier>)
        }
        None => builder.with_no_client_auth(),
    };
    let identity = &settings.identity;
    let mut config = builder.with_single_cert(identity.chain(), identity.key())?;
    // All that is offered is good; the order is the library's.
    config.ignore_client_order = true;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets hold the sessions, so that none of them takes memory here.
    if clients.is_none() {
        config.ticketer = Arc::clone(tickets);
    } else {
        // A session would outlive the trust in its client, and the client could not tell why it is refused.
        config.send_tls13_tickets = 0;
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(InForce {
        config: Arc::new(config),
        valid: identity.valid.clone(),
        admits: settings.admits(),
        admitted: (
            settings.client_authorities.clone(),
            settings.client_names.clone(),
        ),
        shown: identity.chain(),
    })
}

fn clients(settings: &Settings) -> Result<Option<Arc<Clients>>, rustls::Error> {
    if settings.client_authorities.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for authority in &settings.client_authorities {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(Some(Arc::new(Clients::new(
        verifier,
        settings.client_names.clone(),
    ))))
}

fn certificate(listener: Listener) -> Certificate {
    match listener {
        Listener::Data => Certificate::Data,
        Listener::Telemetry => Certificate::Telemetry,
    }
}

/// Why a handshake failed.
fn reason(error: &rustls::Error) -> TlsFailure {
    use rustls::Error as Cause;
    match error {
        Cause::InvalidCertificate(CertificateError::Other(OtherError(other)))
            if other.is::<Unlisted>() =>
        {
            TlsFailure::ClientName
        }
        Cause::InvalidCertificate(_) | Cause::NoCertificatesPresented => {
            TlsFailure::ClientCertificate
        }
        Cause::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            // What TLS 1.1 and older cannot send.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => TlsFailure::Version,
        Cause::PeerIncompatible(_) => TlsFailure::Cipher,
        Cause::NoApplicationProtocol => TlsFailure::Protocol,
        Cause::AlertReceived(_) => TlsFailure::RefusedByClient,
        Cause::InvalidMessage(_)
        | Cause::InappropriateMessage { .. }
        | Cause::InappropriateHandshakeMessage { .. }
        | Cause::PeerMisbehaved(_)
        | Cause::PeerSentOversizedRecord
        | Cause::DecryptError => TlsFailure::NotTls,
        _ => TlsFailure::Other,
    }
}

/// Whether bytes that are no TLS look like the beginning of an HTTP request: a method has capital letters.
pub(super) fn is_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}

/// Whether these are the first bytes of a TLS handshake (RFC 8446 5.1).
pub(super) fn is_tls(begun: &[u8]) -> bool {
    begun.starts_with(&[0x16, 0x03])
}

/// The first byte that a caller sends, which stays to be read. `None` at the end.
pub(super) async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let read = stream.peek(&mut byte).await?;
    Ok((read > 0).then(|| byte[0]))
}
