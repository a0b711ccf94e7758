use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::*;

#[track_caller]
fn check(error: impl Error + 'static, words: &str) {
    assert_eq!(plain(&error).words, words, "{error:?}");
}

#[test]
fn errors_of_the_system_are_told_in_plain_words() {
    for (number, words) in [
        (111, "connection refused"),
        (104, "connection reset"),
        (103, "connection aborted"),
        (32, "connection closed while the request was sent"),
        (110, "connection timed out"),
        (113, "host unreachable"),
        (101, "network unreachable"),
        (100, "network down"),
        (99, "no free local port or address"),
        (13, "the operating system forbids the connection"),
        // Any other keeps its text, without its number.
        (92, "Protocol not available"),
    ] {
        let error = || io::Error::from_raw_os_error(number);
        check(error(), words);
        check(io::Error::other(error()), words);
        assert_eq!(plain(&error()).remedy, None);
        let is_unroutable = matches!(number, 101 | 113);
        let reason = plain(&error()).reason;
        assert_eq!(reason == Reason::Unroutable, is_unroutable, "{number}");
    }
    for number in [23, 24] {
        let cause = plain(&io::Error::from_raw_os_error(number));
        assert!(cause.words.contains("LimitNOFILE="), "{cause:?}");
        assert_eq!(cause.alone(), "the gateway has no free file descriptor");
    }
}

#[test]
fn errors_of_tls_are_told_in_plain_words() {
    let asks = "the upstream asks for a client certificate";
    for (error, words) in [
        (
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
            asks,
        ),
        (
            rustls::Error::AlertReceived(AlertDescription::UnknownCA),
            "the upstream asks for a client certificate that it trusts",
        ),
        (
            rustls::Error::AlertReceived(AlertDescription::InternalError),
            "the upstream ended TLS with alert 80",
        ),
        (
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
            "the upstream does not speak TLS on this port; check scheme and port in upstream.url",
        ),
        (
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ),
            "the upstream and the gateway have no version or cipher of TLS in common; the gateway speaks TLS 1.2 and 1.3",
        ),
        (
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding),
            "the upstream's certificate is not valid; the gateway's log says why",
        ),
        (
            rustls::Error::FailedToGetRandomBytes,
            "TLS with the upstream failed",
        ),
    ] {
        check(io::Error::other(io::Error::other(error.clone())), words);
        check(error, words);
    }
}

#[test]
fn names_of_a_certificate_are_bounded() {
    let presented: Vec<_> = (0..500)
        .map(|number| format!("DnsName(\"{}.{number}.test\")", "x".repeat(500)))
        .collect();
    let expected = rustls::pki_types::ServerName::try_from("a.test").expect("a name");
    let fault = CertificateError::NotValidForNameContext {
        expected,
        presented,
    };
    let words = plain(&rustls::Error::InvalidCertificate(fault)).words;
    assert!(words.contains("and 496 more, not for a.test"), "{words}");
    assert!(words.len() < 500, "{words}");
}
