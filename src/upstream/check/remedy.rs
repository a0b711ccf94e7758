//! What to do about a step that did not go well.

use http::uri::Authority;

use crate::upstream::{
    Kind, Proxy,
    cause::{Cause, Reason},
    tunnel::NoTunnel,
};

pub(super) const NAME: &str = "check the name in upstream.url or of the proxy, and DNS";
pub(super) const NAME_SERVERS: &str = "check the name servers of this machine (/etc/resolv.conf), and whether a firewall lets DNS pass";
/// Behind a remedy for names: a proxy looks them up itself.
pub(super) const OR_A_PROXY: &str = "; if this network has a proxy, name it by HTTPS_PROXY";
pub(super) const HANDSHAKE: &str = "something on the way breaks TLS: a firewall that inspects it, or a network that has a proxy (HTTPS_PROXY); else raise upstream.connect_timeout";
pub(super) const RENEW_THEIRS: &str =
    "whoever runs the upstream, or the proxy that inspects TLS on the way, must renew it";
pub(super) const RENEW_OURS: &str = "write a new certificate and its key into upstream.client_cert_file and upstream.client_key_file";
pub(super) const NO_HTTP2: &str = "requests pass, but each needs a connection of its own; the service speaks HTTP/2, so a proxy that inspects TLS may take it away: ask to exempt the host";
pub(super) const FAILS: &str = "the way to the upstream is fine, and the upstream fails: try again later, and look at its status page";
pub(super) const INTERCEPTED: &str = "this is no answer of the service: a proxy or a portal on the way answers, or upstream.url names another host; the gateway follows no redirect";
pub(super) const THROTTLED: &str = "the upstream asks to wait: try again in a minute";
pub(super) const FORBIDDEN: &str = "the upstream, or a firewall in front of it, refuses this network or requests without a token: try a request with a token";
pub(super) const OTHER_SERVICE: &str = "the service answers 401 to a request without a token: check that upstream.url is the service's";

/// The remedies that name the upstream or the proxy.
pub(super) struct Remedy {
    /// Host and port of the upstream.
    upstream: String,
    host: String,
    has_proxy: bool,
}

impl Remedy {
    pub(super) fn of(authority: &Authority, proxy: &Proxy) -> Self {
        Self {
            upstream: match authority.port() {
                Some(_) => authority.to_string(),
                None => format!("{}:443", authority.host()),
            },
            host: authority.host().to_owned(),
            has_proxy: proxy.address().is_some(),
        }
    }

    pub(super) fn of_tcp(&self, cause: &Cause) -> String {
        match (cause.remedy, cause.reason, self.has_proxy) {
            (Some(remedy), ..) => remedy.to_owned(),
            (None, Reason::Refused, true) => {
                "nothing listens at the proxy's address: check host and port in HTTPS_PROXY or ALL_PROXY".to_owned()
            }
            (None, Reason::Refused, false) => {
                "nothing listens there: check host and port in upstream.url; if this network has a proxy, name it by HTTPS_PROXY".to_owned()
            }
            (None, ..) => self.of_silence(),
        }
    }

    /// Nothing comes back.
    pub(super) fn of_silence(&self) -> String {
        match self.has_proxy {
            true => "the proxy cannot be reached: check host and port in HTTPS_PROXY or ALL_PROXY, routes and firewalls".to_owned(),
            false => format!(
                "a firewall or a missing route is in the way: allow TCP to {}, or name the proxy of this network by HTTPS_PROXY",
                self.upstream
            ),
        }
    }

    pub(super) fn of_proxy(&self, error: Option<&NoTunnel>) -> String {
        match error {
            Some(NoTunnel::Unauthorized(_)) => {
                "write user and password into the variable that names the proxy: http://USER:PASSWORD@HOST:PORT, other letters than A-Z, a-z, 0-9 as %XX".to_owned()
            }
            Some(NoTunnel::NotHttp | NoTunnel::TooLarge) => {
                "this is no HTTP proxy: check host and port in HTTPS_PROXY or ALL_PROXY".to_owned()
            }
            _ => format!(
                "whoever runs the proxy must allow CONNECT to {}; if the host can be reached without it, set NO_PROXY={}",
                self.upstream, self.host
            ),
        }
    }

    pub(super) fn of_tls(&self, cause: &Cause) -> String {
        let remedy = match (cause.remedy, cause.reason) {
            (Some(remedy), _) => remedy,
            (None, Reason::Alert) => {
                "if the upstream asks for a certificate, name one by upstream.client_cert_file and upstream.client_key_file; else check upstream.url"
            }
            (None, Reason::Certificate) => {
                "whoever runs the upstream, or the proxy that inspects TLS on the way, must mend its certificate"
            }
            (None, _) => HANDSHAKE,
        };
        remedy.to_owned()
    }

    pub(super) fn of_closed(&self, cause: &Cause) -> String {
        match cause.reason {
            Reason::Alert => self.of_tls(cause),
            _ => {
                let remedy = cause.remedy;
                remedy.map_or_else(|| self.of_answer(Kind::Closed), str::to_owned)
            }
        }
    }

    pub(super) fn of_answer(&self, kind: Kind) -> String {
        match kind {
            Kind::Timeout => {
                "the connection is fine, and no answer comes: try again later; else raise upstream.response_timeout".to_owned()
            }
            Kind::BadAnswer => {
                "what listens there is not the service: check host and port in upstream.url".to_owned()
            }
            _ => format!(
                "what listens at {} closes connections: check upstream.url and firewalls that inspect traffic; if the upstream asks for a certificate, name one by upstream.client_cert_file and upstream.client_key_file",
                self.upstream
            ),
        }
    }
}
