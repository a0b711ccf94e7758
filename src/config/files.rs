//! The files that were read, and digests of their contents: a change of content is a change.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::yaml;

/// The files that settings and policy were read from, each with a digest of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Content>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The digest of a file's bytes, or of the names in a folder.
    Digest([u8; 32]),
    /// It could not be read.
    Unreadable,
    /// It is a pipe or the like, which can be read once.
    Once,
}

impl Files {
    /// Reads a file, and remembers the digest of its content.
    pub(super) fn bytes_of(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let is_stream = is_stream(path);
        let bytes = bytes_of(path);
        let content = if is_stream {
            Content::Once
        } else {
            Content::of(&bytes)
        };
        self.0.insert(path.to_owned(), content);
        bytes
    }

    /// The same, as text.
    pub(super) fn text_of(&mut self, path: &Path) -> Result<String, yaml::Error> {
        yaml::text(path, self.bytes_of(path))
    }

    /// The `*.yaml` files of a folder in the order of their names, remembered as well.
    pub(super) fn documents_in(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let documents = documents_in(folder);
        self.0.insert(folder.to_owned(), Content::names(&documents));
        documents
    }

    /// Reads the same files again. It blocks on a disk or a network.
    pub fn look(&self) -> Self {
        let look = |path: &PathBuf| (path.clone(), Content::at(path));
        Self(self.0.keys().map(look).collect())
    }

    /// Whether a file that is in both has different contents.
    pub fn contradict(&self, others: &Self) -> bool {
        self.0
            .iter()
            .any(|(path, content)| others.0.get(path).is_some_and(|other| other != content))
    }

    /// The files whose contents differ from those in `old`, and those that are not in `old`.
    pub fn changed_since(&self, old: &Self) -> impl Iterator<Item = &Path> {
        let files = self.0.iter();
        files
            .filter(|(path, content)| old.0.get(*path) != Some(*content))
            .map(|(path, _)| path.as_path())
    }

    /// A file that cannot be read twice, if there is one.
    pub fn stream(&self) -> Option<&Path> {
        let mut files = self.0.iter();
        let (path, _) = files.find(|(_, content)| **content == Content::Once)?;
        Some(path)
    }

    /// Whether no file was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Content {
    fn at(path: &Path) -> Self {
        if is_stream(path) {
            Self::Once
        } else if path.is_dir() {
            Self::names(&documents_in(path))
        } else {
            Self::of(&bytes_of(path))
        }
    }

    fn of(bytes: &io::Result<Vec<u8>>) -> Self {
        match bytes {
            Ok(bytes) => Self::Digest(Sha256::digest(bytes).into()),
            Err(_) => Self::Unreadable,
        }
    }

    fn names(documents: &io::Result<Vec<PathBuf>>) -> Self {
        let Ok(documents) = documents else {
            return Self::Unreadable;
        };
        let names = documents.iter().map(|path| path.as_os_str());
        let digest = names.fold(Sha256::new(), |digest, name| {
            digest
                .chain_update(name.as_encoded_bytes())
                .chain_update([0])
        });
        Self::Digest(digest.finalize().into())
    }
}

fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir())
}

fn documents_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = folder.read_dir()?;
    let mut documents: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
                && path.is_file()
        })
        .collect();
    documents.sort();
    Ok(documents)
}

/// The bytes of a file: at most one more than [`yaml::MAX_BYTES`].
pub fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(yaml::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
