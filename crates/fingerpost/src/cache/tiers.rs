//! The stores that can be reached without a running server.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_content::{Disk, Found, OnDisk, Valkey};
use fingerpost_core::{Cacher, CacherError, EntryName, SystemClock, Timestamp};

use crate::config::{self, Loaded, Sources};
use crate::exit::{Exit, OrExit, failure};
use crate::serve::{self, Part, Stores};

/// The configuration that `serve` would have.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Configuration file instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Which {
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let sources = Sources {
            file: self.config.clone(),
            environment: Sources::process_environment(),
            ..Sources::default()
        };
        config::load(sources).or_exit(Exit::Configuration, "The configuration is wrong")
    }
}

/// Runs work that waits for stores or servers.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// The configured stores outside of the servers' memory.
pub(super) struct Tiers {
    /// Where, and the store.
    pub(super) disk: Option<(PathBuf, OnDisk)>,
    pub(super) valkey: Option<Arc<Valkey>>,
    /// The fastest first, with both parts of each place of objects.
    all: Vec<Arc<dyn Cacher>>,
    /// Names of those that clients are sent to.
    for_clients: Vec<String>,
}

impl Tiers {
    /// Opens what is configured, without changing it. Must be called in the
    /// runtime.
    pub(super) fn open(which: &Which) -> anyhow::Result<Self> {
        let config = which.load()?.config.cache;
        let stores = Stores::new(&config);
        let disk = match &config.disk_directory {
            None => None,
            Some(directory) => {
                let shown = format!("cache.disk_directory {}", directory.display());
                let disk = Disk::inspect(directory, Arc::new(SystemClock)).or_exit_of(&shown)?;
                let never = || failure(Exit::Io, format!("{shown}: no server ever used it"));
                let disk = stores.on_disk(disk.ok_or_else(never)?);
                Some((directory.clone(), disk))
            }
        };
        let valkey = serve::valkey(&config)?.map(Arc::new);
        let (mut all, mut for_clients) = (Vec::new(), Vec::new());
        all.extend(disk.iter().map(|(_, disk)| disk.store()));
        if let Some(valkey) = &valkey {
            all.push(stores.compressed(VALKEY, Arc::clone(valkey) as _));
        }
        for (name, place) in &config.objects {
            let tier = serve::objects_there(name, place, Part::Tier)?;
            let answers = serve::objects_there(name, place, Part::Answers)?;
            // Servers use one part of a place, or both.
            if tier.is_none() && answers.is_none() {
                let shown = format!("cache.objects.{name}.url {}", place.url);
                return Err(failure(
                    Exit::Io,
                    format!("{shown}: no server ever used it"),
                ));
            }
            all.extend(tier.map(|tier| stores.compressed(name, Arc::new(tier))));
            // Clients have to understand what lies there.
            for_clients.extend(answers.iter().map(|answers| answers.name().to_owned()));
            all.extend(answers.map(|answers| Arc::new(answers) as Arc<dyn Cacher>));
        }
        if all.is_empty() {
            return Err(failure(
                Exit::Configuration,
                "none of cache.disk_directory, cache.valkey_url and cache.objects is configured; \
                 what is in the memory of a server is counted by `fingerpost cache stats`",
            ));
        }
        Ok(Self {
            disk,
            valkey,
            all,
            for_clients,
        })
    }

    /// The store on disk, for a command that needs it.
    pub(super) fn disk(&self) -> anyhow::Result<&OnDisk> {
        let missing = || {
            failure(
                Exit::Configuration,
                "cache.disk_directory is not configured",
            )
        };
        let disk = self.disk.as_ref().map(|(_, disk)| disk);
        disk.ok_or_else(missing)
    }

    /// All of them, the fastest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &dyn Cacher> {
        self.all.iter().map(|store| &**store)
    }

    /// Whether clients are sent to what is in this store.
    pub(super) fn is_for_clients(&self, tier: &dyn Cacher) -> bool {
        self.for_clients.iter().any(|name| name == tier.name())
    }

    /// What the directory says of an entry on disk.
    pub(super) async fn on_disk(&self, name: &EntryName) -> anyhow::Result<Option<Found>> {
        let Some((_, disk)) = &self.disk else {
            return Ok(None);
        };
        disk.find(name).await.or_exit_of("the disk")
    }
}

/// When an entry was used last, or until when it is kept in any case.
pub(super) enum Used {
    Last(Timestamp),
    PinnedUntil(Timestamp),
}

impl Used {
    pub(super) fn of(found: &Found, now: Timestamp) -> Self {
        if found.used > now {
            Self::PinnedUntil(found.used)
        } else {
            Self::Last(found.used)
        }
    }
}

impl std::fmt::Display for Used {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Last(moment) => write!(f, "used {}", seconds(*moment)),
            Self::PinnedUntil(moment) => write!(f, "pinned until {}", seconds(*moment)),
        }
    }
}

/// A moment in whole seconds: more is not known of uses.
pub(super) fn seconds(moment: Timestamp) -> String {
    let micros = moment.0.rem_euclid(1_000_000);
    moment.minus_micros(micros).to_rfc3339()
}

/// Gives failures of stores the exit code of what caused them.
pub(super) trait OrExitOf<T> {
    /// `what` is the name of a store, or something else of this machine.
    fn or_exit_of(self, what: &str) -> anyhow::Result<T>;
}

impl<T> OrExitOf<T> for Result<T, CacherError> {
    fn or_exit_of(self, what: &str) -> anyhow::Result<T> {
        let exit = match &self {
            Err(CacherError::Damaged(_)) => Exit::BadData,
            _ if what == VALKEY => Exit::Unavailable,
            Err(CacherError::TimedOut(_) | CacherError::Other(_)) => Exit::Unavailable,
            Err(CacherError::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
                Exit::Denied
            }
            _ => Exit::Io,
        };
        self.or_exit(exit, what)
    }
}

/// What [`Valkey`] calls itself.
const VALKEY: &str = "valkey";
