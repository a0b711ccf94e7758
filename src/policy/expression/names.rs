//! Names of members as the expressions of a policy spell them.

use std::collections::HashMap;

use crate::referral::folded;

/// The names that loops of expressions may compare with, as the expressions of a policy spell them.
///
/// A loop over the members of an object sees their names, and compares them exactly. So that no spelling slips through,
/// it sees each name as the expressions spell it. Where they disagree, such a loop is an error.
#[derive(Debug, Clone, Default)]
pub struct Names(HashMap<String, Option<String>>);

impl Names {
    pub(super) fn of<'a>(spellings: impl IntoIterator<Item = &'a String>) -> Self {
        let mut names = HashMap::new();
        for name in spellings {
            names
                .entry(folded(name).into_owned())
                .and_modify(|known: &mut Option<String>| {
                    if known.as_ref() != Some(name) {
                        *known = None;
                    }
                })
                .or_insert_with(|| Some(name.clone()));
        }
        Self(names)
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(folded(name).as_ref())
    }

    /// The spelling of a folded name: the inner value is `None` where the expressions disagree.
    pub(super) fn spelling(&self, folded: &str) -> Option<&Option<String>> {
        self.0.get(folded)
    }
}
