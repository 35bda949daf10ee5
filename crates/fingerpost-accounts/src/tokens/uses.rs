//! Last uses, kept until they are stored together.

use std::collections::HashMap;

use fingerpost_core::Timestamp;
use parking_lot::Mutex;

use super::{TokenInfo, USE_GRAIN};
use crate::recent::micros;

/// Uses that wait at most; more are not noted.
const WAITING_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Uses(Mutex<HashMap<String, Timestamp>>);

impl Uses {
    /// Notes a use at `now`, unless what is stored says almost the same.
    pub(super) fn note(&self, token: &TokenInfo, now: Timestamp) {
        let is_fresh = token
            .used
            .is_some_and(|used| now.0.saturating_sub(used.0) < micros(USE_GRAIN));
        if is_fresh {
            return;
        }
        let mut waiting = self.0.lock();
        if waiting.len() < WAITING_MAX {
            waiting.insert(token.id.clone(), now);
        }
    }

    /// What waits.
    pub(super) fn take(&self) -> Vec<(String, Timestamp)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }
}
