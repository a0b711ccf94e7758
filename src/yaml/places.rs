//! The place of each value of a text.

use std::collections::HashMap;

use super::node::{Node, place};

pub use super::node::Place;

/// The place of the value at `path`; the elements of a list are named by their index from 0.
pub fn locate(text: &str, path: &[&str]) -> Option<Place> {
    Places::of(text).get(path)
}

/// The place of every value of a text.
#[derive(Debug, Default)]
pub struct Places(HashMap<Vec<String>, Place>);

impl Places {
    /// A text that cannot be read has no places.
    pub fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Some(root) = Node::of(text) {
            places.add(&mut Vec::new(), &root);
        }
        places
    }

    /// The place of the value at `path`; the elements of a list are named by their index from 0.
    pub fn get(&self, path: &[&str]) -> Option<Place> {
        let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        self.0.get(&path).copied()
    }

    fn add(&mut self, path: &mut Vec<String>, node: &Node) {
        self.0.insert(path.clone(), place(node.0.referenced));
        for (name, _, child) in node.children() {
            path.push(name);
            self.add(path, child);
            path.pop();
        }
    }
}
