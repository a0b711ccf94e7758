//! The files that were read, and what they said: a change is seen by its content, whoever made it and however.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::yaml;

/// The files that settings and policy were read from, each with a digest of what it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Said>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The digest of a file's bytes, or of the names in a folder.
    This([u8; 32]),
    /// It could not be read.
    Nothing,
    /// It is a pipe or the like, which says a thing once.
    Once,
}

impl Files {
    /// Reads a file, and remembers what it said.
    pub(super) fn bytes_of(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let is_stream = is_stream(path);
        let bytes = yaml::bytes_of(path);
        let said = if is_stream {
            Said::Once
        } else {
            Said::of(&bytes)
        };
        self.0.insert(path.to_owned(), said);
        bytes
    }

    /// The same, as text.
    pub(super) fn text_of(&mut self, path: &Path) -> Result<String, yaml::Error> {
        yaml::text(path, self.bytes_of(path))
    }

    /// The `*.yaml` files of a folder in the order of their names, remembered as well.
    pub(super) fn documents_in(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let documents = documents_in(folder);
        self.0.insert(folder.to_owned(), Said::names(&documents));
        documents
    }

    /// The same files as they are at this moment. It waits for a disk or a network.
    pub fn look(&self) -> Self {
        let look = |path: &PathBuf| (path.clone(), Said::at(path));
        Self(self.0.keys().map(look).collect())
    }

    /// Whether a file of both said one thing here and another there.
    pub fn contradict(&self, others: &Self) -> bool {
        self.0
            .iter()
            .any(|(path, said)| others.0.get(path).is_some_and(|other| other != said))
    }

    /// The files that say something else than in `old`, and those that were not read then.
    pub fn changed_since(&self, old: &Self) -> impl Iterator<Item = &Path> {
        let files = self.0.iter();
        files
            .filter(|(path, said)| old.0.get(*path) != Some(*said))
            .map(|(path, _)| path.as_path())
    }

    /// A file that cannot be read a second time, if there is one.
    pub fn stream(&self) -> Option<&Path> {
        let mut files = self.0.iter();
        let (path, _) = files.find(|(_, said)| **said == Said::Once)?;
        Some(path)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Said {
    fn at(path: &Path) -> Self {
        if is_stream(path) {
            Self::Once
        } else if path.is_dir() {
            Self::names(&documents_in(path))
        } else {
            Self::of(&yaml::bytes_of(path))
        }
    }

    fn of(bytes: &io::Result<Vec<u8>>) -> Self {
        match bytes {
            Ok(bytes) => Self::This(Sha256::digest(bytes).into()),
            Err(_) => Self::Nothing,
        }
    }

    fn names(documents: &io::Result<Vec<PathBuf>>) -> Self {
        let Ok(documents) = documents else {
            return Self::Nothing;
        };
        let names = documents.iter().map(|path| path.as_os_str());
        let digest = names.fold(Sha256::new(), |digest, name| {
            digest
                .chain_update(name.as_encoded_bytes())
                .chain_update([0])
        });
        Self::This(digest.finalize().into())
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
