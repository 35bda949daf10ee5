//! Telling others of changes, so that nothing that was deleted comes back to them.

use std::sync::Arc;

use fingerpost_snapshot::{Change, Hash};

use super::source::Heard;
use crate::state::DeletionEpoch;

/// Deletions that may wait for their epoch; with more everything is forgotten.
const UNCOVERED_MAX: usize = 100_000;

/// Who is told, and up to where.
///
/// A server tells a deletion before or after the epoch that covers it, and a stream may be
/// cut in between. So deletions are told as they come, and those since the last epoch once more
/// with the next one: what was put where it is remembered meanwhile, with the epoch of before, is
/// removed then.
pub(super) struct Telling<H> {
    heard: Arc<H>,
    /// The last one that was told.
    epoch: DeletionEpoch,
    position: u64,
    /// Deleted since the last epoch.
    uncovered: Vec<(String, Hash)>,
    has_too_many: bool,
    /// Where the first of them came after.
    covered: u64,
}

impl<H: Heard> Telling<H> {
    /// Goes on where it was told up to `position`, at this epoch.
    pub(super) fn resume(heard: Arc<H>, epoch: DeletionEpoch, position: u64) -> Self {
        heard.moved(epoch);
        Self {
            heard,
            epoch,
            position,
            uncovered: Vec::new(),
            has_too_many: false,
            covered: position,
        }
    }

    /// Begins here. What was deleted before nobody knows, so nothing holds that was remembered.
    pub(super) fn begin(heard: Arc<H>, epoch: DeletionEpoch, position: u64) -> Self {
        let telling = Self::resume(heard, epoch, position);
        telling.all_gone();
        telling
    }

    /// Nothing holds that was remembered until now.
    pub(super) fn all_gone(&self) {
        self.heard.all_gone();
        // From here on it does again.
        self.heard.moved(self.epoch);
    }

    pub(super) const fn history(&self) -> [u8; 16] {
        self.epoch.history
    }

    /// Up to where everything was told.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// From where to go on after a restart.
    pub(super) const fn covered(&self) -> u64 {
        self.covered
    }

    /// Tells the next change. Where reads fall back to other namespaces, what was deleted there is not told,
    /// but that something was: the epoch goes up.
    pub(super) fn tell(&mut self, change: &Change, falls_back: bool) {
        let before = self.position;
        self.position = change.position();
        match change {
            Change::Adopted {
                method,
                taskhash,
                unihash,
                ..
            } => self.heard.changed(method, taskhash, Some(*unihash)),
            Change::Deleted {
                method, taskhash, ..
            } => {
                if self.is_covered() {
                    self.covered = before;
                }
                self.heard.changed(method, taskhash, None);
                match self.uncovered.len() < UNCOVERED_MAX {
                    true => self.uncovered.push((method.clone(), *taskhash)),
                    false => self.has_too_many = true,
                }
                return;
            }
            Change::Epoch { epoch, .. } => self.cover(*epoch, falls_back),
        }
        self.cover_up_to_here();
    }

    /// Everything up to `position` was told.
    pub(super) fn reach(&mut self, position: u64) {
        self.position = self.position.max(position);
        self.cover_up_to_here();
    }

    fn cover_up_to_here(&mut self) {
        if self.is_covered() {
            self.covered = self.position;
        }
    }

    const fn is_covered(&self) -> bool {
        self.uncovered.is_empty()
    }

    fn cover(&mut self, epoch: u64, falls_back: bool) {
        self.epoch.epoch = epoch;
        self.heard.moved(self.epoch);
        if falls_back || self.has_too_many {
            self.all_gone();
        } else {
            for (method, taskhash) in &self.uncovered {
                self.heard.changed(method, taskhash, None);
            }
        }
        self.uncovered.clear();
        self.has_too_many = false;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Said(Mutex<Vec<String>>);

    impl Heard for Said {
        fn moved(&self, epoch: DeletionEpoch) {
            self.0.lock().push(format!("epoch {}", epoch.epoch));
        }

        fn changed(&self, _: &str, taskhash: &Hash, unihash: Option<Hash>) {
            let how = if unihash.is_some() { "new" } else { "gone" };
            self.0.lock().push(format!("{how} {}", taskhash[0]));
        }

        fn all_gone(&self) {
            self.0.lock().push("all gone".to_owned());
        }

        async fn settle(&self) -> bool {
            true
        }
    }

    fn telling() -> (Arc<Said>, Telling<Said>) {
        let said = Arc::new(Said::default());
        let epoch = DeletionEpoch {
            history: [1; 16],
            epoch: 3,
        };
        let telling = Telling::begin(Arc::clone(&said), epoch, 10);
        assert_eq!(*said.0.lock(), ["epoch 3", "all gone", "epoch 3"]);
        said.0.lock().clear();
        (said, telling)
    }

    fn deleted(position: u64, taskhash: u8) -> Change {
        Change::Deleted {
            position,
            method: "m".to_owned(),
            taskhash: [taskhash; 32],
        }
    }

    #[test]
    fn a_deletion_is_told_again_with_the_epoch_that_covers_it() {
        let (said, mut telling) = telling();
        telling.tell(&deleted(11, 1), false);
        telling.tell(&deleted(12, 2), false);
        telling.reach(15);
        // A start would have to hear of both again.
        assert_eq!((telling.position(), telling.covered()), (15, 10));
        let epoch = Change::Epoch {
            position: 16,
            epoch: 4,
        };
        telling.tell(&epoch, false);
        let all = ["gone 1", "gone 2", "epoch 4", "gone 1", "gone 2"];
        assert_eq!(*said.0.lock(), all);
        assert_eq!((telling.position(), telling.covered()), (16, 16));
    }

    #[test]
    fn with_a_fallback_nothing_holds_after_a_deletion() {
        let (said, mut telling) = telling();
        let epoch = Change::Epoch {
            position: 11,
            epoch: 4,
        };
        telling.tell(&epoch, true);
        assert_eq!(*said.0.lock(), ["epoch 4", "all gone", "epoch 4"]);
    }
}
