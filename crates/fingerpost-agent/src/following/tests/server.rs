//! A server in memory, whose snapshots are real files.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_signatures::{SigningKey, UnixTime};
use fingerpost_snapshot::{
    About, Change, ChangeWriter, Digest, Hash, Manifest, Since, Writer, publish,
};
use futures_util::stream;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::following::source::{Changes, FollowError, Listed, Listing, Source, Wanted};
use crate::state::DeletionEpoch;

pub(super) const METHOD: &str = "m";
const NAMESPACE: &str = "main";
/// When the first snapshot is cut; the next ones come two hours after each other.
const FIRST: u64 = 1_795_000_000;

/// A hash that follows from a number.
pub(super) fn hash(number: u32) -> Hash {
    *Digest::of(&number.to_be_bytes()).as_bytes()
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(super) struct Server(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    directory: TempDir,
    pub(super) is_up: bool,
    pub(super) history: [u8; 16],
    pub(super) epoch: u64,
    pub(super) position: u64,
    /// Changes are known since here.
    pub(super) floor: u64,
    changes: Vec<Change>,
    rows: BTreeMap<(String, Hash), Hash>,
    pub(super) left_out: u64,
    pub(super) fallbacks: Option<Vec<String>>,
    shelf: Vec<Shelved>,
    /// Shards that come with a wrong byte.
    pub(super) damaged: HashSet<Digest>,
    /// The next answer with changes ends within the line behind so many.
    pub(super) cut_after: Option<usize>,
    pub(super) shards_sent: Vec<Digest>,
    pub(super) asked: Vec<Wanted>,
    /// How far the epoch in the head of an answer is behind.
    pub(super) head_lags: u64,
}

struct Shelved {
    name: String,
    path: PathBuf,
    manifest: Manifest,
}

impl Server {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            directory: tempfile::tempdir().unwrap(),
            is_up: true,
            history: [1; 16],
            epoch: 0,
            position: 0,
            floor: 0,
            changes: Vec::new(),
            rows: BTreeMap::new(),
            left_out: 0,
            fallbacks: Some(Vec::new()),
            shelf: Vec::new(),
            damaged: HashSet::new(),
            cut_after: None,
            shards_sent: Vec::new(),
            asked: Vec::new(),
            head_lags: 0,
        })))
    }

    /// One with rows from 0 to before `rows`.
    pub(super) fn with_rows(rows: u32) -> Self {
        let server = Self::new();
        (0..rows).for_each(|number| server.add(number));
        server
    }

    pub(super) fn inner<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock())
    }

    pub(super) fn add(&self, number: u32) {
        self.add_to(METHOD, number);
    }

    /// A third of the unihashes are no taskhashes.
    pub(super) fn add_to(&self, method: &str, number: u32) {
        let unihash = unihash(number);
        self.inner(|inner| {
            inner.position += 1;
            let key = (method.to_owned(), hash(number));
            inner.rows.insert(key, unihash);
            inner.changes.push(Change::Adopted {
                position: inner.position,
                method: method.to_owned(),
                taskhash: hash(number),
                unihash,
            });
        });
    }

    /// Deletes as the real one does: the row, and then the epoch goes up.
    pub(super) fn delete(&self, number: u32) {
        self.inner(|inner| {
            inner.position += 1;
            inner.rows.remove(&(METHOD.to_owned(), hash(number)));
            inner.changes.push(Change::Deleted {
                position: inner.position,
                method: METHOD.to_owned(),
                taskhash: hash(number),
            });
            inner.raise();
        });
    }

    /// Something is deleted in what the namespace falls back to.
    pub(super) fn raise(&self) {
        self.inner(Inner::raise);
    }

    pub(super) fn epoch(&self) -> DeletionEpoch {
        self.inner(|inner| DeletionEpoch {
            history: inner.history,
            epoch: inner.epoch,
        })
    }

    pub(super) fn row(&self, number: u32) -> Option<Hash> {
        let key = (METHOD.to_owned(), hash(number));
        self.inner(|inner| inner.rows.get(&key).copied())
    }

    /// Makes a snapshot, which is two hours newer than the one before.
    pub(super) fn snapshot(&self, name: &str) -> Manifest {
        self.inner(|inner| {
            let created = FIRST + 7200 * inner.shelf.len() as u64;
            let about = About {
                namespace: NAMESPACE.to_owned(),
                epoch: inner.epoch,
                position: inner.position,
                created: UnixTime::new(created).unwrap(),
            };
            let path = inner.directory.path().join(name);
            let mut writer = Writer::create(&path, about).unwrap().with_shard_rows(64);
            writer.leave_out(inner.left_out);
            for ((method, taskhash), unihash) in &inner.rows {
                writer.push(method, taskhash, unihash, None).unwrap();
            }
            let manifest = writer.finish(|| true).unwrap();
            let shelved = Shelved {
                name: name.to_owned(),
                path,
                manifest: manifest.clone(),
            };
            inner.shelf.insert(0, shelved);
            manifest
        })
    }

    /// Takes a snapshot away, so that another one can have its name.
    pub(super) fn withdraw(&self, name: &str) {
        self.inner(|inner| {
            let gone = inner.shelf.extract_if(.., |shelved| shelved.name == name);
            gone.for_each(|shelved| fs::remove_dir_all(shelved.path).unwrap());
        });
    }

    pub(super) fn publish(&self, name: &str, key: &SigningKey) {
        self.inner(|inner| {
            let shelved = inner.find(name).unwrap();
            let time = UnixTime::new(FIRST).unwrap();
            publish(&shelved.path, &shelved.manifest, key, time).unwrap();
        });
    }

    /// Forgets everything, as after a restored backup.
    pub(super) fn restore(&self) {
        self.inner(|inner| {
            inner.history[0] += 1;
            inner.position += 1 << 32;
            inner.floor = inner.position;
            inner.changes.clear();
            let shelf = inner.shelf.drain(..);
            shelf.for_each(|shelved| fs::remove_dir_all(shelved.path).unwrap());
        });
    }

    fn up(&self) -> Result<(), FollowError> {
        match self.inner(|inner| inner.is_up) {
            true => Ok(()),
            false => Err(FollowError::Failed("nobody is there".to_owned())),
        }
    }

    /// Answers at once if there is something, or nothing is known.
    fn told(&self, wanted: Wanted) -> Result<(bool, Changes), FollowError> {
        self.up()?;
        self.inner(|inner| inner.told(wanted))
    }
}

