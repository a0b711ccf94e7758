//! One rule: what it looks for, in which requests, and what a finding leads to.

use std::sync::Arc;

use http::StatusCode;

use super::{Check, Condition, Method, Mode, repair::Repair};

/// One rule of a policy document.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name in answers, logs and metrics.
    pub id: Arc<str>,
    /// How many rules stand before it in the document.
    pub place: usize,
    /// What it looks for.
    pub check: Check,
    /// The methods it looks at.
    pub on: Vec<Method>,
    /// What a finding leads to.
    pub mode: Mode,
    /// Other modes for single tenants, by their aliases.
    pub modes: Vec<(String, Mode)>,
    /// The status it answers with, instead of the check's own.
    pub status: Option<StatusCode>,
    /// What may be mended where the mode is [`Mode::Repair`].
    pub repairs: Vec<Repair>,
    /// What must be true, where the check is [`Check::Expression`].
    pub condition: Option<Arc<Condition>>,
}

impl Rule {
    /// Whether it looks at a method.
    pub fn is_on(&self, method: Method) -> bool {
        self.mode != Mode::Off && self.on.contains(&method)
    }

    /// What it must know of a write to be evaluated.
    pub fn needs(&self) -> Needs {
        match self.check {
            // An unreadable body is what `well_formed` looks for.
            Check::WellFormed | Check::IfMatch => Needs::REQUEST,
            Check::LinksRemoved | Check::SameId | Check::SameEtag | Check::PatchOperations => {
                Needs::BODY
            }
            Check::Substatus | Check::Transition => Needs::STATE,
            Check::Expression => {
                self.condition
                    .as_ref()
                    .map_or(Needs::REQUEST, |condition| Needs {
                        body: condition.expression.reads_body(),
                        state: condition.expression.reads_referral(),
                    })
            }
        }
    }
}

/// What a rule must know of a write, beside its URL and header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A body that can be read.
    pub body: bool,
    /// The state of the referral, unless the write itself leaves nothing to judge by it.
    pub state: bool,
}

impl Needs {
    const REQUEST: Self = Self {
        body: false,
        state: false,
    };
    const BODY: Self = Self {
        body: true,
        state: false,
    };
    const STATE: Self = Self {
        body: true,
        state: true,
    };
}
