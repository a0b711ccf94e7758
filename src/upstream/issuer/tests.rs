use proptest::{collection::vec, prelude::*};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::*;

#[track_caller]
fn check(attributes: &[(DnType, &str)], shown: Option<&str>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    assert_eq!(issuer(certificate.der()).as_deref(), shown);
}

#[test]
fn the_issuer_is_shown_as_people_write_it() {
    let long = "x".repeat(300);
    let cut = format!("CN={}", "x".repeat(MAX_VALUE));
    check(&[(DnType::CommonName, "Root X1")], Some("CN=Root X1"));
    check(
        &[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Prüf & Söhne"),
            (DnType::CommonName, "Root\r\nX1"),
        ],
        Some("CN=RootX1, O=Prüf & Söhne"),
    );
    check(
        &[(DnType::OrganizationalUnitName, "Proxies")],
        Some("OU=Proxies"),
    );
    check(&[(DnType::CommonName, &long)], Some(&cut));
    check(&[(DnType::CountryName, "DE")], None);
    check(&[], None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_short_name_or_none(bytes in vec(any::<u8>(), 0..400)) {
        for shown in [name(&bytes), issuer(&CertificateDer::from(bytes))].into_iter().flatten() {
            prop_assert!(shown.chars().count() <= 3 * MAX_VALUE + 20);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
