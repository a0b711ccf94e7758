//! A local CA and a certificate for the listeners: makes both in a folder, and renews the certificate.
//!
//! Strict verifiers decide the form: Python 3.13 wants key identifiers and a critical `basicConstraints`, macOS and
//! browsers bound the time.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use authority::{Authority, Leaf};
use bundle::Bundle;
use files::Folder;

mod authority;
mod bundle;
mod error;
mod files;
mod names;

pub use error::Error;
pub use files::Item;
pub use names::{Name, Names, NoName, TooManyNames};

/// When a certificate is valid, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: SystemTime,
    /// Until then.
    pub until: SystemTime,
}

/// What stands in the folder now.
#[derive(Debug)]
pub struct Made {
    folder: Folder,
    /// The subject of the CA.
    pub authority: String,
    /// When the CA is valid.
    pub authority_validity: Validity,
    /// The names in the certificate.
    pub names: Names,
    /// When the certificate is valid.
    pub validity: Validity,
    /// The number of public roots in the bundle; none if it was not written.
    pub roots: Option<usize>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

impl Made {
    fn of(folder: Folder, authority: Authority, names: Names, leaf: &Leaf, bundle: Bundle) -> Self {
        Self {
            folder,
            authority: authority.subject,
            authority_validity: authority.validity,
            names,
            validity: leaf.validity,
            roots: bundle.roots(),
            warnings: bundle.warnings,
        }
    }

    /// The folder, as an absolute path.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file in the folder.
    pub fn path(&self, item: Item) -> PathBuf {
        self.folder.path_of(item)
    }
}

/// Makes a CA and a certificate that it signs.
///
/// # Errors
///
/// When a file is there already, or cannot be written. Then nothing is left of what was made.
pub fn make(folder: &Path, names: Names) -> Result<Made, Error> {
    let folder = Folder::of(folder)?;
    folder.check_free()?;
    let now = now();
    let (authority, pem, key) = Authority::make(&folder, now)?;
    let leaf = authority.sign(&folder, &names, now)?;
    let bundle = Bundle::of(&folder, &authority);

    let mut files = vec![
        (Item::AuthorityKey, key.as_str()),
        (Item::Authority, &pem),
        (Item::Key, &leaf.key),
        (Item::Certificate, &leaf.certificate),
    ];
    files.extend(bundle.pem.as_deref().map(|pem| (Item::Bundle, pem)));
    folder.create(&files)?;
    Ok(Made::of(folder, authority, names, &leaf, bundle))
}

/// Makes a new key and a new certificate, which the CA in the folder signs. Without `names` it has those of the old
/// certificate.
///
/// # Errors
///
/// When the CA is missing, cannot be used, or a file cannot be written. Then the old files stay.
pub fn renew(folder: &Path, names: Option<Names>) -> Result<Made, Error> {
    let folder = Folder::of(folder)?;
    let now = now();
    let authority = Authority::read(&folder, now)?;
    let names = match names {
        Some(names) => names,
        None => authority::names_in(&folder)?,
    };
    let leaf = authority.sign(&folder, &names, now)?;
    let mut bundle = Bundle::of(&folder, &authority);

    // The pair goes last: what fails before it leaves the old pair.
    let bundle_file = bundle.pem.as_deref().map(|pem| (Item::Bundle, pem));
    let pair = [
        (Item::Key, leaf.key.as_str()),
        (Item::Certificate, &leaf.certificate),
    ];
    let files: Vec<_> = bundle_file.into_iter().chain(pair).collect();
    folder.replace(&files)?;
    if leaf.validity.until == authority.validity.until {
        bundle.warnings.push(
            "the certificate ends with the CA, which cannot be renewed: make a new CA in another folder, and let clients \
             trust both until the old one has ended"
                .to_owned(),
        );
    }
    Ok(Made::of(folder, authority, names, &leaf, bundle))
}

/// The time in whole seconds, as certificates have it.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UNIX_EPOCH + Duration::from_secs(since.unwrap_or_default().as_secs())
}
