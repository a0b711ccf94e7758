//! `certificate`: a local CA and a certificate, for clients that verify strictly.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    commands::{Ended, ended, program},
    support::{
        page::{blocks, check_same, only, rows, section, ticked},
        tools::{self, shell},
    },
};

mod clients;
mod renew;

const FILES: [&str; 5] = ["ca.pem", "ca.key", "tls.crt", "tls.key", "bundle.pem"];

/// A machine with one public root, and a folder in which the command makes another.
struct Machine {
    home: TempDir,
    /// The folder with the public root and its certificate.
    public: PathBuf,
    /// The folder of the command.
    folder: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let [public, folder] = ["public", "tls"].map(|name| home.path().join(name));
        let machine = Self {
            home,
            public,
            folder,
        };
        let public = machine.public.to_str().unwrap();
        let made = ended(&mut program(&["certificate", public]));
        assert_eq!(made.code, Some(0), "{}", made.err);
        machine
    }

    /// The command for the folder, with further arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&["certificate"]);
        command
            .arg(&self.folder)
            .args(arguments)
            .env("SSL_CERT_FILE", self.public.join("ca.pem"));
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs what must succeed.
    #[track_caller]
    fn make(&self, arguments: &[&str]) -> Ended {
        let made = self.run(arguments);
        assert_eq!(made.code, Some(0), "{}", made.err);
        made
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// All that is in the folder.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.folder)
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The names in a certificate.
fn names(pem: &str) -> Vec<String> {
    let der = der(pem);
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => format!("{octets:?}"),
        other => panic!("{other}"),
    };
    names.value.general_names.iter().map(text).collect()
}

