//! The folder: its files, how they are created and how they are replaced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{self, Path, PathBuf},
};

use uuid::Uuid;

use super::error::Error;

/// What is read of a file.
const MAX_BYTES: u64 = 1 << 20;

/// A file in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The certificate of the CA.
    Authority,
    /// The key of the CA.
    AuthorityKey,
    /// The certificate that the gateway shows.
    Certificate,
    /// Its key.
    Key,
    /// The CA and the public roots.
    Bundle,
}

impl Item {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Authority,
        Self::AuthorityKey,
        Self::Certificate,
        Self::Key,
        Self::Bundle,
    ];

    /// The name of the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authority => "ca.pem",
            Self::AuthorityKey => "ca.key",
            Self::Certificate => "tls.crt",
            Self::Key => "tls.key",
            Self::Bundle => "bundle.pem",
        }
    }

    fn mode(self) -> u32 {
        match self {
            Self::AuthorityKey | Self::Key => 0o600,
            Self::Authority | Self::Certificate | Self::Bundle => 0o644,
        }
    }

    /// The mode of a file that replaces one with this mode. A key never is for everybody.
    fn mode_after(self, old: u32) -> u32 {
        match self {
            Self::AuthorityKey | Self::Key => old & 0o770,
            Self::Authority | Self::Certificate | Self::Bundle => old & 0o777,
        }
    }
}

/// The folder, by its absolute path.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(folder: &Path) -> Result<Self, Error> {
        let absolute = path::absolute(folder);
        let absolute = absolute.map_err(|error| Error::unwritten(folder, &error))?;
        Ok(Self(absolute))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn path_of(&self, item: Item) -> PathBuf {
        self.0.join(item.name())
    }

    /// The text of a file.
    pub(super) fn read(&self, item: Item, remedy: &str) -> Result<String, Error> {
        let path = self.path_of(item);
        let read = || {
            let mut text = String::new();
            File::open(&path)?
                .take(MAX_BYTES)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        read().map_err(|error: io::Error| {
            let (what, remedy) = match error.kind() {
                io::ErrorKind::NotFound => ("there is no such file".to_owned(), remedy),
                io::ErrorKind::PermissionDenied => {
                    let remedy = "run the command as a user who can read it";
                    (format!("cannot be read: {error}"), remedy)
                }
                _ => (format!("cannot be read: {error}"), remedy),
            };
            Error::new(path, what, remedy)
        })
    }

    /// Checks that no file would be overwritten, and that nobody else can open the folder.
    pub(super) fn check_free(&self) -> Result<(), Error> {
        for item in Item::ALL {
            let path = self.path_of(item);
            if path.symlink_metadata().is_ok() {
                let remedy = "to renew the certificate run the command with --renew; to make another CA name another folder";
                return Err(Error::new(path, "is there already", remedy));
            }
        }
        match self.0.metadata() {
            Ok(folder) if !folder.is_dir() => Err(Error::new(
                &self.0,
                "is not a folder",
                "name a folder that does not exist yet",
            )),
            Ok(folder) if folder.mode() & 0o077 != 0 => {
                let mode = folder.mode() & 0o777;
                let remedy = "run chmod 700 on it, or name a folder that does not exist yet";
                let what = format!("others can open this folder (mode {mode:03o})");
                Err(Error::new(&self.0, what, remedy))
            }
            _ => Ok(()),
        }
    }

    /// Creates files, all or none; the folder too, if it does not exist.
    pub(super) fn create(&self, files: &[(Item, &str)]) -> Result<(), Error> {
        let mut unfinished = Unfinished::default();
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => unfinished.0.push(self.0.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::unwritten(&self.0, &error)),
        }
        for (item, text) in files {
            let path = self.path_of(*item);
            let file = unfinished.create(&path, item.mode());
            file.and_then(|file| write(file, text))
                .map_err(|error| Error::unwritten(&path, &error))?;
        }
        unfinished.0.clear();
        Ok(())
    }

    /// Replaces files: each stands beside the old one before the first takes its place. They keep owner and mode.
    pub(super) fn replace(&self, files: &[(Item, &str)]) -> Result<(), Error> {
        let mut unfinished = Unfinished::default();
        let mut ready = Vec::new();
        for (item, text) in files {
            let path = self.path_of(*item);
            let new = self
                .0
                .join(format!(".{}.{}", item.name(), Uuid::new_v4().simple()));
            let file = unfinished.create(&new, item.mode());
            let file = file.map_err(|error| Error::unwritten(&path, &error))?;
            keep_owner(*item, &path, &file)?;
            write(file, text).map_err(|error| Error::unwritten(&path, &error))?;
            ready.push((new, path));
        }
        for (new, path) in ready {
            fs::rename(new, &path).map_err(|error| Error::unwritten(&path, &error))?;
        }
        unfinished.0.clear();
        Ok(())
    }
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives a new file to the owner of the old one, who may be the user that the gateway runs as.
fn keep_owner(item: Item, old: &Path, new: &File) -> Result<(), Error> {
    let Ok(old_is) = old.metadata() else {
        return Ok(());
    };
    let keep = || {
        let new_is = new.metadata()?;
        if (old_is.uid(), old_is.gid()) != (new_is.uid(), new_is.gid()) {
            fchown(new, Some(old_is.uid()), Some(old_is.gid()))?;
        }
        new.set_permissions(Permissions::from_mode(item.mode_after(old_is.mode())))
    };
    keep().map_err(|error: io::Error| {
        let (uid, gid) = (old_is.uid(), old_is.gid());
        let what = format!(
            "its successor cannot be given to its owner (user {uid}, group {gid}): {error}"
        );
        Error::new(old, what, "run the command as that user, or as root")
    })
}

/// What is removed again, unless all could be made.
#[derive(Default)]
struct Unfinished(Vec<PathBuf>);

impl Unfinished {
    fn create(&mut self, path: &Path, mode: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(path)?;
        self.0.push(path.to_owned());
        Ok(file)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The folder came first, and it is empty when its files are gone.
        for path in self.0.iter().rev() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}
