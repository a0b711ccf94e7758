//! The table of states of a policy document. The shipped one is the service's own table ("Status and substatus
//! transition states").

use crate::referral::{Guarded, State};

/// Which status may follow which, and with which substatus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTable {
    /// One row a status, in the document's order.
    pub rows: Vec<StateRow>,
}

/// What may be done with a referral in one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The status.
    pub status: String,
    /// The status it may have after the write.
    pub next: Vec<String>,
    /// The substatus it may have.
    pub substatus: Vec<String>,
    /// Whether the substatus may change while the status stays.
    pub substatus_may_change: bool,
}

impl StateRow {
    pub(super) fn allows(&self, substatus: &str) -> bool {
        self.substatus.iter().any(|allowed| allowed == substatus)
    }

    /// How to say what goes with this status.
    pub(super) fn pairing(&self) -> String {
        let one_of = if self.substatus.len() > 1 {
            "one of "
        } else {
            ""
        };
        format!(
            "With {}, send {one_of}{}.",
            self.status,
            list(self.substatus.iter().map(String::as_str))
        )
    }
}

impl StateTable {
    /// The row of a status; values compare exactly.
    pub fn row(&self, status: &str) -> Option<&StateRow> {
        self.rows.iter().find(|row| row.status == status)
    }

    /// Whether a referral that stands there can be judged.
    pub fn knows(&self, state: &State) -> bool {
        self.row(&state.status)
            .is_some_and(|row| row.substatus_may_change || state.substatus.is_some())
    }

    /// Every status, or every substatus.
    pub(super) fn values(&self, member: Guarded) -> impl Iterator<Item = &str> + Clone {
        let values = self.rows.iter().flat_map(move |row| match member {
            Guarded::Substatus => row.substatus.as_slice(),
            Guarded::Id | Guarded::ETag | Guarded::Status | Guarded::Links => {
                std::slice::from_ref(&row.status)
            }
        });
        values.map(String::as_str)
    }
}

/// Values as a sentence lists them.
pub(super) fn list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.collect::<Vec<_>>().join(", ")
}
