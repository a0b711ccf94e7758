use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

use super::*;

/// A day on which the certificates here are valid.
fn today() -> SystemTime {
    // 2026-06-01
    UNIX_EPOCH + Duration::from_secs(1_780_272_000)
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// A leaf, the authority that issued it, and the key of the leaf, as PEM.
struct Made {
    leaf: String,
    authority: String,
    key: String,
}

fn made(params: &CertificateParams) -> Made {
    let authority_key = KeyPair::generate().expect("a key");
    let mut of_authority = self::params(&[]);
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of_authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "An authority");
    let authority = of_authority
        .self_signed(&authority_key)
        .expect("a certificate");
    let issuer = Issuer::from_params(&of_authority, &authority_key);
    let key = KeyPair::generate().expect("a key");
    Made {
        leaf: params
            .signed_by(&key, &issuer)
            .expect("a certificate")
            .pem(),
        authority: authority.pem(),
        key: key.serialize_pem(),
    }
}

fn read(certificates: &str, key: &str) -> Result<Identity, Wrong> {
    Identity::of_pem(
        certificates.as_bytes(),
        key.as_bytes(),
        Purpose::Server,
        today(),
    )
}

#[track_caller]
fn is_wrong(read: Result<Identity, Wrong>, file: &str, what: &str) {
    let (of, said) = match read.expect_err(what) {
        Wrong::Certificate(said, _) => ("certificate", said),
        Wrong::Key(said, _) => ("key", said),
    };
    assert_eq!(of, file, "{said}");
    assert!(said.contains(what), "{said}");
}

#[test]
fn a_chain_and_its_key_are_an_identity_until_the_leaf_expires() {
    let good = made(&params(&["localhost"]));
    for certificates in [
        good.leaf.clone(),
        format!("{}{}", good.leaf, good.authority),
    ] {
        let identity = read(&certificates, &good.key).expect("an identity");
        assert_eq!(written(*identity.valid.start()), "2026-01-01T00:00:00Z");
        assert_eq!(written(*identity.valid.end()), "2027-01-01T00:00:00Z");
    }
}

#[test]
fn each_fault_is_told_of_the_file_that_has_it() {
    let good = made(&params(&["localhost"]));
    let other = made(&params(&["localhost"]));
    let chain = format!("{}{}", good.leaf, good.authority);

    is_wrong(read("", &good.key), "certificate", "without a certificate");
    is_wrong(
        read(&good.key, &good.key),
        "certificate",
        "without a certificate",
    );
    is_wrong(
        read("-----BEGIN CERTIFICATE-----\nAAAA", &good.key),
        "certificate",
        "not PEM",
    );
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    is_wrong(read(rubbish, &good.key), "certificate", "cannot be read");
    is_wrong(
        read(&good.leaf.repeat(11), &good.key),
        "certificate",
        "11 certificates",
    );
    is_wrong(read(&chain, ""), "key", "without a usable key");
    is_wrong(read(&chain, &good.leaf), "key", "without a usable key");
    is_wrong(read(&chain, &other.key), "key", "does not fit");
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
    ] {
        is_wrong(read(&chain, encrypted), "key", "encrypted");
    }
    let reversed = format!("{}{}", good.authority, good.leaf);
    is_wrong(read(&reversed, &good.key), "certificate", "wrong order");
    let strange = format!("{}{}", good.leaf, other.leaf);
    is_wrong(
        read(&strange, &good.key),
        "certificate",
        "not issued by certificate 2",
    );
}

#[test]
fn a_key_of_another_certificate_of_the_chain_tells_of_the_order() {
    let key = KeyPair::generate().expect("a key");
    let mut authority = params(&["authority.example"]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Both have the same name, so that only the key tells the order.
    let issuer = Issuer::from_params(&authority, &key);
    let of_leaf = KeyPair::generate().expect("a key");
    let leaf = params(&["localhost"])
        .signed_by(&of_leaf, &issuer)
        .expect("a certificate");
    let authority = authority.self_signed(&key).expect("a certificate");

    let reversed = format!("{}{}", authority.pem(), leaf.pem());
    is_wrong(
        read(&reversed, &of_leaf.serialize_pem()),
        "certificate",
        "belongs to certificate 2",
    );
}

#[test]
fn a_certificate_is_valid_from_its_first_second_to_its_last() {
    let good = made(&params(&["localhost"]));
    let at = |seconds| {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        Identity::of_pem(
            good.leaf.as_bytes(),
            good.key.as_bytes(),
            Purpose::Server,
            now,
        )
    };
    // 2026-01-01 and 2027-01-01.
    let (first, last) = (1_767_225_600, 1_798_761_600);
    at(first).expect("valid");
    at(last).expect("valid");
    is_wrong(
        at(first - 1),
        "certificate",
        "not valid before 2026-01-01T00:00:00Z",
    );
    is_wrong(
        at(last + 1),
        "certificate",
        "expired at 2027-01-01T00:00:00Z",
    );
}

#[test]
fn only_a_server_needs_a_name() {
    let nameless = made(&params(&[]));
    is_wrong(
        read(&nameless.leaf, &nameless.key),
        "certificate",
        "subject alternative name",
    );
    let (leaf, key) = (nameless.leaf.as_bytes(), nameless.key.as_bytes());
    Identity::of_pem(leaf, key, Purpose::Client, today()).expect("a client's identity");
}

#[test]
fn a_certificate_without_a_usable_list_of_names_has_none() {
    assert_eq!(names_of(&CertificateDer::from(vec![0; 8])), []);
    let nameless = made(&params(&[]));
    let der = CertificateDer::from_pem_slice(nameless.leaf.as_bytes()).expect("PEM");
    assert_eq!(names_of(&der), []);
}

#[test]
fn host_names_and_uris_of_a_certificate_are_its_names() {
    let mut params = params(&["CRM.example", "127.0.0.1"]);
    let uri = "spiffe://example/Crm".try_into().expect("ascii");
    params.subject_alt_names.push(SanType::URI(uri));
    let der = CertificateDer::from_pem_slice(made(&params).leaf.as_bytes()).expect("PEM");
    let expected = ["crm.example", "spiffe://example/Crm"];
    let expected = expected.map(|name| Name::parse(name).expect("a name"));
    assert_eq!(names_of(&der), expected);
}

#[test]
fn a_listed_name_is_a_host_name_or_a_uri() {
    let dns = |name: &str| Some(Name::Dns(name.to_owned()));
    for (text, name) in [
        ("CRM.Example", dns("crm.example")),
        ("a_b-1", dns("a_b-1")),
        (
            "spiffe://Example/x",
            Some(Name::Uri("spiffe://Example/x".to_owned())),
        ),
        ("", None),
        ("*.example", None),
        ("a..b", None),
        (".a", None),
        ("a b", None),
        ("127.0.0.1", None),
        ("a@b", None),
        ("://x", None),
        ("x://", None),
        ("x y://z", None),
        ("h\u{e9}.example", None),
        (&"a".repeat(64), None),
        (&format!("x://{}", "y".repeat(2045)), None),
    ] {
        assert_eq!(Name::parse(text), name, "{text}");
    }
}
