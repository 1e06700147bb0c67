//! What becomes of leases: into the audit log, and to the sessions that depend on them.

use tracing::{error, warn};

use crate::audit::{Audit, Event};
use crate::login::News;
use crate::session::Registry;

/// Tells the audit log and the sessions. Ending sessions does not depend on the log.
pub(super) fn teller(audit: Audit, registry: Registry) -> impl Fn(News<'_>) + Send + Sync {
    move |news| {
        let event = match news {
            News::LeaseOver { lease, over } => {
                let whole = over.is_of_person();
                let sessions = registry.end_where(over.notice(), |_, of| {
                    of.identity == lease.user.identity && (whole || of.lease == lease.id)
                });
                Event::LeaseEnded {
                    user: lease.who(),
                    lease: lease.id,
                    key: lease.key.as_ref().map(ToString::to_string),
                    reason: over.to_string(),
                    sessions,
                }
            }
            News::NotRechecked { lease, cause } => Event::NotRechecked {
                user: lease.who(),
                lease: lease.id,
                reason: cause.to_owned(),
            },
            News::NewKey { lease } => {
                warn!(user = ?lease.user.name, key = ?lease.key, "a known user has a new key");
                Event::KeyEnrolled {
                    user: lease.who(),
                    key: lease.key.as_ref().map(ToString::to_string),
                    source: lease.source,
                }
            }
        };
        if let Err(failed) = audit.record_soon(event) {
            error!(error = %failed, "not audited");
        }
    }
}
