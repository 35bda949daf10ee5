//! Fetching a snapshot: into a directory beside its place, which it gets in one step once all of
//! it was verified. What is there of an earlier try is kept.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fingerpost_core::with_causes;
use fingerpost_snapshot::{
    Damage, Digest, Directory, Hash, Manifest, MethodShards, Residence, ShardEntry, Snapshot,
    SnapshotError, read_signature, verify,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::place::{Place, sync, write};
use super::source::{FollowError, Listed, Source, Wanted};
use super::view::Opened;
use super::{FollowOptions, blocking};

/// Shards that come at a time.
const AT_ONCE: usize = 2;
/// How long one may take: 8.5 MB at 30 KB/s.
const SHARD_PATIENCE: Duration = Duration::from_secs(300);
/// How long another answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a snapshot was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Nobody signed it who is trusted. Nothing of it was used.
    #[error("not signed by a trusted publisher: {0}")]
    Untrusted(String),
    /// It will not do, and is left alone for an hour.
    #[error("{0}")]
    Unfit(String),
    /// Another time it may come.
    #[error("{0}")]
    Failed(String),
}

impl From<FollowError> for FetchError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Gone => Self::Unfit(error.to_string()),
            FollowError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Who fetches, and into where.
pub(super) struct Fetch<'a, S> {
    pub(super) source: &'a S,
    pub(super) place: &'a Place,
    pub(super) options: &'a FollowOptions,
    /// What is here already: nothing older is taken.
    pub(super) here: Option<Arc<Opened>>,
}

/// What is fetched.
struct Fetched {
    manifest: Arc<Manifest>,
    /// The same without methods.
    empty: Arc<Manifest>,
    partial: PathBuf,
    name: String,
}

/// A shard that is needed, without its signatures: who trusts the publisher needs none.
#[derive(Clone)]
struct Needed {
    method: String,
    entry: ShardEntry,
    /// The first taskhash of the shard behind.
    behind: Option<Hash>,
}

