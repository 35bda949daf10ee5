//! Every mapping of a namespace, and what changed since a position: what snapshots
//! and their readers live on.
//!
//! A mapping never changes, it only comes and goes. So who reads the position first
//! and then the mappings page by page, however long that takes, has with the changes
//! since that position what the namespace has: rows that came meanwhile may be there
//! already, which does no harm, and those that went are among the changes.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Failure, Timestamp};
use fingerpost_snapshot::{Change, Signed};
use sha2::{Digest as _, Sha256};

use crate::service::HashEquiv;

/// Where a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last position of its sequence of changes.
    pub position: u64,
    /// Its deletion epoch.
    pub epoch: u64,
}

/// What had been deleted in a namespace and in those it falls back to. As long as it is the
/// same nothing was deleted that a look-up could have found, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionEpoch {
    /// The life of the data of a namespace that falls back as it does, outside of which
    /// `number` and positions mean nothing. No other namespace has it.
    pub history: [u8; 16],
    /// How often something was deleted in it.
    pub number: u64,
}

/// Tells the lives of namespaces in one database from each other, and the life of one from
/// what it is once it falls back to others: what was answered then may not be any more, and
/// nothing was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryMark([u8; 16]);

impl HistoryMark {
    /// That of a namespace: its name, and those of its fallbacks in their order.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut digest = Sha256::new();
        for name in names {
            // No name has a line's end.
            digest.update(name);
            digest.update(b"\n");
        }
        let digest: [u8; 32] = digest.finalize().into();
        Self(std::array::from_fn(|place| digest[place]))
    }

    fn on(self, life: [u8; 16]) -> [u8; 16] {
        std::array::from_fn(|place| life[place] ^ self.0[place])
    }
}

/// A mapping of 32 bytes to 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The method's name.
    pub method: Arc<str>,
    /// The taskhash.
    pub taskhash: [u8; 32],
    /// Its unihash.
    pub unihash: [u8; 32],
    /// The newest signature of its oldest signed row, if it has one.
    pub signed: Option<Signed>,
}

/// Some mappings, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingPage {
    /// In no order that means anything.
    pub rows: Vec<Mapping>,
    /// Mappings that are no snapshot's, because a hash is not 64 lower-case hex
    /// digits or the method's name does not fit.
    pub left_out: u64,
    /// What to ask for next, if there are more.
    pub next: Option<i64>,
}

/// Which changes are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeFilter {
    /// All of them.
    #[default]
    All,
    /// What was deleted, and epochs. Positions of additions are passed over.
    Deletions,
}

/// What is known of changes since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangesSince {
    /// Not everything that was deleted since is known any more, or the position is
    /// none that was ever told.
    Gone {
        /// The oldest position from which changes are known.
        oldest: u64,
        /// The position where the namespace is.
        newest: u64,
    },
    /// Some changes.
    Told(Changes),
}

/// Changes after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The deletion epoch at that position.
    pub epoch: u64,
    /// In the order of their positions.
    pub changes: Vec<Change>,
    /// Everything up to this position was told.
    pub position: u64,
    /// Whether there are no more now.
    pub is_all: bool,
}

/// A job that one process of those on the file does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChoreLease {
    /// Its name.
    pub name: &'static str,
    /// Unless it is held again within this time, another process may do it.
    pub term: Duration,
}

impl HashEquiv {
    /// The deletion epoch with the life of the data that it belongs to. Costs as little as
    /// [`HashEquiv::deletion_epoch`]: what is read from here afterwards is as new at least.
    pub fn epoch_in_history(&self) -> DeletionEpoch {
        // The number first: that of a life that ended meanwhile is too low in the next one.
        let number = self.deletion_epoch();
        let history = self.mark.on(self.store.history());
        DeletionEpoch { history, number }
    }

    /// Where this namespace is now.
    pub async fn cut(&self) -> Result<Cut, Failure> {
        Ok(self.store.cut(self.at.own()).await?)
    }

    /// The next mappings of this namespace after `after` (0 for the first) and none of
    /// those it falls back to. `limit` rows are looked at: that is what it costs.
    pub async fn mappings(&self, after: i64, limit: usize) -> Result<MappingPage, Failure> {
        Ok(self.store.mappings(self.at.own(), after, limit).await?)
    }

    /// At most `limit` changes of this namespace after a position, of those that it
    /// falls back to only that something was deleted.
    pub async fn changes(
        &self,
        since: u64,
        limit: usize,
        filter: ChangeFilter,
    ) -> Result<ChangesSince, Failure> {
        let own = self.at.own();
        Ok(self.store.changes(own, since, limit, filter).await?)
    }

    /// Forgets what was deleted before `before` in whatever namespace, in batches;
    /// returns how many rows went. Call it once a day: when something was deleted is
    /// known as precisely as that.
    pub async fn forget_changes(&self, before: Timestamp) -> Result<u64, Failure> {
        Ok(self.store.forget_changes(before, self.now()).await?)
    }

    /// Takes or prolongs a lease; whether this process has it now.
    pub async fn hold_lease(&self, lease: ChoreLease) -> Result<bool, Failure> {
        Ok(self.store.hold_lease(lease, self.now()).await?)
    }

    /// Takes or prolongs a lease in the name of `holder`, which several processes may bear;
    /// whether that has it now.
    pub async fn hold_lease_as(&self, lease: ChoreLease, holder: &str) -> Result<bool, Failure> {
        let (holder, now) = (holder.to_owned(), self.now());
        Ok(self.store.hold_lease_as(lease, holder, now).await?)
    }

    /// Gives a lease of this process back.
    pub async fn release_lease(&self, lease: ChoreLease) -> Result<(), Failure> {
        Ok(self.store.release_lease(lease).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::HistoryMark;

    #[test]
    fn a_history_is_of_a_name_and_its_fallbacks() {
        let life = [7; 16];
        let told = |names: &[&str]| HistoryMark::of(names.iter().copied()).on(life);
        let release = told(&["release", "default"]);
        assert_eq!(release, told(&["release", "default"]));
        for other in [
            &["release"][..],
            &["release", "lab"],
            &["default", "release"],
            &["releasedefault"],
        ] {
            assert_ne!(release, told(other), "{other:?}");
        }
        let restored = HistoryMark::of(["release", "default"]).on([8; 16]);
        assert_ne!(release, restored);
    }
}
