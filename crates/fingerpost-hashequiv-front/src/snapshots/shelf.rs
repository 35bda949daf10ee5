//! Which snapshots there are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use fingerpost_core::{EntryNames, Redirects};
use fingerpost_signatures::{KeyId, SIGNATURE_BYTES_MAX, Signature, UnixTime};
use fingerpost_snapshot::{Digest, MANIFEST_BYTES_MAX, Manifest, read_signature};
use tokio::sync::Mutex;

use super::{Elsewhere, Shard};

/// The directory is looked at so often at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Directories that are looked at, at most.
const SNAPSHOTS_MAX: usize = 1000;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 255;

/// A directory with a directory for each snapshot, which others put there and take
/// away. Those that are not whole, or are no snapshots, are not there.
pub struct SnapshotShelf {
    directory: PathBuf,
    published_only: bool,
    seen: Mutex<Option<Seen>>,
    elsewhere: Option<Arc<Elsewhere>>,
    withheld: Withheld,
}

/// Whether a shelf's snapshots are kept from clients for now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Withheld(Arc<AtomicBool>);

impl Withheld {
    /// Says so.
    pub fn set(&self, is_withheld: bool) {
        self.0.store(is_withheld, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Seen {
    at: Instant,
    all: Arc<[Arc<Shelved>]>,
}

/// What is told of a snapshot.
#[derive(Debug)]
pub(crate) struct Shelved {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) position: u64,
    pub(crate) epoch: u64,
    pub(crate) created: UnixTime,
    pub(crate) left_out: u64,
    pub(crate) rows: u64,
    /// Of all its shards.
    pub(crate) bytes: u64,
    /// The key that its signature names; nobody has verified it.
    pub(crate) signed_by: Option<KeyId>,
    shards: HashMap<Digest, u64>,
    path: PathBuf,
    stamp: Stamp,
}

/// By which a file is known again: when it was written, and its length.
type FileStamp = Option<(SystemTime, u64)>;

/// Of a manifest and its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(FileStamp, FileStamp);

impl SnapshotShelf {
    /// The snapshots in `directory`, which need not be there yet; with
    /// `published_only` those alone that have a signature.
    pub fn new(directory: PathBuf, published_only: bool) -> Self {
        Self {
            directory,
            published_only,
            seen: Mutex::default(),
            elsewhere: None,
            withheld: Withheld::default(),
        }
    }

    /// Keeps snapshots from clients while `withheld` says so.
    #[must_use]
    pub fn withheld_by(mut self, withheld: Withheld) -> Self {
        self.withheld = withheld;
        self
    }

    pub(crate) fn is_withheld(&self) -> bool {
        self.withheld.is_set()
    }

    /// Sends clients to these targets for shards that lie there, under names of these.
    #[must_use]
    pub fn redirecting_to(mut self, targets: Arc<dyn Redirects>, names: EntryNames) -> Self {
        self.elsewhere = Some(Arc::new(Elsewhere::new(targets, names)));
        self
    }

    pub(crate) const fn elsewhere(&self) -> Option<&Arc<Elsewhere>> {
        self.elsewhere.as_ref()
    }

    /// Those of a namespace, the newest first.
    pub(crate) async fn of(&self, namespace: &str) -> io::Result<Vec<Arc<Shelved>>> {
        let all = self.all().await?;
        let own = all.iter().filter(|one| one.namespace == namespace);
        Ok(own.cloned().collect())
    }

    /// The one of this name, if it is of the namespace.
    pub(crate) async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> io::Result<Option<Arc<Shelved>>> {
        let all = self.all().await?;
        let mut named = all.iter().filter(|one| one.name == name).cloned();
        let found = match named.next() {
            None if is_name(name) => self.find_new(name).await?,
            found => found,
        };
        Ok(found.filter(|one| one.namespace == namespace))
    }

    /// One that was not there a moment ago: another server, which looked since, may have
    /// sent the client here. It is opened by its name, since a network file system may
    /// list an old directory for longer than that.
    async fn find_new(&self, name: &str) -> io::Result<Option<Arc<Shelved>>> {
        let (path, name) = (self.directory.join(name), name.to_owned());
        let looking = tokio::task::spawn_blocking(move || look_at(name, path, None));
        let found = looking.await.map_err(io::Error::other)?;
        let found = found.filter(|one| self.shows(one));
        if let (Some(found), Some(seen)) = (&found, &mut *self.seen.lock().await) {
            let mut all = seen.all.to_vec();
            all.retain(|one| one.name != found.name);
            all.push(Arc::clone(found));
            seen.all = sorted(all);
        }
        Ok(found)
    }

    fn shows(&self, one: &Shelved) -> bool {
        one.signed_by.is_some() || !self.published_only
    }

    /// All of them, the newest first, as they were a moment ago.
    async fn all(&self) -> io::Result<Arc<[Arc<Shelved>]>> {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = &*seen
            && seen.at.elapsed() < LOOK_EVERY
        {
            return Ok(Arc::clone(&seen.all));
        }
        let known = seen.as_ref().map(|seen| Arc::clone(&seen.all));
        let directory = self.directory.clone();
        let looking = tokio::task::spawn_blocking(move || look(&directory, known.as_deref()));
        let mut all = looking.await.map_err(io::Error::other)??;
        all.retain(|one| self.shows(one));
        let all = sorted(all);
        *seen = Some(Seen {
            at: Instant::now(),
            all: Arc::clone(&all),
        });
        Ok(all)
    }
}

fn look(directory: &Path, known: Option<&[Arc<Shelved>]>) -> io::Result<Vec<Arc<Shelved>>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries.take(SNAPSHOTS_MAX) {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if is_name(&name) {
            let path = directory.join(&name);
            all.extend(look_at(name, path, known));
        }
    }
    Ok(all)
}

/// What lies at a path, if that is a snapshot: as it is known, unless it was changed.
fn look_at(name: String, path: PathBuf, known: Option<&[Arc<Shelved>]>) -> Option<Arc<Shelved>> {
    let stamp = Stamp(
        stamp(&path.join("manifest.json")),
        stamp(&path.join("manifest.sig")),
    );
    let mut known = known.unwrap_or_default().iter();
    match known.find(|one| one.name == name && one.stamp == stamp) {
        Some(known) => Some(Arc::clone(known)),
        None => read(name, path, stamp).map(Arc::new),
    }
}

/// The newest first.
fn sorted(mut all: Vec<Arc<Shelved>>) -> Arc<[Arc<Shelved>]> {
    all.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)));
    all.into()
}