impl<S: Source> Fetch<'_, S> {
    pub(super) async fn fetch(&self, listed: &Listed) -> Result<Opened, FetchError> {
        self.probe(listed.position).await?;
        let fetched = self.begin(&listed.name).await?;
        let (wanted, again) = needed(&fetched.manifest);
        self.check_room(&fetched, &wanted).await?;
        let shards = wanted.into_iter().map(|needed| self.get(&fetched, needed));
        let shards = stream::iter(shards).buffer_unordered(AT_ONCE);
        shards.try_collect::<()>().await?;
        for needed in again {
            fetched.verify(needed).await?.map_err(unfit)?;
        }
        self.put(fetched).await
    }

    /// Whether changes since it are known: if not, all bytes of it would come in vain.
    async fn probe(&self, position: u64) -> Result<(), FetchError> {
        let wanted = Wanted {
            since: Some(position),
            deletions_only: true,
            limit: 1,
            wait: Duration::ZERO,
        };
        within(PATIENCE, self.source.changes(wanted))
            .await
            .map(drop)
    }

    /// Fetches and judges the manifest, and writes it beside what is there of an earlier try.
    async fn begin(&self, name: &str) -> Result<Fetched, FetchError> {
        let bytes = within(PATIENCE, self.source.manifest(name)).await?;
        let signature = within(PATIENCE, self.source.signature(name)).await?;
        let manifest = self.judge(&bytes, signature.as_deref())?;
        let mut empty = manifest.clone();
        empty.methods.clear();
        let fetched = Fetched {
            manifest: Arc::new(manifest),
            empty: Arc::new(empty),
            partial: self.place.partial(name),
            name: name.to_owned(),
        };
        let (place, partial) = (self.place.clone(), fetched.partial.clone());
        let prepare = move || prepare(&place, &partial, &bytes, signature.as_deref());
        blocking(prepare).await.flatten()?;
        Ok(fetched)
    }

    fn judge(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Manifest, FetchError> {
        let manifest = match self.options.publishers.now() {
            None => {
                Manifest::parse(bytes).map_err(|error| FetchError::Unfit(with_causes(&error)))?
            }
            Some(publishers) => {
                let unsigned = || FetchError::Failed("nobody has signed it yet".to_owned());
                let signature = read_signature(signature.ok_or_else(unsigned)?);
                let verified = verify(bytes, signature, &publishers).map_err(SnapshotError::from);
                match verified {
                    Ok((manifest, _)) => manifest,
                    Err(SnapshotError::Untrusted(reason)) => {
                        return Err(FetchError::Untrusted(reason.to_string()));
                    }
                    Err(error) => return Err(unfit(error)),
                }
            }
        };
        let wanted = self.options.namespace.as_ref();
        if let Some(wanted) = wanted.filter(|wanted| **wanted != manifest.namespace) {
            let why = format!("it is of {}, and not of {wanted}", manifest.namespace);
            return Err(FetchError::Unfit(why));
        }
        let here = self.here.as_ref().map(|here| here.manifest().position);
        if here.is_some_and(|here| manifest.position < here) {
            let why = "it is older than the one that is here";
            return Err(FetchError::Unfit(why.to_owned()));
        }
        Ok(manifest)
    }

    async fn check_room(&self, fetched: &Fetched, wanted: &[Needed]) -> Result<(), FetchError> {
        let bytes: u64 = wanted.iter().map(|needed| needed.entry.bytes).sum();
        let most = self.options.snapshot_bytes_max;
        if bytes > most {
            let why = format!("it has {bytes} bytes, and at most {most} are kept");
            return Err(FetchError::Unfit(why));
        }
        let (place, partial) = (self.place.clone(), fetched.partial.clone());
        let (free_bytes, wanted) = (self.options.free_bytes, wanted.to_vec());
        let room = move || {
            let missing = wanted.iter().filter(|needed| {
                let digest = &needed.entry.sha256;
                !shard_path(&partial, digest).is_file()
                    && place.find_shard(digest, &partial).is_none()
            });
            let missing: u64 = missing.map(|needed| needed.entry.bytes).sum();
            Ok::<_, io::Error>((missing, free_bytes(place.path())?))
        };
        let (missing, free) = blocking(room).await.flatten()?;
        if free.saturating_sub(missing) < bytes.saturating_mul(2) {
            let why = format!(
                "{missing} bytes of it are missing, {free} are free, and twice its size is to be left"
            );
            return Err(FetchError::Failed(why));
        }
        Ok(())
    }

    /// Sees to it that a shard is there, and as the manifest says.
    async fn get(&self, fetched: &Fetched, needed: Needed) -> Result<(), FetchError> {
        let path = shard_path(&fetched.partial, &needed.entry.sha256);
        let (place, partial) = (self.place.clone(), fetched.partial.clone());
        let (digest, target) = (needed.entry.sha256, path.clone());
        let link = move || {
            if target.is_file() {
                return true;
            }
            let found = place.find_shard(&digest, &partial);
            found.is_some_and(|found| fs::hard_link(found, target).is_ok())
        };
        if blocking(link).await? {
            if fetched.verify(needed.clone()).await?.is_ok() {
                return Ok(());
            }
            tokio::fs::remove_file(&path).await?;
        }
        self.download(fetched, &needed.entry, &path).await?;
        match fetched.verify(needed).await? {
            Ok(()) => Ok(()),
            Err(error) => {
                tokio::fs::remove_file(&path).await?;
                Err(unfit(error))
            }
        }
    }

    async fn download(
        &self,
        fetched: &Fetched,
        entry: &ShardEntry,
        path: &Path,
    ) -> Result<(), FetchError> {
        let part = path.with_extension("part");
        let mut into = Checked {
            file: tokio::fs::File::create(&part).await?,
            digest: Sha256::new(),
            left: entry.bytes,
        };
        let name = &*fetched.name;
        let came = self
            .source
            .shard(name, &entry.sha256, entry.bytes, &mut into);
        within(SHARD_PATIENCE, came).await?;
        into.file.flush().await?;
        into.file.sync_data().await?;
        let digest = Digest::from_bytes(into.digest.finalize().into());
        if into.left > 0 || digest != entry.sha256 {
            tokio::fs::remove_file(&part).await?;
            let why = format!("shard {} came damaged", entry.sha256);
            return Err(FetchError::Failed(why));
        }
        Ok(tokio::fs::rename(&part, path).await?)
    }

    /// Puts it at its place. One of its name that is read there is taken out of the way.
    async fn put(&self, fetched: Fetched) -> Result<Opened, FetchError> {
        let place = self.place.clone();
        let publishers = self.options.publishers.now();
        let here = self.here.clone();
        let put = move || {
            let (target, partial) = (place.snapshot(&fetched.name), &fetched.partial);
            sync(&partial.join("shards"))?;
            sync(partial)?;
            if let Some(here) = here.filter(|here| here.name == fetched.name) {
                here.retire(&place)?;
            }
            if target.symlink_metadata().is_ok() {
                fs::remove_dir_all(&target)?;
            }
            fs::rename(partial, &target)?;
            sync(place.path())?;
            Opened::open(&target, &fetched.name, publishers.as_deref()).map_err(io::Error::other)
        };
        Ok(blocking(put).await.flatten()?)
    }
}

