//! Valid settings that are probably mistakes.

use super::load::Config;
use crate::yaml;

impl Config {
    /// The valid settings that are probably mistakes.
    pub fn warnings(&self) -> Vec<String> {
        let empty = self.file().filter(|_| self.layers.is_empty).map(|path| {
            format!(
                "{}: the file is empty, so it sets nothing; `config show` prints one to begin with",
                path.display()
            )
        });
        let tenants = &self.settings.tenants;
        let odd = tenants.known.iter().filter(|known| {
            tenants.header.is_none()
                && (known.id.len() != 36 || uuid::Uuid::try_parse(&known.id).is_err())
        });
        let odd = odd.map(|known| {
            let key = format!("tenants.known.{}.id", known.alias);
            let place = self.layers.leaves.get(&key);
            format!(
                "{}: `{key}` is {}: not a GUID. A token's `tid` is a GUID, so no token will match; write the tenant's id, or set tenants.header",
                place.map_or_else(String::new, |leaf| leaf.origin.to_string()),
                yaml::quoted(&known.id)
            )
        });
        empty.into_iter().chain(odd).collect()
    }
}
