//! The CA, and what it signs.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use uuid::Uuid;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, time::ASN1Time,
};

use super::{
    Validity,
    error::Error,
    files::{Folder, Item},
    names::{Name, Names},
};

const PRODUCT: &str = "referral-gateway";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a CA is valid.
const AUTHORITY_TIME: Duration = DAY.saturating_mul(3650);

/// How long a certificate is valid. macOS takes 825 days at most from a CA that a user has added, and browsers took 398
/// from public CAs for years: this is below both.
const TIME: Duration = DAY.saturating_mul(397);

/// Clocks of clients may be late by that much.
const CLOCKS: Duration = Duration::from_secs(60 * 60);

const OTHER_AUTHORITY: &str = "put the right file back, or make a new CA in another folder";

/// The CA of a folder, ready to sign.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) subject: String,
    pub(super) validity: Validity,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of the listeners and its key, as PEM.
pub(super) struct Leaf {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) validity: Validity,
}

impl Authority {
    /// Makes one. Returns it with its certificate and its key as PEM.
    pub(super) fn make(folder: &Folder, now: SystemTime) -> Result<(Self, String, String), Error> {
        let failed = |error| unmade(folder, Item::Authority, &error);
        let mut params = CertificateParams::default();
        // Two CAs in one store can be told apart.
        let id = Uuid::new_v4().simple().to_string();
        let name = format!("{PRODUCT} local CA {}", id.get(..8).unwrap_or_default());
        params.distinguished_name = subject();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let validity = Validity {
            from: now - CLOCKS,
            until: now + AUTHORITY_TIME,
        };
        set_validity(&mut params, validity);
        let key = KeyPair::generate().map_err(failed)?;
        let key_pem = key.serialize_pem();
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pem = certificate.pem();
        let authority = Self::of(folder, certificate.into(), key, now)?;
        Ok((authority, pem, key_pem))
    }

    /// Reads the one in the folder.
    pub(super) fn read(folder: &Folder, now: SystemTime) -> Result<Self, Error> {
        let remedy = "name the folder of the CA, or make a new one without --renew";
        let pem = folder.read(Item::Authority, remedy)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| unusable(folder, Item::Authority, &format!("not PEM: {error}")))?;
        let remedy = "put the key of the CA back, or make a new CA in another folder";
        let key = folder.read(Item::AuthorityKey, remedy)?;
        let key = KeyPair::from_pem(&key);
        let key = key.map_err(|_| unusable(folder, Item::AuthorityKey, "not a key as PEM"))?;
        Self::of(folder, certificate, key, now)
    }

    fn of(
        folder: &Folder,
        certificate: CertificateDer<'static>,
        key: KeyPair,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let wrong = |what: &str| unusable(folder, Item::Authority, what);
        let parsed = parse(&certificate).ok_or_else(|| wrong("not a certificate"))?;
        let is_ca = matches!(parsed.basic_constraints(), Ok(Some(basic)) if basic.value.ca);
        let may_sign = match parsed.key_usage() {
            Ok(Some(usage)) => usage.value.key_cert_sign(),
            Ok(None) => true,
            Err(_) => false,
        };
        if !is_ca || !may_sign {
            return Err(wrong("not the certificate of a CA"));
        }
        let validity = Validity {
            from: time(parsed.validity().not_before),
            until: time(parsed.validity().not_after),
        };
        let shown = humantime::format_rfc3339_seconds;
        if validity.until <= now {
            let what = format!("the CA has expired ({})", shown(validity.until));
            let remedy = "make a new CA in another folder, and let the clients trust that one";
            return Err(Error::new(folder.path_of(Item::Authority), what, remedy));
        }
        if now < validity.from {
            let what = format!("the CA is not valid before {}", shown(validity.from));
            let remedy = "set the clock of this machine";
            return Err(Error::new(folder.path_of(Item::Authority), what, remedy));
        }
        let subject = parsed.subject().to_string();
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| wrong(&format!("cannot be used to sign: {error}")))?;
        Ok(Self {
            certificate,
            subject,
            validity,
            issuer,
        })
    }

    /// Makes a key and a certificate for `names`.
    pub(super) fn sign(
        &self,
        folder: &Folder,
        names: &Names,
        now: SystemTime,
    ) -> Result<Leaf, Error> {
        let failed = |error| unmade(folder, Item::Certificate, &error);
        let mut params = CertificateParams::new(names.texts()).map_err(failed)?;
        // Names stand in subjectAltName alone: a common name has 64 characters at most, and no client reads it.
        params.distinguished_name = subject();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let validity = Validity {
            from: self.validity.from.max(now - CLOCKS),
            until: self.validity.until.min(now + TIME),
        };
        set_validity(&mut params, validity);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        self.check(folder, certificate.der())?;
        Ok(Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            validity,
        })
    }

    /// Checks that clients can follow a certificate to this CA: it may be one that another program has made.
    fn check(&self, folder: &Folder, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let (Some(signed), Some(own)) = (parse(certificate), parse(&self.certificate)) else {
            return Err(unusable(folder, Item::Authority, "not a certificate"));
        };
        if signed.verify_signature(Some(own.public_key())).is_err() {
            let what = "not the key of the CA in ca.pem";
            return Err(unusable(folder, Item::AuthorityKey, what));
        }
        if signed.issuer().as_raw() != own.subject().as_raw() {
            let what = "the subject of the CA has a form that cannot be repeated";
            return Err(unusable(folder, Item::Authority, what));
        }
        Ok(())
    }
}

/// The names in the certificate of the folder.
pub(super) fn names_in(folder: &Folder) -> Result<Names, Error> {
    let remedy = "name what clients connect to: --renew --name localhost";
    let wrong = |what: &str| Error::new(folder.path_of(Item::Certificate), what, remedy);
    let pem = folder.read(Item::Certificate, remedy)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let certificate = certificate.map_err(|error| wrong(&format!("not PEM: {error}")))?;
    let parsed = parse(&certificate).ok_or_else(|| wrong("not a certificate"))?;
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Err(wrong("a certificate without names"));
    };
    let mut found = Vec::new();
    for name in &names.value.general_names {
        let text = match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(octets) => address(octets).unwrap_or_default(),
            other => other.to_string(),
        };
        let name = text.parse::<Name>();
        found.push(name.map_err(|_| wrong(&format!("a name cannot be repeated: {text:?}")))?);
    }
    let names = Names::of(found).map_err(|error| wrong(&error.to_string()))?;
    names.ok_or_else(|| wrong("a certificate without names"))
}

fn address(octets: &[u8]) -> Option<String> {
    let ip = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(ip.to_string())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    Some(parse_x509_certificate(certificate).ok()?.1)
}

/// The subject without a common name.
fn subject() -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, PRODUCT);
    subject
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let epoch = date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + since(validity.from);
    params.not_after = epoch + since(validity.until);
}

fn time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}

fn unusable(folder: &Folder, item: Item, what: &str) -> Error {
    Error::new(folder.path_of(item), what, OTHER_AUTHORITY)
}

fn unmade(folder: &Folder, item: Item, error: &rcgen::Error) -> Error {
    let what = format!("cannot be made: {error}");
    Error::new(folder.path_of(item), what, OTHER_AUTHORITY)
}
