//! Looking at every row of a snapshot.

use crate::shard::Mapping;
use crate::side::Signed;
use crate::snapshot::{damaged, open_shard, open_side};
use crate::{Damage, Hash, Residence, ShardEntry, Snapshot, SnapshotError};

/// What a snapshot that was verified holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Shards, without side shards.
    pub shards: u64,
    /// Rows.
    pub rows: u64,
    /// Rows whose unihash is their taskhash.
    pub equal: u64,
    /// Rows with a signature, verified or not.
    pub signed: u64,
    /// Bytes of shards.
    pub bytes: u64,
    /// Bytes of side shards.
    pub side_bytes: u64,
}

/// A row of a snapshot that is being verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedRow<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its taskhash.
    pub taskhash: &'a Hash,
    /// Its unihash.
    pub unihash: &'a Hash,
    /// Its signature, at which nobody has looked.
    pub signed: Option<&'a Signed>,
}

impl Snapshot {
    /// Reads every shard and side shard, one after the other, and checks that all are whole, in order and in the
    /// one form there is. `each` is shown every row of a shard once the shard was checked.
    ///
    /// Memory holds one shard with its signatures at a time, 50 MiB at most. Rows are
    /// in the order of method and taskhash.
    pub fn verify_all(
        &self,
        mut each: impl FnMut(VerifiedRow<'_>),
    ) -> Result<Summary, SnapshotError> {
        let mut summary = Summary::default();
        for method in &self.manifest.methods {
            let mut next = method.shards.iter().skip(1);
            for entry in &method.shards {
                let behind = next.next().map(|next| &next.first);
                let (rows, signatures) = self.read(entry, behind)?;
                let mut signatures = signatures.iter().peekable();
                summary.shards += 1;
                summary.bytes += entry.bytes;
                summary.side_bytes += entry.signatures.as_ref().map_or(0, |side| side.bytes);
                for (number, row) in (0..).zip(&rows) {
                    let signed = signatures.next_if(|(row, _)| *row == number);
                    summary.rows += 1;
                    summary.equal += u64::from(row.taskhash == row.unihash);
                    summary.signed += u64::from(signed.is_some());
                    each(VerifiedRow {
                        method: &method.name,
                        taskhash: &row.taskhash,
                        unihash: &row.unihash,
                        signed: signed.map(|(_, signed)| signed),
                    });
                }
            }
        }
        Ok(summary)
    }

    /// Every row and signature of a shard. `behind` is the first taskhash of the next one.
    fn read(&self, entry: &ShardEntry, behind: Option<&Hash>) -> Result<Checked, SnapshotError> {
        let files = self.files.as_ref();
        let shard = open_shard(files, entry, Residence::Memory)?;
        let rows = shard.all().map_err(SnapshotError::io(entry.sha256))?;
        let rows = rows.map_err(|damage| damaged(entry.sha256, damage))?;
        let last = rows.last().map(|row| &row.taskhash);
        if behind.is_some_and(|behind| last >= Some(behind)) {
            return Err(damaged(entry.sha256, Damage::Manifest));
        }
        let Some(side) = open_side(files, entry, Residence::Memory)? else {
            return Ok((rows, Vec::new()));
        };
        let name = entry
            .signatures
            .as_ref()
            .map_or(entry.sha256, |side| side.sha256);
        let signatures = side.all(entry.rows).map_err(SnapshotError::io(name))?;
        let signatures = signatures.map_err(|damage| damaged(name, damage))?;
        Ok((rows, signatures))
    }
}

/// Rows in order, and the signatures of some by their numbers.
type Checked = (Vec<Mapping>, Vec<(u32, Signed)>);
