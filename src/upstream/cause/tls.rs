//! Why TLS failed.

use std::time::{Duration, UNIX_EPOCH};

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError,
    pki_types::{ServerName, UnixTime},
};

use super::{Cause, Reason, UnknownIssuer, bounded, with_remedy, without_remedy};

/// The number of a certificate's names that are shown, and the longest of them in characters.
const MAX_NAMES: usize = 4;
const MAX_NAME: usize = 64;

/// The plain words for an error of TLS.
pub(super) fn tls(error: &Error) -> Cause {
    let reason = match error {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Reason::Certificate,
        Error::AlertReceived(_) => Reason::Alert,
        _ => Reason::Tls,
    };
    words(error).because(reason)
}

fn words(error: &Error) -> Cause {
    let words = match error {
        Error::InvalidCertificate(error) => return certificate(error),
        Error::AlertReceived(alert) => return refused(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return with_remedy(
                "the upstream does not speak TLS on this port",
                "check scheme and port in upstream.url",
            );
        }
        Error::NoCertificatesPresented => "the upstream shows no certificate",
        Error::PeerIncompatible(_) => {
            "the upstream and the gateway have no version or cipher of TLS in common; the gateway speaks TLS 1.2 and 1.3"
        }
        Error::NoApplicationProtocol => "the upstream speaks neither HTTP/2 nor HTTP/1.1",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => "the upstream sends something that is not valid TLS",
        _ => "TLS with the upstream failed",
    };
    without_remedy(words)
}

fn certificate(error: &CertificateError) -> Cause {
    use CertificateError as Fault;
    match error {
        Fault::UnknownIssuer => untrusted(None),
        Fault::Other(other) => unusual(other),
        Fault::NotValidForNameContext {
            expected,
            presented,
        } => misnamed(expected, presented),
        Fault::NotValidForName => {
            with_remedy("the upstream's certificate is for other names", CHECK_NAME)
        }
        Fault::ExpiredContext { time, not_after } => with_remedy(
            format_args!(
                "the upstream's certificate expired at {}, and the gateway's clock shows {}",
                written(*not_after),
                written(*time)
            ),
            "check the clock, else the upstream needs a new certificate",
        ),
        Fault::NotValidYetContext { time, not_before } => with_remedy(
            format_args!(
                "the upstream's certificate is not valid before {}, and the gateway's clock shows {}",
                written(*not_before),
                written(*time)
            ),
            CHECK_CLOCK,
        ),
        Fault::Expired | Fault::NotValidYet => with_remedy(
            "the upstream's certificate has expired or is not valid yet",
            CHECK_CLOCK,
        ),
        Fault::Revoked => without_remedy("the upstream's certificate is revoked"),
        Fault::BadSignature => with_remedy(
            "the upstream's certificate has the name of a trusted issuer, but not its signature; it is self-signed, or the issuer has a new key",
            "put the new certificate of the issuer into upstream.ca_file",
        ),
        Fault::InvalidPurpose | Fault::InvalidPurposeContext { .. } => {
            without_remedy("the upstream's certificate is not one for servers")
        }
        _ => unusable(),
    }
}

fn unusual(error: &OtherError) -> Cause {
    if let Some(UnknownIssuer { issuer }) = error.0.downcast_ref() {
        return untrusted(issuer.as_deref());
    }
    match error.0.downcast_ref() {
        Some(webpki::Error::CaUsedAsEndEntity) => with_remedy(
            "the upstream's certificate is that of an authority (CA:TRUE), which no server may use",
            "give the server a certificate with CA:FALSE",
        ),
        _ => unusable(),
    }
}

fn unusable() -> Cause {
    without_remedy("the upstream's certificate is not valid; the gateway's log says why")
}

fn untrusted(issuer: Option<&str>) -> Cause {
    let issuer = issuer.map_or_else(String::new, |issuer| format!(" ({issuer})"));
    with_remedy(
        format_args!("the issuer of the upstream's certificate{issuer} is not trusted"),
        "if a proxy inspects TLS on the way, or the issuer is your own, put the certificate of that issuer into upstream.ca_file",
    )
}

const CHECK_CLOCK: &str = "check the clock";

const CHECK_NAME: &str = "check the host in upstream.url, and DNS";

fn misnamed(expected: &ServerName<'_>, presented: &[String]) -> Cause {
    let expected = bounded(&expected.to_str(), MAX_NAME);
    // rustls shows a name with its type, for example `DnsName("a.example")`.
    let names: Vec<_> = presented.iter().map(|name| untyped(name)).collect();
    let names = match names.as_slice() {
        [] => "no name".to_owned(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= MAX_NAMES => {
            format!("{} and {last}", first.join(", "))
        }
        many => {
            let (shown, more) = many.split_at(MAX_NAMES.min(many.len()));
            format!("{} and {} more", shown.join(", "), more.len())
        }
    };
    with_remedy(
        format_args!("the upstream's certificate is for {names}, not for {expected}"),
        CHECK_NAME,
    )
}

fn untyped(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    bounded(inner.unwrap_or(name).trim_matches('"'), MAX_NAME)
}

/// The other side ended the handshake.
fn refused(alert: AlertDescription) -> Cause {
    use AlertDescription as Alert;
    let words = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the upstream asks for a client certificate"
        }
        Alert::HandshakeFailure => {
            "the upstream refuses the TLS handshake: no cipher in common, or it asks for a client certificate"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => "the upstream asks for a client certificate that it trusts",
        Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            "the upstream refuses TLS 1.2 and 1.3 as the gateway speaks them"
        }
        Alert::UnrecognisedName => "the upstream does not know the host name in upstream.url",
        Alert::NoApplicationProtocol => "the upstream speaks neither HTTP/2 nor HTTP/1.1",
        _ => {
            let number = u8::from(alert);
            return without_remedy(format!("the upstream ended TLS with alert {number}"));
        }
    };
    without_remedy(words)
}

/// The end of the year 9999, in seconds since 1970: no later time can be written.
const END_OF_TIME: u64 = 253_402_300_800;

fn written(time: UnixTime) -> String {
    match time.as_secs() {
        seconds @ ..END_OF_TIME => {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => "a time after the year 9999".to_owned(),
    }
}