impl Fetched {
    /// Looks at every row of a shard that is there.
    async fn verify(&self, needed: Needed) -> io::Result<Result<(), SnapshotError>> {
        let (empty, partial) = (Arc::clone(&self.empty), self.partial.clone());
        blocking(move || {
            let mut alone = (*empty).clone();
            let behind = needed.behind;
            let damage = SnapshotError::Damaged {
                shard: needed.entry.sha256,
                damage: Damage::Manifest,
            };
            alone.methods = vec![MethodShards {
                name: needed.method,
                rows: needed.entry.rows.into(),
                shards: vec![needed.entry],
            }];
            let files = Box::new(Directory::open(&partial));
            let mut last = None;
            Snapshot::new(alone, files, Residence::File)
                .verify_all(|row| last = Some(*row.taskhash))?;
            match behind.is_some() && last >= behind {
                true => Err(damage),
                false => Ok(()),
            }
        })
        .await
    }
}

/// The shards of a manifest; apart from them those that are there for the second time.
fn needed(manifest: &Manifest) -> (Vec<Needed>, Vec<Needed>) {
    let mut all = Vec::new();
    for method in &manifest.methods {
        let behind = method.shards.iter().skip(1).map(|next| Some(next.first));
        for (entry, behind) in method.shards.iter().zip(behind.chain([None])) {
            all.push(Needed {
                method: method.name.clone(),
                entry: ShardEntry {
                    signatures: None,
                    ..entry.clone()
                },
                behind,
            });
        }
    }
    let mut seen = HashSet::new();
    all.into_iter()
        .partition(|needed| seen.insert(needed.entry.sha256))
}

/// Makes the directory, or takes out of it what the manifest does not have.
fn prepare(
    place: &Place,
    partial: &Path,
    manifest: &[u8],
    signature: Option<&[u8]>,
) -> io::Result<()> {
    place.tidy_partial(partial)?;
    let shards = partial.join("shards");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&shards)?;
    let known = Manifest::parse(manifest).map_err(io::Error::other)?;
    let known = known.shards().map(|(_, shard)| shard.sha256.to_string());
    let known: HashSet<String> = known.collect();
    for entry in fs::read_dir(&shards)? {
        let entry = entry?;
        let is_known = |name: &str| known.contains(name);
        if !entry.file_name().to_str().is_some_and(is_known) {
            fs::remove_file(entry.path())?;
        }
    }
    write(&partial.join("manifest.json"), manifest)?;
    match signature {
        Some(signature) => write(&partial.join("manifest.sig"), signature),
        None => Ok(()),
    }
}

fn shard_path(snapshot: &Path, digest: &Digest) -> PathBuf {
    snapshot.join("shards").join(digest.to_string())
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, FollowError>>,
) -> Result<T, FetchError> {
    match timeout(patience, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FetchError::Failed("the server takes too long".to_owned())),
    }
}

/// What is wrong with files that came whole. If they cannot be read, or are others by now, that is
/// this host's drive.
fn unfit(error: SnapshotError) -> FetchError {
    let why = with_causes(&error);
    match error {
        SnapshotError::Io { .. }
        | SnapshotError::Damaged {
            damage: Damage::Length | Damage::Digest,
            ..
        } => FetchError::Failed(why),
        _ => FetchError::Unfit(why),
    }
}

/// A file that takes so many bytes and no more.
struct Checked {
    file: tokio::fs::File,
    digest: Sha256,
    left: u64,
}

impl AsyncWrite for Checked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let written = ready!(Pin::new(&mut self.file).poll_write(context, bytes))?;
        self.digest.update(&bytes[..written]);
        self.left -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_drive_does_is_not_held_against_a_snapshot() {
        let shard = Digest::of(b"shard");
        let damaged = |damage| SnapshotError::Damaged { shard, damage };
        let unread = SnapshotError::Io {
            what: shard.to_string(),
            source: io::ErrorKind::Other.into(),
        };
        for error in [unread, damaged(Damage::Length), damaged(Damage::Digest)] {
            assert!(matches!(unfit(error), FetchError::Failed(_)));
        }
        for damage in [Damage::Form, Damage::Rows, Damage::Manifest] {
            assert!(matches!(unfit(damaged(damage)), FetchError::Unfit(_)));
        }
    }
}