/// What a row is mapped to.
pub(super) fn unihash(number: u32) -> Hash {
    match number.is_multiple_of(3) {
        true => hash(number + 1_000_000),
        false => hash(number),
    }
}

impl Inner {
    fn raise(&mut self) {
        self.position += 1;
        self.epoch += 1;
        let (position, epoch) = (self.position, self.epoch);
        self.changes.push(Change::Epoch { position, epoch });
    }

    fn find(&self, name: &str) -> Result<&Shelved, FollowError> {
        let found = self.shelf.iter().find(|shelved| shelved.name == name);
        found.ok_or_else(|| FollowError::Failed("no such snapshot".to_owned()))
    }

    fn told(&mut self, wanted: Wanted) -> Result<(bool, Changes), FollowError> {
        let position = wanted.since.unwrap_or(self.position);
        if position < self.floor || position > self.position {
            return Err(FollowError::Gone);
        }
        let epoch_before = |change: &Change| match change {
            Change::Epoch { epoch, .. } => Some(epoch - 1),
            _ => None,
        };
        let later = |change: &&Change| change.position() > position;
        let mut after = self.changes.iter().filter(later);
        let since = Since {
            namespace: NAMESPACE.to_owned(),
            epoch: after.find_map(epoch_before).unwrap_or(self.epoch),
            position,
        };
        let is_told = |change: &&Change| {
            later(change) && !(wanted.deletions_only && matches!(change, Change::Adopted { .. }))
        };
        let changes: Vec<_> = self
            .changes
            .iter()
            .filter(is_told)
            .take(wanted.limit)
            .collect();
        let end = match changes.last() {
            Some(last) if changes.len() == wanted.limit => last.position(),
            _ => self.position,
        };
        let mut writer = ChangeWriter::new(Vec::new(), &since).unwrap();
        changes
            .iter()
            .for_each(|change| writer.write_change(change).unwrap());
        let is_empty = changes.is_empty();
        let mut bytes = writer.end(end).unwrap();
        if !is_empty && let Some(lines) = self.cut_after.take() {
            let mut ends = (0..bytes.len()).filter(|at| bytes[*at] == b'\n');
            let cut = ends.nth(lines).unwrap_or(0) + 5;
            bytes.truncate(cut);
        }
        let parts: Vec<_> = bytes.chunks(100).map(<[u8]>::to_vec).collect();
        let parts = parts.into_iter().map(|part| Ok(part.into()));
        let changes = Changes {
            epoch: DeletionEpoch {
                history: self.history,
                epoch: self.epoch.saturating_sub(self.head_lags),
            },
            body: Box::pin(stream::iter(parts)),
        };
        Ok((is_empty, changes))
    }
}

impl Source for Server {
    async fn snapshots(&self) -> Result<Listing, FollowError> {
        self.up()?;
        self.inner(|inner| {
            let listed = |shelved: &Shelved| Listed {
                name: shelved.name.clone(),
                position: shelved.manifest.position,
                created: shelved.manifest.created,
            };
            Ok(Listing {
                snapshots: inner.shelf.iter().map(listed).collect(),
                fallbacks: inner.fallbacks.clone(),
            })
        })
    }

    async fn manifest(&self, name: &str) -> Result<Vec<u8>, FollowError> {
        self.up()?;
        self.inner(|inner| Ok(inner.find(name)?.manifest.to_bytes()))
    }

    async fn signature(&self, name: &str) -> Result<Option<Vec<u8>>, FollowError> {
        self.up()?;
        self.inner(|inner| Ok(fs::read(inner.find(name)?.path.join("manifest.sig")).ok()))
    }

    async fn shard(
        &self,
        name: &str,
        digest: &Digest,
        _: u64,
        into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), FollowError> {
        self.up()?;
        let bytes = self.inner(|inner| {
            inner.shards_sent.push(*digest);
            let path = inner.find(name)?.path.join("shards");
            let mut bytes = fs::read(path.join(digest.to_string())).unwrap();
            if inner.damaged.contains(digest) {
                bytes[100] ^= 1;
            }
            Ok::<_, FollowError>(bytes)
        })?;
        let written = into.write_all(&bytes).await;
        written.map_err(|error| FollowError::Failed(error.to_string()))
    }

    async fn changes(&self, wanted: Wanted) -> Result<Changes, FollowError> {
        self.inner(|inner| inner.asked.push(wanted));
        let until = Instant::now() + wanted.wait;
        loop {
            let (is_empty, changes) = self.told(wanted)?;
            if !is_empty || Instant::now() >= until {
                return Ok(changes);
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}