/// The side of a server with a pair of files; it is an error if they do not fit.
fn server(folder: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(folder.join("tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

/// Whether a client that trusts the certificates of a file reaches a server under a name.
async fn reaches(server: Arc<ServerConfig>, trusted: &Path, name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(trusted).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = TlsConnector::from(Arc::new(client));
    let (client, server) = tokio::join!(
        client.connect(name, near),
        TlsAcceptor::from(server).accept(far)
    );
    client.is_ok() && server.is_ok()
}

#[test]
fn keys_and_folder_are_for_their_owner_only() {
    let machine = Machine::new();
    // The least strict mask leaves the modes as the program asks for them.
    let program = machine.command(&[]);
    let mut sh = shell("sh");
    sh.args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    let made = ended(sh.env("SSL_CERT_FILE", machine.public.join("ca.pem")));
    assert_eq!(made.code, Some(0), "{}", made.err);

    assert_eq!(mode(&machine.folder), 0o700);
    let modes = FILES.map(|file| mode(&machine.path(file)));
    assert_eq!(modes, [0o644, 0o600, 0o644, 0o600, 0o644]);
    assert_eq!(machine.files().len(), FILES.len());
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    for file in FILES {
        let machine = Machine::new();
        fs::create_dir(&machine.folder).unwrap();
        set_mode(&machine.folder, 0o700);
        fs::write(machine.path(file), "mine").unwrap();

        let refused = machine.run(&[]);

        assert_eq!((refused.code, &*refused.out), (Some(1), ""), "{file}");
        let path = machine.path(file).display().to_string();
        for told in [&*path, "is there already", "--renew", "another folder"] {
            assert!(refused.err.contains(told), "{told}: {}", refused.err);
        }
        let left = BTreeMap::from([(file.to_owned(), b"mine".to_vec())]);
        assert_eq!(machine.files(), left);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_not_followed() {
    let machine = Machine::new();
    fs::create_dir(&machine.folder).unwrap();
    set_mode(&machine.folder, 0o700);
    let elsewhere = machine.home.path().join("elsewhere");
    symlink(&elsewhere, machine.path("ca.key")).unwrap();

    let refused = machine.run(&[]);

    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("ca.key: is there already"),
        "{}",
        refused.err
    );
    assert!(!elsewhere.exists());
}

#[test]
fn an_existing_folder_is_used_if_nobody_else_can_open_it() {
    let machine = Machine::new();
    fs::create_dir(&machine.folder).unwrap();
    for open in [0o755, 0o710, 0o707] {
        set_mode(&machine.folder, open);
        let refused = machine.run(&[]);
        assert_eq!((refused.code, machine.files().len()), (Some(1), 0));
        let told = format!("others can open this folder (mode {open:o}); run chmod 700");
        assert!(refused.err.contains(&told), "{}", refused.err);
        assert_eq!(mode(&machine.folder), open);
    }
    set_mode(&machine.folder, 0o700);
    machine.make(&[]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_the_remedy() {
    let machine = Machine::new();
    let home = machine.home.path();
    let missing = home.join("a/b");
    let refused = ended(program(&["certificate"]).arg(&missing));
    assert_eq!(refused.code, Some(1));
    let told = format!("make the folder {} first", home.join("a").display());
    assert!(refused.err.contains(&told), "{}", refused.err);
    assert!(!home.join("a").exists());

    fs::write(home.join("file"), "mine").unwrap();
    let refused = ended(program(&["certificate"]).arg(home.join("file")));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("file: is not a folder"),
        "{}",
        refused.err
    );
}

#[test]
fn what_cannot_be_finished_leaves_nothing_behind() {
    let machine = Machine::new();
    let failed = ended(&mut with_small_disk(&machine, &[]));
    assert_eq!(failed.code, Some(1), "{}", failed.out);
    assert!(
        failed.err.contains("bundle.pem: cannot be written"),
        "{}",
        failed.err
    );
    assert!(!machine.folder.exists());
}

/// The command where only small files can be written, and a machine with so many public roots that the bundle is not
/// small.
fn with_small_disk(machine: &Machine, arguments: &[&str]) -> Command {
    let roots: String = (0..40)
        .map(|n| {
            let certified = rcgen::generate_simple_self_signed([format!("root-{n}")]).unwrap();
            certified.cert.pem()
        })
        .collect();
    let file = machine.home.path().join("roots.pem");
    fs::write(&file, roots).unwrap();
    let program = machine.command(arguments);
    let mut sh = shell("sh");
    sh.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .env("SSL_CERT_FILE", file);
    sh
}

#[test]
fn a_certificate_has_the_names_that_are_asked_for() {
    let local = "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
    for (arguments, expected) in [
        (&[][..], &["localhost", "[127, 0, 0, 1]", local][..]),
        (
            &["--name", "*.SVC.cluster.local", "--name", "10.0.0.7"],
            &["*.svc.cluster.local", "[10, 0, 0, 7]"],
        ),
        (
            &["--name", "a", "--name=b.", "--name", "A", "--name", "b"],
            &["a", "b"],
        ),
    ] {
        let machine = Machine::new();
        machine.make(arguments);
        assert_eq!(names(&machine.text("tls.crt")), expected);
    }
}

#[test]
fn a_wrong_name_is_wrong_usage_and_makes_nothing() {
    let machine = Machine::new();
    for (name, told) in [
        ("https://localhost", "such as gateway.example.com"),
        ("localhost:4280", "without scheme and port"),
        ("me@example.com", "such as gateway.example.com"),
        ("", "such as gateway.example.com"),
        ("*.local", "such as *.svc.cluster.local"),
        ("0.0.0.0", "no client connects to this address"),
    ] {
        let refused = machine.run(&["--name", name]);
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{name}");
        let line = refused.err.replace('\n', " ");
        assert!(line.contains(told), "{name}: {}", refused.err);
    }
    let many: Vec<String> = (0..101).map(|n| format!("--name=n{n}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = machine.run(&many);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("more than 100 names"),
        "{}",
        refused.err
    );
    assert!(!machine.folder.exists());

    many.pop();
    machine.make(&many);
    assert_eq!(names(&machine.text("tls.crt")).len(), 100);
}

#[test]
fn the_certificates_have_the_form_that_strict_verifiers_want() {
    let machine = Machine::new();
    machine.make(&[]);
    let [ca, leaf] = ["ca.pem", "tls.crt"].map(|file| der(&machine.text(file)));
    let (_, ca) = parse_x509_certificate(&ca).unwrap();
    let (_, leaf) = parse_x509_certificate(&leaf).unwrap();

    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = ca.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    let days = |seconds: i64| seconds / (24 * 60 * 60);
    let lasts = |validity: &x509_parser::certificate::Validity| {
        days(validity.not_after.timestamp() - validity.not_before.timestamp())
    };
    assert_eq!(lasts(ca.validity()), 3650);

    let basic = leaf.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && !basic.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap();
    assert!(extended.value.server_auth && !extended.value.client_auth && !extended.value.any);
    assert_eq!(leaf.subject().to_string(), "O=referral-gateway");
    assert_eq!(leaf.issuer(), ca.subject());
    assert_eq!(lasts(leaf.validity()), 397);
    assert!(leaf.validity().not_after < ca.validity().not_after);

    // RFC 5280 4.2.1.1 and 4.2.1.2: the identifier of the issuer's key, and that of its own.
    let identifier = |oid: &str, certificate: &x509_parser::certificate::X509Certificate<'_>| {
        let found = certificate.extensions().iter();
        let mut found = found.filter(|extension| extension.oid.to_id_string() == oid);
        found.next().unwrap().value.to_vec()
    };
    let (own, of_issuer) = ("2.5.29.14", "2.5.29.35");
    assert!(identifier(of_issuer, &leaf).ends_with(&identifier(own, &ca)[2..]));
    assert_ne!(identifier(own, &leaf), identifier(own, &ca));

    let other = der(&fs::read_to_string(machine.public.join("ca.pem")).unwrap());
    let (_, other) = parse_x509_certificate(&other).unwrap();
    assert_ne!(other.subject(), ca.subject());
}

#[tokio::test]
async fn the_pair_serves_clients_that_trust_the_ca_or_the_bundle() {
    let machine = Machine::new();
    machine.make(&[]);
    for file in ["ca.pem", "bundle.pem"] {
        for name in ["localhost", "127.0.0.1", "::1"] {
            let server = server(&machine.folder);
            assert!(reaches(server, &machine.path(file), name).await, "{file}");
        }
        let server = server(&machine.folder);
        assert!(!reaches(server, &machine.path(file), "example.com").await);
    }
    let public = || server(&machine.public);
    assert!(reaches(public(), &machine.path("bundle.pem"), "localhost").await);
    assert!(!reaches(public(), &machine.path("ca.pem"), "localhost").await);
    let own = server(&machine.folder);
    assert!(!reaches(own, &machine.public.join("ca.pem"), "localhost").await);
}

#[test]
fn without_public_roots_there_is_no_bundle_until_there_are_some() {
    let machine = Machine::new();
    let none = machine.home.path().join("none.pem");
    fs::write(&none, "").unwrap();
    let made = ended(machine.command(&[]).env("SSL_CERT_FILE", &none));
    assert_eq!(made.code, Some(0), "{}", made.err);
    let told = "Warning: this machine has no public roots, so bundle.pem was not written: unset SSL_CERT_FILE, which names \
                others, then run the command with --renew\n";
    assert!(made.out.starts_with(told), "{}", made.out);
    for settings in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE="] {
        assert!(!made.out.contains(settings), "{}", made.out);
    }
    assert!(!machine.path("bundle.pem").exists());

    machine.make(&["--renew"]);
    assert!(machine.path("bundle.pem").exists());
    // The old one is better than none.
    let old = machine.text("bundle.pem");
    let renewed = ended(machine.command(&["--renew"]).env("SSL_CERT_FILE", &none));
    assert_eq!(renewed.code, Some(0), "{}", renewed.err);
    assert_eq!(machine.text("bundle.pem"), old);
}

#[test]
fn the_example_on_the_page_works() {
    let section = section("docs/cli.md", "Make a certificate");
    let [script] = blocks(&section, "sh")[..] else {
        panic!("not one shell block in {section}");
    };
    let home = TempDir::new().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_referral-gateway"));
    let path = [program.parent().unwrap(), tools::folder()];
    let mut sh = shell("sh");
    sh.args(["-euc", script])
        .env("HOME", home.path())
        .env("PATH", env::join_paths(path).unwrap());

    let made = ended(&mut sh);

    assert_eq!(made.code, Some(0), "{}", made.err);
    let told = "the certificate for localhost, 127.0.0.1, ::1, valid until ";
    assert_eq!(made.out.matches(told).count(), 2, "{}", made.out);
    let (files, _) = section.split_once("\n\n* **Folder.**").unwrap();
    let listed = rows(files).into_iter().map(|row| only(row[0]));
    check_same(&listed.collect(), &FILES.into());
}

#[test]
fn the_json_has_the_members_on_the_page() {
    let machine = Machine::new();
    let made = machine.make(&["--output", "json"]).json();
    let table = section("docs/cli.md", "Make a certificate");
    let (_, table) = table.split_once("`certificate --output json`").unwrap();
    let page = rows(table).into_iter().map(|row| only(row[0]));
    let members = made.as_object().unwrap();
    check_same(
        &page.collect(),
        &members.keys().map(String::as_str).collect(),
    );
    for row in rows(table) {
        if let Value::Object(inner) = &made[only(row[0])] {
            let told = ticked(row[1]).into_iter().collect();
            check_same(&told, &inner.keys().map(String::as_str).collect());
        }
    }
    let path = machine.path("tls.key");
    assert_eq!(made["tls"]["key_file"], path.to_str().unwrap());
    assert_eq!(made["bundle"]["roots"], 1);
    assert_eq!(made["warnings"], Value::Array(Vec::new()));
}
