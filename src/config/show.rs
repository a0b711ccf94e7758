//! Shows the settings in force.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::load::Config;
use crate::{upstream::Target, yaml};

impl Config {
    /// The settings in force as YAML, with the origin of each as a comment if `origins` is set. They hold no secret.
    pub fn show(&self, origins: bool) -> String {
        let mut lines = String::new();
        show(&self.nested(), "", &mut lines, &|key| {
            let leaf = self.layers.leaves.get(key).filter(|_| origins)?;
            Some(leaf.origin.to_string())
        });
        lines
    }

    /// The settings in force, and the origin of each by its dotted key. They hold no secret.
    pub fn to_json(&self) -> Value {
        let origins = self.layers.leaves.iter();
        let origins: Map<String, Value> = origins
            .map(|(key, leaf)| (key.clone(), leaf.origin.to_string().into()))
            .collect();
        let mut shown = json!({ "settings": self.nested(), "origins": origins });
        if let (Value::Object(shown), false) = (&mut shown, self.waiting.is_empty()) {
            let waiting = self.waiting.iter().cloned().collect();
            shown.insert("waiting_for_restart".to_owned(), waiting);
        }
        shown
    }

    /// The settings file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.layers.file.as_deref()
    }

    /// The upstream's URL, or `simulator`.
    pub fn upstream(&self) -> String {
        match &self.settings.upstream.target {
            _ if self.simulator.is_some() => "simulator".to_owned(),
            Target::Simulator => "simulator".to_owned(),
            Target::Service { scheme, authority } => format!("{scheme}://{authority}"),
        }
    }

    fn nested(&self) -> Map<String, Value> {
        let mut root = Map::new();
        for (key, leaf) in &self.layers.leaves {
            let mut names = key.split('.');
            let Some(last) = names.next_back() else {
                continue;
            };
            let inner = names.try_fold(&mut root, |map, name| {
                let empty = || Value::Object(Map::new());
                map.entry(name).or_insert_with(empty).as_object_mut()
            });
            if let Some(inner) = inner {
                inner.insert(last.to_owned(), leaf.value.clone());
            }
        }
        root
    }
}

fn show(
    map: &Map<String, Value>,
    prefix: &str,
    lines: &mut String,
    origin: &impl Fn(&str) -> Option<String>,
) {
    let indent = "  ".repeat(prefix.matches('.').count());
    for (name, value) in map {
        let key = format!("{prefix}{name}");
        let value = match value {
            Value::Object(inner) => {
                lines.push_str(&format!("{indent}{name}:\n"));
                show(inner, &format!("{key}."), lines, origin);
                continue;
            }
            Value::String(text) => yaml::scalar(text),
            other => other.to_string(),
        };
        let comment = origin(&key).map_or_else(String::new, |origin| format!("  # {origin}"));
        lines.push_str(&format!("{indent}{name}: {value}{comment}\n"));
    }
}
