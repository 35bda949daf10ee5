//! What changed since the position of a snapshot, in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fingerpost_snapshot::{Change, Hash};
use foldhash::fast::RandomState;
use parking_lot::RwLock;

/// Tables. 500,000 changes in as many fill each of them by nearly seven eighths, which is when it
/// would double: 43 MB.
const PARTS: usize = 18;
/// Names of methods. There are a handful.
const METHODS_MAX: usize = 4096;

type Part = HashMap<(u16, Hash), Option<Hash>, RandomState>;

/// The changes. One task writes, any thread asks.
pub(super) struct Overlay {
    parts: [RwLock<Part>; PARTS],
    methods: RwLock<HashMap<Box<str>, u16, RandomState>>,
    entries: AtomicUsize,
    lacks_additions: AtomicBool,
    additions_max: usize,
    entries_max: usize,
}

/// There are more deletions than are kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Overlay {
    /// Without changes. Over `additions_max` entries additions are let go, over `entries_max` deletions
    /// are refused.
    pub(super) fn new(additions_max: usize, entries_max: usize) -> Self {
        Self {
            parts: std::array::from_fn(|_| RwLock::default()),
            methods: RwLock::default(),
            entries: AtomicUsize::new(0),
            lacks_additions: AtomicBool::new(false),
            additions_max,
            entries_max,
        }
    }

    /// What a task is mapped to: `Some(None)` if that was deleted, `None` if nothing changed.
    pub(super) fn get(&self, method: &str, taskhash: &Hash) -> Option<Option<Hash>> {
        let method = *self.methods.read().get(method)?;
        let part = self.part(taskhash).read();
        part.get(&(method, *taskhash)).copied()
    }

    /// Takes a change, behind all others.
    pub(super) fn apply(&self, change: &Change) -> Result<(), Full> {
        match change {
            Change::Adopted {
                method,
                taskhash,
                unihash,
                ..
            } => {
                // A mapping never becomes another one: what is let go is not known here
                // in another way, or is known to be deleted, and has an entry.
                let is_kept = self.set(method, taskhash, Some(*unihash), self.additions_max);
                if !is_kept {
                    self.lacks_additions.store(true, Ordering::Release);
                }
                Ok(())
            }
            Change::Deleted {
                method, taskhash, ..
            } => match self.set(method, taskhash, None, self.entries_max) {
                true => Ok(()),
                false => Err(Full),
            },
            Change::Epoch { .. } => Ok(()),
        }
    }

    /// Sets an entry, if it is there already or there are fewer than `limit`.
    fn set(&self, method: &str, taskhash: &Hash, unihash: Option<Hash>, limit: usize) -> bool {
        let Some(method) = self.intern(method) else {
            return false;
        };
        let mut part = self.part(taskhash).write();
        if let Some(entry) = part.get_mut(&(method, *taskhash)) {
            *entry = unihash;
            return true;
        }
        if self.len() >= limit {
            return false;
        }
        part.insert((method, *taskhash), unihash);
        self.entries.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn intern(&self, name: &str) -> Option<u16> {
        if let Some(known) = self.methods.read().get(name) {
            return Some(*known);
        }
        let mut methods = self.methods.write();
        let next = u16::try_from(methods.len()).ok()?;
        if methods.len() >= METHODS_MAX {
            return None;
        }
        Some(*methods.entry(name.into()).or_insert(next))
    }

    fn part(&self, taskhash: &Hash) -> &RwLock<Part> {
        // Hashes are random already.
        let number = u16::from_be_bytes([taskhash[0], taskhash[1]]);
        &self.parts[usize::from(number) % PARTS]
    }

    /// Changes that are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether no addition was let go.
    pub(super) fn is_complete(&self) -> bool {
        !self.lacks_additions.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(taskhash: u8, unihash: u8) -> Change {
        Change::Adopted {
            position: 1,
            method: "m".to_owned(),
            taskhash: [taskhash; 32],
            unihash: [unihash; 32],
        }
    }

    fn deleted(taskhash: u8) -> Change {
        Change::Deleted {
            position: 1,
            method: "m".to_owned(),
            taskhash: [taskhash; 32],
        }
    }

    #[test]
    fn the_last_change_of_a_task_counts() {
        let overlay = Overlay::new(10, 20);
        assert_eq!(overlay.get("m", &[1; 32]), None);
        overlay.apply(&added(1, 7)).unwrap();
        assert_eq!(overlay.get("m", &[1; 32]), Some(Some([7; 32])));
        assert_eq!(overlay.get("n", &[1; 32]), None);
        overlay.apply(&deleted(1)).unwrap();
        assert_eq!(overlay.get("m", &[1; 32]), Some(None));
        overlay.apply(&added(1, 8)).unwrap();
        assert_eq!(overlay.get("m", &[1; 32]), Some(Some([8; 32])));
        assert_eq!(overlay.len(), 1);
    }

    #[test]
    fn additions_are_let_go_before_deletions_are_refused() {
        let overlay = Overlay::new(2, 4);
        for number in 0..2 {
            overlay.apply(&added(number, 9)).unwrap();
        }
        assert!(overlay.is_complete());
        overlay.apply(&added(2, 9)).unwrap();
        assert!(!overlay.is_complete());
        assert_eq!(overlay.get("m", &[2; 32]), None);
        for number in 3..5 {
            overlay.apply(&deleted(number)).unwrap();
        }
        // Those that are there can change.
        overlay.apply(&deleted(0)).unwrap();
        overlay.apply(&added(3, 9)).unwrap();
        assert_eq!(overlay.apply(&deleted(5)), Err(Full));
        assert_eq!(overlay.len(), 4);
    }
}
