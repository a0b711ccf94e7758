//! The series that begin at 0.

use super::{
    Metrics,
    label::{
        AdminRefusal, Admission, Certificate, Class, ConnectionOutcome, Eviction, Listener, Method,
        NotRewritten, OwnFailure, Precondition, Predicted, ReloadResult, ReloadSubject,
        RequestError, Route, Side, SnapshotLookup, SnapshotOrigin, SpanOutcome, State, TenantCount,
        TlsFailure,
    },
};

impl Metrics {
    /// Shows every series whose labels are known in advance.
    pub(super) fn begin(&self) {
        self.requests.begin();
        for &side in Side::ALL {
            self.connections_open.begin(side);
            let outcomes: &[ConnectionOutcome] = match side {
                Side::Downstream => &[
                    ConnectionOutcome::Accepted,
                    ConnectionOutcome::Refused,
                    ConnectionOutcome::Failed,
                ],
                Side::Upstream => &[
                    ConnectionOutcome::Connected,
                    ConnectionOutcome::Failed,
                    ConnectionOutcome::Unsolicited,
                ],
            };
            for &outcome in outcomes {
                self.connections.begin((side, outcome));
            }
        }
        self.request_errors.begin_all(RequestError::ALL);
        self.spans.begin_all(SpanOutcome::ALL);
        self.own_failures.begin_all(OwnFailure::ALL);
        self.not_rewritten.begin_all(NotRewritten::ALL);
        for &listener in Listener::ALL {
            for &reason in TlsFailure::ALL {
                self.tls_failures.begin((listener, reason));
            }
        }
        self.certificate_starts.begin_all(Certificate::ALL);
        self.certificate_ends.begin_all(Certificate::ALL);
        self.upstream.begin();
        for method in [Method::Put, Method::Patch, Method::Delete] {
            for &kind in Precondition::ALL {
                self.preconditions.begin((kind, method));
            }
        }
        self.precondition_failures.begin_all(Predicted::ALL);
        self.snapshot_lookups.begin_all(SnapshotLookup::ALL);
        self.snapshot_updates.begin_all(SnapshotOrigin::ALL);
        self.snapshot_evictions.begin_all(Eviction::ALL);
        for &class in Class::ALL {
            for &outcome in Admission::ALL {
                self.limit_decisions.begin((class, outcome));
            }
        }
        self.limit_tenants.begin_all(TenantCount::ALL);
        for &what in ReloadSubject::ALL {
            for &result in ReloadResult::ALL {
                self.reloads.begin((what, result));
            }
            self.last_reload.set(what, 1);
        }
        self.set_known_tenants([]);
        self.admin_refusals.begin_all(AdminRefusal::ALL);
        self.deprecated.begin(Route::ReferralItem);
        self.set_state(State::Starting);
    }
}
