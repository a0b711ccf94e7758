//! What the simulator does, and how sure it is that the service does the same.

mod table;

use std::fmt::{self, Display, Formatter};

use self::table::BEHAVIOURS;

/// How a behaviour is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A page of Microsoft, or its connector's Swagger file, says so.
    Documented,
    /// It was seen in a recorded answer of the service.
    Observed,
    /// Nobody says; this is the simulator's choice.
    Assumed,
}

impl Display for Evidence {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Documented => "documented",
            Self::Observed => "observed",
            Self::Assumed => "assumed",
        })
    }
}

/// One thing that the simulator does.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// What it does.
    pub what: &'static str,
    /// How this is known.
    pub status: Evidence,
    /// Where it is written or was seen; for an assumption, what speaks for it.
    pub source: &'static str,
}

impl Display for Behaviour {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<10}  {}", self.status, self.what)?;
        write!(formatter, "\n{:<10}  - {}", "", self.source)
    }
}

/// Everything the simulator does.
pub fn behaviours() -> &'static [Behaviour] {
    BEHAVIOURS
}

/// [`behaviours`] as plain text, with a heading.
pub fn behaviour_table() -> String {
    let count = |status| BEHAVIOURS.iter().filter(|one| one.status == status).count();
    let mut table = format!(
        "What the simulator does: {} documented, {} observed, {} assumed.\n",
        count(Evidence::Documented),
        count(Evidence::Observed),
        count(Evidence::Assumed),
    );
    for behaviour in BEHAVIOURS {
        table.push_str(&format!("\n{behaviour}"));
    }
    table.push('\n');
    table
}

const fn documented(what: &'static str, source: &'static str) -> Behaviour {
    Behaviour {
        what,
        status: Evidence::Documented,
        source,
    }
}

const fn observed(what: &'static str, source: &'static str) -> Behaviour {
    Behaviour {
        what,
        status: Evidence::Observed,
        source,
    }
}

const fn assumed(what: &'static str, source: &'static str) -> Behaviour {
    Behaviour {
        what,
        status: Evidence::Assumed,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{behaviour_table, behaviours};

    #[test]
    fn every_behaviour_is_named_once_and_has_a_source() {
        let mut seen = HashSet::new();
        assert!(behaviours().len() > 50);
        for behaviour in behaviours() {
            assert!(!behaviour.what.is_empty() && !behaviour.source.is_empty());
            assert!(seen.insert(behaviour.what), "twice: {}", behaviour.what);
        }
    }

    #[test]
    fn the_table_shows_every_behaviour() {
        let table = behaviour_table();
        for behaviour in behaviours() {
            assert!(table.contains(behaviour.what), "{}", behaviour.what);
        }
    }
}