/// Names that need no care in a URL, and are not hidden.
fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= NAME_BYTES_MAX && !name.starts_with('.') && name.bytes().all(is_part)
}

fn stamp(path: &Path) -> FileStamp {
    let file = fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

/// What a directory holds, if that is a snapshot.
fn read(name: String, path: PathBuf, stamp: Stamp) -> Option<Shelved> {
    let manifest = read_file(&path.join("manifest.json"), MANIFEST_BYTES_MAX).ok()?;
    let manifest = Manifest::parse(&manifest).ok()?;
    let signature = read_file(&path.join("manifest.sig"), SIGNATURE_BYTES_MAX + 1);
    let signature = signature.ok().and_then(|bytes| {
        let signature = Signature::parse(read_signature(&bytes));
        signature.ok()
    });
    let mut shards = HashMap::new();
    for (_, shard) in manifest.shards() {
        shards.insert(shard.sha256, shard.bytes);
        if let Some(side) = &shard.signatures {
            shards.insert(side.sha256, side.bytes);
        }
    }
    Some(Shelved {
        name,
        position: manifest.position,
        epoch: manifest.epoch,
        created: manifest.created,
        left_out: manifest.left_out,
        rows: manifest.rows(),
        bytes: shards.values().sum(),
        signed_by: signature.map(|signature| signature.key()),
        namespace: manifest.namespace,
        shards,
        path,
        stamp,
    })
}

fn read_file(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Shelved {
    /// The bytes of its manifest.
    pub(crate) async fn manifest(&self) -> io::Result<Vec<u8>> {
        self.file("manifest.json", MANIFEST_BYTES_MAX).await
    }

    /// The bytes of its signature.
    pub(crate) async fn signature(&self) -> io::Result<Vec<u8>> {
        self.file("manifest.sig", SIGNATURE_BYTES_MAX + 1).await
    }

    async fn file(&self, name: &'static str, bytes_max: usize) -> io::Result<Vec<u8>> {
        let path = self.path.join(name);
        let reading = tokio::task::spawn_blocking(move || read_file(&path, bytes_max));
        reading.await.map_err(io::Error::other)?
    }

    /// Whether a shard or side shard of this name is one of it; its bytes then.
    pub(crate) fn shard_bytes(&self, digest: &Digest) -> Option<u64> {
        self.shards.get(digest).copied()
    }

    /// Opens a shard of it.
    pub(crate) async fn shard(&self, digest: &Digest, bytes: u64) -> io::Result<Shard> {
        let path = self.path.join("shards").join(digest.to_string());
        Shard::open(path, bytes).await
    }
}
