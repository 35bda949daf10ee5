//! Reading a dump while the server serves.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::follow::Follower;
use super::format::{Entry, Header, Place, Reader};
use super::{CacheDump, Unusable};
use crate::cache::{CachedTask, Fill, MethodId};

/// Entries that are read from the file at a time.
const READ: usize = 8192;
/// Entries that enter the cache at a time: deletions wait for it, some 50 µs.
const FILL: usize = 512;
/// Deletions in the middle of loading that are put up with.
const INTERRUPTIONS_MAX: usize = 1000;
const INTERRUPTION_REST: Duration = Duration::from_millis(5);

/// What became of a dump at the start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Entries that are in the cache now, as far as they were not put out again.
    pub entries: u64,
    /// Entries that were deleted, or may stand behind another one, since.
    pub changed: u64,
    /// Entries of namespaces that are not there, or fall back to others, now.
    pub elsewhere: u64,
    /// Entries that were there already, or for which there was no room.
    pub not_needed: u64,
    /// Why it, or the rest of it, was not believed.
    pub unusable: Option<Unusable>,
    /// How old it was; `None` if there was none.
    pub age: Option<Duration>,
}

impl CacheDump {
    /// Puts what the dump has, and is still true, into the cache, in small steps. Call
    /// it when the server serves; at any time is right. Never fails: what cannot be
    /// believed is left, with one line in the log.
    pub async fn load(&self) -> Loaded {
        let began = Instant::now();
        let mut loaded = Loaded::default();
        let outcome = self.load_into(&mut loaded).await;
        let took = began.elapsed();
        self.metrics.loaded(loaded.entries, took);
        self.metrics.left_out("changed", loaded.changed);
        self.metrics.left_out("namespace", loaded.elsewhere);
        self.metrics.left_out("not_needed", loaded.not_needed);
        let path = self.path.display();
        let (entries, changed, milliseconds) = (loaded.entries, loaded.changed, took.as_millis());
        match outcome {
            Err(error) => {
                self.metrics.dropped(error.reason());
                tracing::warn!(%path, entries, why = %error, "The dump of look-ups is left aside");
                loaded.unusable = Some(error);
            }
            Ok(()) => {
                if let Some(age) = loaded.age {
                    let age = age.as_secs();
                    tracing::info!(
                        entries,
                        changed,
                        age,
                        milliseconds,
                        "Remembered {entries} look-ups from a dump of {age} s ago"
                    );
                }
            }
        }
        loaded
    }

    async fn load_into(&self, loaded: &mut Loaded) -> Result<(), Unusable> {
        let Some(mut reader) = self.open().await? else {
            return Ok(());
        };
        let header = reader.header.clone();
        if header.history != self.store.history() {
            return Err(Unusable::History);
        }
        let age = self.clock.now().0.saturating_sub(header.written.0);
        loaded.age = Some(Duration::from_micros(u64::try_from(age).unwrap_or(0)));
        self.metrics.is_there(header.written);
        let mut filling = Filling::begin(self, &header).await?;
        self.cache.reserve(reader.left);
        for (id, name) in &header.methods {
            self.cache.learn_method(name.as_bytes(), *id);
        }
        loop {
            let (returned, entries) = off_the_runtime(move || {
                let entries = reader.next(READ);
                (reader, entries)
            })
            .await?;
            reader = returned;
            let entries = entries?;
            if entries.is_empty() {
                return Ok(());
            }
            for some in entries.chunks(FILL) {
                filling.fill(some, loaded).await?;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Opens and checks the file; `None` if there is none.
    async fn open(&self) -> Result<Option<Reader>, Unusable> {
        let (path, hurry) = (self.path.clone(), Arc::clone(&self.hurry));
        let rest = move |worked| std::thread::sleep(super::rest(&hurry, worked));
        let opening = off_the_runtime(move || match File::open(path) {
            Ok(file) => Reader::open(file, rest).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unusable::Io(error)),
        });
        opening.await?
    }
}

/// The right to fill, and what must not enter with it.
struct Filling<'a> {
    dump: &'a CacheDump,
    fill: Fill,
    changes: Follower<'a>,
    places: Vec<Place>,
    methods: Vec<(MethodId, String)>,
    /// Whether a place of the dump is read as it was.
    is_believed: Vec<bool>,
    interruptions: usize,
}

impl<'a> Filling<'a> {
    async fn begin(dump: &'a CacheDump, header: &Header) -> Result<Self, Unusable> {
        // Each namespace of a chain has a place of its own, unless the file is odd.
        let has_place = |at| header.places.iter().any(|place| place.chain.own() == at);
        let is_believed =
            |place: &Place| dump.chains.contains(&place.chain) && place.chain.iter().all(has_place);
        let believed = header.places.iter().filter(|place| is_believed(place));
        let believed: Vec<Place> = believed.cloned().collect();
        // In this order: see the argument.
        let fill = dump.cache.begin_fill();
        let mut changes = Follower::new(dump, header, &believed);
        changes.catch_up().await?;
        Ok(Self {
            dump,
            fill,
            changes,
            is_believed: header.places.iter().map(is_believed).collect(),
            places: header.places.clone(),
            methods: header.methods.clone(),
            interruptions: 0,
        })
    }

    /// Puts entries into the cache that are true now.
    async fn fill(&mut self, entries: &[Entry], loaded: &mut Loaded) -> Result<(), Unusable> {
        loop {
            let (mut believed, mut changed, mut elsewhere) = (Vec::new(), 0, 0);
            for entry in entries {
                match self.task(entry) {
                    None => elsewhere += 1,
                    Some(task) if self.changes.is_touched(&task) => changed += 1,
                    Some(task) => believed.push((task, entry.remembered)),
                }
            }
            let count = believed.len() as u64;
            if let Some(put) = self.dump.cache.fill_missing(self.fill, believed) {
                loaded.entries += put;
                loaded.not_needed += count - put;
                loaded.changed += changed;
                loaded.elsewhere += elsewhere;
                return Ok(());
            }
            self.begin_again().await?;
        }
    }

    /// After a deletion: a new `Fill`, and then what was deleted.
    async fn begin_again(&mut self) -> Result<(), Unusable> {
        self.interruptions += 1;
        if self.interruptions > INTERRUPTIONS_MAX {
            return Err(Unusable::TooMuch);
        }
        tokio::time::sleep(INTERRUPTION_REST).await;
        self.fill = self.dump.cache.begin_fill();
        self.changes.catch_up().await
    }

    /// The entry's key, if its namespace is read as it was.
    fn task(&self, entry: &Entry) -> Option<CachedTask> {
        let place = usize::from(entry.place);
        let is_believed = *self.is_believed.get(place)?;
        let (method, _) = self.methods.get(usize::from(entry.method))?;
        let own = self.places.get(place)?.chain.own();
        is_believed.then(|| CachedTask {
            method: method.within(own),
            taskhash: entry.taskhash,
        })
    }
}

/// Runs what blocks.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unusable> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Unusable::Io(io::Error::other(error)))
}
