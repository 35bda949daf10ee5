//! Snapshots that are read.

use std::path::Path;
use std::sync::OnceLock;

use fingerpost_signatures::KeyRing;

use crate::files::read_all;
use crate::shard::{Index, Shard};
use crate::side::{Side, Signed};
use crate::{
    Damage, Digest, Directory, Files, Hash, Manifest, ReadAt, ShardEntry, SnapshotError, seal,
};

/// Where the rows of shards are once they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// In memory: all bytes of every shard that was asked.
    Memory,
    /// In their files, of which those that were asked stay open; memory has the indexes, half a
    /// byte for each row. What changes in a file after it was first asked is not noticed.
    File,
}

/// A snapshot. Shards are opened, and their digests checked, when they are first asked; the
/// first look-up in each takes some milliseconds, others one read each. Many threads may ask.
pub struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) files: Box<dyn Files>,
    residence: Residence,
    /// As the methods of the manifest.
    shards: Vec<Vec<Opened>>,
}

#[derive(Default)]
struct Opened {
    shard: OnceLock<Shard>,
    side: OnceLock<Side>,
}

impl Snapshot {
    /// Opens a directory that a [`Writer`](crate::Writer) made. With `publishers`, one of them must
    /// have signed the manifest; without, nobody vouches for anything. Which namespace it is of, and how old it is,
    /// the caller must look up in the [manifest](Self::manifest).
    pub fn open(
        directory: &Path,
        residence: Residence,
        publishers: Option<&KeyRing>,
    ) -> Result<Self, SnapshotError> {
        let directory = Directory::open(directory);
        let bytes = directory.manifest()?;
        let manifest = match publishers {
            Some(publishers) => seal::verify(&bytes, &directory.signature()?, publishers)?.0,
            None => Manifest::parse(&bytes).map_err(SnapshotError::Manifest)?,
        };
        Ok(Self::new(manifest, Box::new(directory), residence))
    }

    /// The snapshot with this manifest, which the caller trusts, and shards from `files`.
    pub fn new(manifest: Manifest, files: Box<dyn Files>, residence: Residence) -> Self {
        let methods = manifest.methods.iter();
        let shards =
            methods.map(|method| method.shards.iter().map(|_| Opened::default()).collect());
        Self {
            shards: shards.collect(),
            manifest,
            files,
            residence,
        }
    }

    /// What it is of, and its shards.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The unihash of a taskhash, all of whose 32 bytes are compared.
    pub fn lookup(&self, method: &str, taskhash: &Hash) -> Result<Option<Hash>, SnapshotError> {
        let found = self.find(method, taskhash)?;
        Ok(found.map(|(_, _, unihash)| unihash))
    }

    /// The signature of a row; `None` if there is no such row, or nobody signed it.
    pub fn signature(
        &self,
        method: &str,
        taskhash: &Hash,
    ) -> Result<Option<Signed>, SnapshotError> {
        let Some((place, row, _)) = self.find(method, taskhash)? else {
            return Ok(None);
        };
        let Some((side, name)) = self.side(place)? else {
            return Ok(None);
        };
        side.find(row).map_err(SnapshotError::io(name))
    }

    /// The shard of a row, its number in it, and its unihash.
    fn find(
        &self,
        method: &str,
        taskhash: &Hash,
    ) -> Result<Option<(Place, u32, Hash)>, SnapshotError> {
        let Some(place) = self.place(method, taskhash) else {
            return Ok(None);
        };
        let (shard, name) = self.shard(place)?;
        let found = shard.find(taskhash).map_err(SnapshotError::io(name))?;
        Ok(found.map(|(row, unihash)| (place, row, unihash)))
    }

    fn place(&self, method: &str, taskhash: &Hash) -> Option<Place> {
        let method = self.manifest.method(method)?;
        let shard = self.manifest.methods[method].shard_of(taskhash)?;
        Some(Place { method, shard })
    }

    fn entry(&self, place: Place) -> &ShardEntry {
        &self.manifest.methods[place.method].shards[place.shard]
    }

    fn shard(&self, place: Place) -> Result<(&Shard, &Digest), SnapshotError> {
        let entry = self.entry(place);
        let slot = &self.shards[place.method][place.shard].shard;
        let shard = match slot.get() {
            Some(shard) => shard,
            None => {
                let opened = open_shard(self.files.as_ref(), entry, self.residence)?;
                slot.get_or_init(|| opened)
            }
        };
        Ok((shard, &entry.sha256))
    }

    fn side(&self, place: Place) -> Result<Option<(&Side, &Digest)>, SnapshotError> {
        let Some(entry) = &self.entry(place).signatures else {
            return Ok(None);
        };
        let slot = &self.shards[place.method][place.shard].side;
        let side = match slot.get() {
            Some(side) => side,
            None => {
                let opened = open_side(self.files.as_ref(), self.entry(place), self.residence)?;
                match opened {
                    Some(opened) => slot.get_or_init(|| opened),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some((side, &entry.sha256)))
    }
}

/// A shard by the numbers of its method and itself.
#[derive(Clone, Copy, Debug)]
struct Place {
    method: usize,
    shard: usize,
}

/// Opens a shard and checks its digest, and that it is the one of the manifest's entry.
pub(crate) fn open_shard(
    files: &dyn Files,
    entry: &ShardEntry,
    residence: Residence,
) -> Result<Shard, SnapshotError> {
    let (whole, file) = read_checked(files, entry.sha256, entry.bytes)?;
    let index = Index::parse(&whole).map_err(|damage| damaged(entry.sha256, damage))?;
    let shard = match residence {
        Residence::Memory => Shard::new(index, Box::new(whole)),
        Residence::File => Shard::new(index, file),
    };
    if shard.rows() != entry.rows || *shard.first() != entry.first {
        return Err(damaged(entry.sha256, Damage::Manifest));
    }
    Ok(shard)
}

/// Opens the signatures of a shard, if it has any, as [`open_shard`] does.
pub(crate) fn open_side(
    files: &dyn Files,
    entry: &ShardEntry,
    residence: Residence,
) -> Result<Option<Side>, SnapshotError> {
    let Some(entry) = &entry.signatures else {
        return Ok(None);
    };
    let (whole, file) = read_checked(files, entry.sha256, entry.bytes)?;
    let count = Side::parse(&whole).map_err(|damage| damaged(entry.sha256, damage))?;
    if count != entry.rows as usize {
        return Err(damaged(entry.sha256, Damage::Manifest));
    }
    Ok(Some(match residence {
        Residence::Memory => Side::new(count, Box::new(whole)),
        Residence::File => Side::new(count, file),
    }))
}

/// All bytes of a file of a known name and length, which the manifest has bounded, and the file.
fn read_checked(
    files: &dyn Files,
    name: Digest,
    bytes: u64,
) -> Result<(Vec<u8>, Box<dyn ReadAt>), SnapshotError> {
    let file = files.open(&name).map_err(SnapshotError::io(name))?;
    let whole = read_all(file.as_ref(), bytes).map_err(SnapshotError::io(name))?;
    let whole = whole.ok_or_else(|| damaged(name, Damage::Length))?;
    if Digest::of(&whole) != name {
        return Err(damaged(name, Damage::Digest));
    }
    Ok((whole, file))
}

pub(crate) const fn damaged(shard: Digest, damage: Damage) -> SnapshotError {
    SnapshotError::Damaged { shard, damage }
}
