//! The leave to send a write.

/// The leave to send a write. Only judging gives it, for the write that was judged, and it is spent by
/// [`Write::into_parts`](super::Write::into_parts). No driver can make one:
///
/// ```compile_fail,E0423
/// let clearance = referral_gateway::policy::judging::Clearance(());
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Clearance(pub(in crate::policy) ());
