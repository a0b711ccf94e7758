//! `certificate --renew`: a new certificate of the same CA.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::{FILES, Machine, mode, names, reaches, server, set_mode, with_small_disk};
use crate::commands::{ended, program};

#[tokio::test]
async fn the_ca_stays_and_the_certificate_is_new() {
    let machine = Machine::new();
    machine.make(&["--name", "gateway.example.com", "--name", "10.0.0.7"]);
    let old = machine.files();

    let renewed = machine.make(&["--renew"]);

    let new = machine.files();
    assert!(new.keys().eq(old.keys()), "{:?}", new.keys());
    for file in ["ca.pem", "ca.key", "bundle.pem"] {
        assert_eq!(new[file], old[file], "{file}");
    }
    for file in ["tls.crt", "tls.key"] {
        assert_ne!(new[file], old[file], "{file}");
    }
    assert_eq!(
        names(&machine.text("tls.crt")),
        ["gateway.example.com", "[10, 0, 0, 7]"]
    );
    let name = "gateway.example.com";
    assert!(reaches(server(&machine.folder), &machine.path("ca.pem"), name).await);
    let told = "Settings and clients stay as they are";
    assert!(renewed.out.contains(told), "{}", renewed.out);
}

#[test]
fn names_that_are_given_replace_the_old_ones() {
    let machine = Machine::new();
    machine.make(&["--name", "old"]);
    machine.make(&["--renew", "--name", "new"]);
    assert_eq!(names(&machine.text("tls.crt")), ["new"]);

    fs::remove_file(machine.path("tls.crt")).unwrap();
    let refused = machine.run(&["--renew"]);
    assert_eq!(refused.code, Some(1));
    let told =
        "tls.crt: there is no such file; name what clients connect to: --renew --name localhost";
    assert!(refused.err.contains(told), "{}", refused.err);
    machine.make(&["--renew", "--name", "localhost"]);
}

#[test]
fn files_keep_the_mode_that_their_owner_has_set_but_keys_are_never_for_everybody() {
    let machine = Machine::new();
    machine.make(&[]);
    for (set, kept) in [(0o640, 0o640), (0o644, 0o640), (0o400, 0o400)] {
        set_mode(&machine.path("tls.key"), set);
        set_mode(&machine.path("tls.crt"), 0o640);
        machine.make(&["--renew"]);
        assert_eq!(mode(&machine.path("tls.key")), kept);
        assert_eq!(mode(&machine.path("tls.crt")), 0o640);
    }
}

#[test]
fn the_bundle_is_refreshed() {
    let machine = Machine::new();
    machine.make(&[]);
    fs::write(machine.path("bundle.pem"), "old").unwrap();
    machine.make(&["--renew"]);
    let public = fs::read_to_string(machine.public.join("ca.pem")).unwrap();
    assert_eq!(machine.text("bundle.pem"), machine.text("ca.pem") + &public);

    // A bundle that was made out of itself keeps what it has, and says so.
    let bundle = machine.text("bundle.pem");
    let mut renew = machine.command(&["--renew"]);
    let renewed = ended(renew.env("SSL_CERT_FILE", machine.path("bundle.pem")));
    assert_eq!(renewed.code, Some(0), "{}", renewed.err);
    let told = "Warning: SSL_CERT_FILE names the old bundle.pem";
    assert!(renewed.out.starts_with(told), "{}", renewed.out);
    assert_eq!(machine.text("bundle.pem"), bundle);
}

