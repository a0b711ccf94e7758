//! The folder: its files and how they are created.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{self, Path, PathBuf},
};

use super::error::Error;

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

    /// Checks that no file would be overwritten, and that nobody else can open the folder.
    pub(super) fn check_free(&self) -> Result<(), Error> {
        for item in Item::ALL {
            let path = self.path_of(item);
            if path.symlink_metadata().is_ok() {
                let remedy = "name another folder";
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
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
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
