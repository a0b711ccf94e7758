//! Takes new settings into force while the program runs, as far as `keys` allows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use http::uri::Scheme;
use serde_json::Value;

use super::{
    contents::Contents,
    keys::{self, Change, TlsKeys},
    load::Config,
    read,
};
use crate::{server::tls, upstream::Target};

impl Config {
    /// Whether the simulator stands in for the service.
    pub fn wants_simulator(&self) -> bool {
        self.settings.upstream.target == Target::Simulator
    }

    /// Names the address at which the simulator listens.
    pub fn put_simulator_at(&mut self, address: SocketAddr) {
        self.simulator = Some(address);
        if let Ok(authority) = address.to_string().parse() {
            self.settings.upstream.target = Target::Service {
                scheme: Scheme::HTTP,
                authority,
            };
        }
    }

    /// These settings with the values of `new` that a reload may take into force. The others stay as they are; see
    /// [`Self::waiting`].
    pub fn renewed(&self, new: Self) -> Self {
        let Self {
            settings,
            mut layers,
            files,
            ..
        } = new;
        let mut waiting = Vec::new();
        for (key, leaf) in &mut layers.leaves {
            if let (Some(Change::Restart), Some(running)) =
                (leaf.change, self.layers.leaves.get(key))
                && running.value != leaf.value
            {
                leaf.clone_from(running);
                waiting.push(key.clone());
            }
        }
        // The listener stays where it is, so it keeps the token that protects it if another file is named, or none.
        let keeps_token = waiting.iter().any(|key| key == keys::TOKEN_FILE.0.name);
        let tls = |keys: &TlsKeys, new, running: &Option<tls::Settings>| match keys.wait(&waiting) {
            true => running.clone(),
            false => new,
        };
        let contents = Contents {
            tls: tls(&keys::TLS, settings.tls, &self.settings.tls),
            telemetry_tls: tls(
                &keys::TELEMETRY_TLS,
                settings.admin.telemetry_tls,
                &self.settings.admin.telemetry_tls,
            ),
            token: if keeps_token {
                self.settings.admin.token.clone()
            } else {
                settings.admin.token
            },
            authorities: settings.upstream.authorities,
            client: settings.upstream.client,
            key_set: settings.tenants.key_set,
        };
        let mut renewed = Self {
            settings: read::again(&mut layers, contents),
            layers,
            files,
            simulator: None,
            waiting,
        };
        if let Some(address) = self.simulator {
            renewed.put_simulator_at(address);
        }
        renewed
    }

    /// Whether the settings file says nothing.
    pub fn is_blank(&self) -> bool {
        self.layers.is_blank
    }

    /// The settings that were changed and wait for a restart.
    pub fn waiting(&self) -> &[String] {
        &self.waiting
    }

    /// The settings whose values differ from those of `old`, by their keys. A limit that a tenant inherits is none of its
    /// own.
    pub fn changed_since<'a>(&'a self, old: &'a Self) -> BTreeSet<&'a str> {
        let (new, old) = (self.written(), old.written());
        let differs = |name: &&str| new.get(name) != old.get(name);
        new.keys()
            .chain(old.keys())
            .copied()
            .filter(differs)
            .collect()
    }

    fn written(&self) -> BTreeMap<&str, &Value> {
        let leaves = self.layers.leaves.iter();
        let own = leaves.filter(|(key, leaf)| **key == leaf.key);
        own.map(|(key, leaf)| (key.as_str(), &leaf.value)).collect()
    }

    /// Whether both were read from the same files with the same contents.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.files == other.files
    }
}
