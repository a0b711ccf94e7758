//! TLS of the listeners, and its renewal.

use std::sync::Arc;

use crate::{
    config::Settings,
    metrics::{Metrics, label::Listener},
    server::tls::{self, Tls},
};

/// TLS of the listeners that have it. A renewal neither adds nor removes it.
#[derive(Clone)]
pub(super) struct Listeners {
    pub(super) data: Option<Arc<Tls>>,
    pub(super) telemetry: Option<Arc<Tls>>,
}

/// What a renewal exchanges.
pub(super) struct Renewal {
    data: Option<tls::InForce>,
    telemetry: Option<tls::InForce>,
}

impl Listeners {
    /// TLS as the settings ask for it.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub(super) fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, rustls::Error> {
        let tls = |settings: &Option<tls::Settings>, listener| {
            let tls = settings
                .as_ref()
                .map(|settings| Tls::new(settings, listener, metrics));
            tls.transpose().map(|tls| tls.map(Arc::new))
        };
        Ok(Self {
            data: tls(&settings.tls, Listener::Data)?,
            telemetry: tls(&settings.admin.telemetry_tls, Listener::Telemetry)?,
        })
    }

    /// What new connections are to be handled by.
    ///
    /// # Errors
    ///
    /// When the settings cannot be used.
    pub(super) fn prepare(&self, settings: &Settings) -> Result<Renewal, rustls::Error> {
        let prepare = |tls: &Option<Arc<Tls>>, settings: &Option<tls::Settings>| {
            let both = tls.as_ref().zip(settings.as_ref());
            both.map(|(tls, settings)| tls.prepare(settings))
                .transpose()
        };
        Ok(Renewal {
            data: prepare(&self.data, &settings.tls)?,
            telemetry: prepare(&self.telemetry, &settings.admin.telemetry_tls)?,
        })
    }

    /// Handles new connections by this; open ones stay.
    pub(super) fn put(&self, renewal: Renewal) {
        for (tls, new) in [
            (&self.data, renewal.data),
            (&self.telemetry, renewal.telemetry),
        ] {
            if let (Some(tls), Some(new)) = (tls, new) {
                tls.put(new);
            }
        }
    }
}