#[test]
fn a_ca_that_cannot_be_used_is_refused_and_nothing_changes() {
    let params = || CertificateParams::new([]).unwrap();
    let ca = |change: fn(&mut CertificateParams)| {
        let mut params = params();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (other, other_key) = ca(|_| {});
    let (expired, expired_key) = ca(|params| params.not_after = date_time_ymd(2020, 2, 3));
    let (early, early_key) = ca(|params| params.not_before = date_time_ymd(2100, 4, 5));
    let (leaf, leaf_key) = ca(|params| params.is_ca = IsCa::ExplicitNoCa);
    for (files, told) in [
        (
            &[("ca.pem", None)][..],
            "ca.pem: there is no such file; name the folder of the CA",
        ),
        (
            &[("ca.key", None)],
            "ca.key: there is no such file; put the key of the CA back",
        ),
        (&[("ca.pem", Some("text"))], "ca.pem: not PEM: "),
        (&[("ca.key", Some("text"))], "ca.key: not a key as PEM; "),
        (
            &[("ca.key", Some(&other_key))],
            "ca.key: not the key of the CA in ca.pem; put the right file back",
        ),
        (
            &[("ca.pem", Some(&other))],
            "ca.key: not the key of the CA in ca.pem",
        ),
        (
            &[("ca.pem", Some(&expired)), ("ca.key", Some(&expired_key))],
            "ca.pem: the CA has expired (2020-02-03T00:00:00Z); make a new CA in another folder",
        ),
        (
            &[("ca.pem", Some(&early)), ("ca.key", Some(&early_key))],
            "ca.pem: the CA is not valid before 2100-04-05T00:00:00Z; set the clock",
        ),
        (
            &[("ca.pem", Some(&leaf)), ("ca.key", Some(&leaf_key))],
            "ca.pem: not the certificate of a CA",
        ),
        (&[("tls.crt", Some("text"))], "tls.crt: not PEM: "),
    ] {
        let machine = Machine::new();
        machine.make(&[]);
        for (file, text) in files {
            match text {
                Some(text) => fs::write(machine.path(file), text).unwrap(),
                None => fs::remove_file(machine.path(file)).unwrap(),
            }
        }
        let before = machine.files();

        let refused = machine.run(&["--renew"]);

        assert_eq!((refused.code, &*refused.out), (Some(1), ""), "{told}");
        assert!(refused.err.contains(told), "{told}: {}", refused.err);
        assert_eq!(machine.files(), before, "{told}");
    }
}

#[test]
fn a_ca_of_somebody_else_can_sign_and_its_end_is_the_end() {
    let machine = Machine::new();
    machine.make(&[]);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let in_a_day = std::time::Duration::from_secs(now.unwrap().as_secs() + 24 * 60 * 60);
    params.not_after = date_time_ymd(1970, 1, 1) + in_a_day;
    fs::write(
        machine.path("ca.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    fs::write(machine.path("ca.key"), key.serialize_pem()).unwrap();

    let renewed = machine.make(&["--renew", "--output", "json"]).json();

    assert_eq!(renewed["tls"]["not_after"], renewed["ca"]["not_after"]);
    let warning = renewed["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("the certificate ends with the CA"),
        "{warning}"
    );
}

#[test]
fn what_cannot_be_finished_leaves_the_old_files() {
    let machine = Machine::new();
    machine.make(&[]);
    let before = machine.files();
    let failed = ended(&mut with_small_disk(&machine, &["--renew"]));
    assert_eq!(failed.code, Some(1), "{}", failed.out);
    assert!(
        failed.err.contains("bundle.pem: cannot be written"),
        "{}",
        failed.err
    );
    assert_eq!(machine.files(), before);
    assert_eq!(before.len(), FILES.len());
}

#[test]
fn there_is_nothing_to_renew_in_an_empty_folder() {
    let machine = Machine::new();
    let nothing = machine.run(&["--renew"]);
    assert_eq!(nothing.code, Some(1));
    let told = "ca.pem: there is no such file; name the folder of the CA, or make a new one without --renew";
    assert!(nothing.err.contains(told), "{}", nothing.err);
    assert!(!machine.folder.exists());

    let relative =
        ended(program(&["certificate", "--renew", "."]).current_dir(machine.home.path()));
    let path = Path::new(machine.home.path()).join("ca.pem");
    assert!(
        relative.err.contains(path.to_str().unwrap()),
        "{}",
        relative.err
    );
}
