//! Valid settings that are probably mistakes.

use super::{load::Config, origin::Origin, problem::Problem, value::Fault};
use crate::{policy::Policy, tenant::Known};

impl Config {
    /// The valid settings that are probably mistakes. The start logs them.
    pub fn warnings(&self) -> Vec<Problem> {
        let blank = self.file().filter(|_| self.is_blank()).map(|path| {
            let what = "the file sets nothing";
            let remedy = "`config show` prints one to begin with";
            Problem::in_file(path.display(), Fault::new(what, remedy))
        });
        let tenants = &self.settings.tenants;
        let odd = tenants
            .known
            .iter()
            .filter(|known| tenants.header.is_none() && !is_guid(&known.id));
        let odd = odd.filter_map(|known| {
            let what = "not a GUID. A token's `tid` is a GUID, so no token will match";
            let key = format!("tenants.known.{}.id", known.alias);
            self.layers.problem(
                &key,
                Fault::new(what, "write the tenant's id, or set tenants.header"),
            )
        });
        blank.into_iter().chain(odd).collect()
    }

    /// All warnings of `check`: [`Self::warnings`], a data listener that other machines reach, and what settings and
    /// policy say of a tenant to no effect.
    pub fn all_warnings(&self, policy: &Policy) -> Vec<Problem> {
        let mut warnings = self.warnings();
        if !self.settings.listen.ip().to_canonical().is_loopback() && self.settings.tls.is_none() {
            let fault = Fault::new(
                "not a loopback address, so other machines reach the API, and their tokens pass in clear text",
                "listen on 127.0.0.1, or set `tls`",
            );
            warnings.extend(self.layers.problem("listen", fault));
        }
        let tenants = &self.settings.tenants;
        // The `tid` of a token is a GUID, so only the header can name the others.
        let header_only = tenants
            .known
            .iter()
            .filter(|known| tenants.header.is_some() && !is_guid(&known.id));
        for known in header_only {
            warnings.extend(modes_without_effect(known, policy));
            if tenants.key_set.is_some() {
                warnings.extend(self.limits_without_effect(known));
            }
        }
        warnings
    }

    /// With a key set, requests count against the limits of the tenant in a verified token.
    fn limits_without_effect(&self, known: &Known) -> Option<Problem> {
        let key = format!("tenants.known.{}.rate_limit", known.alias);
        let inside = format!("{key}.");
        let mut leaves = self.layers.leaves.iter();
        let (_, leaf) = leaves.find(|(key, leaf)| {
            key.starts_with(&inside) && !matches!(leaf.origin, Origin::Default)
        })?;
        let what = format!(
            "`{key}` has no effect: with tenants.jwks_file, limits belong to the tenant in a verified token, and only tenants.header can name this one, as its id is not a GUID"
        );
        let remedy = "write the tenant's `tid` as its id, or remove these limits";
        Some(Problem::new(&leaf.origin, Fault::new(what, remedy)))
    }
}

/// Modes belong to the tenant in a token.
fn modes_without_effect(known: &Known, policy: &Policy) -> Option<Problem> {
    let (alias, place) = policy.tenants().find(|(alias, _)| *alias == known.alias)?;
    let what = format!(
        "modes: `{alias}` has no effect: modes belong to the tenant in a token, and only tenants.header can name this one, as its id is not a GUID"
    );
    let remedy = "write the tenant's `tid` as its id in the settings, or remove these modes";
    Some(Problem::at(place, Fault::new(what, remedy)))
}

fn is_guid(id: &str) -> bool {
    id.len() == 36 && uuid::Uuid::try_parse(id).is_ok()
}
