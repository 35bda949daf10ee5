//! What is counted of logins. Names begin with `fingerpost_accounts_`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::Door;

/// Counters of logins. Every label is a word of ours, so there are some hundred
/// at most, whatever callers send.
#[derive(Clone, Debug)]
pub(crate) struct LoginMetrics {
    logins: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    door: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

impl Default for LoginMetrics {
    /// With zeros of what alerts ask for: a counter that begins with its first
    /// failure hides it.
    fn default() -> Self {
        let logins = Family::default();
        for door in Door::ALL {
            for (outcome, reason) in [
                ("ok", ""),
                ("wrong", "user"),
                ("throttled", "user"),
                ("throttled", "address"),
            ] {
                let door = door.as_str();
                let labels = Labels {
                    door,
                    outcome,
                    reason,
                };
                drop(logins.get_or_create(&labels));
            }
        }
        Self { logins }
    }
}

impl LoginMetrics {
    pub(crate) fn count(&self, door: Door, outcome: &'static str, reason: &'static str) {
        let door = door.as_str();
        let labels = Labels {
            door,
            outcome,
            reason,
        };
        self.logins.get_or_create(&labels).inc();
    }

    /// Adds the counters to `registry`, whose prefix is `fingerpost`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("accounts");
        let help = "Logins by door, outcome (ok, wrong, not_now, plaintext, throttled, failed) and reason; \
                    over HTTP one for each request that has a login or a mapped certificate";
        registry.register("logins", help, self.logins.clone());
    }
}
