//! The words of the Referrals API: referral ids, entity tags, and the members of a referral that rules look at.

mod id;
mod members;
mod names;
mod patch;
mod pointer;
mod sighting;
mod text;

#[cfg(test)]
mod tests;

pub use id::{EntityTag, ReferralId, Tags};
pub use members::{Member, Members, Value};
pub use names::{Guarded, Spelling, folded, is_plain, unmask};
pub use patch::{
    Change, Fault, MAX_OPERATIONS, Part, Patch, Touch, Verb, Wrong, place_of_operation,
};
pub use pointer::BadPointer;
pub use sighting::{Sighting, State};
pub use text::{MAX_DEPTH, Unreadable, nests_deeper_than, place, place_of};
