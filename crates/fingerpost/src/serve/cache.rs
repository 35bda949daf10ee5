//! Where answers are remembered, as configured.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_content::{
    ContentEndpoint, Disk, Form, Memory, ObjectStore, ObjectStoreConfig, Place, Tier, TierRules,
    Tiers, Valkey, ValkeyConfig,
};
use fingerpost_core::{Cacher, Dispatch, DispatchOptions, EntryNames, SpoolOptions, SystemClock};
use fingerpost_hg_front::AnswerCache;
use fingerpost_hg_proto::CBOR_MEDIA_TYPE;
use prometheus_client::registry::Registry;

use super::redirect::Redirects;
use super::service::MIB;
use crate::config::{Cache, ObjectPlace, Redirect};
use crate::exit::{Exit, OrExit, failure};

/// What remembers answers, and what it counts.
pub(crate) struct Answers {
    pub(crate) cache: AnswerCache,
    tiers: Arc<Tiers>,
    redirects: Option<Redirects>,
}

impl Answers {
    /// The configured tiers and redirect targets; `None` if there are no tiers.
    /// Must be called in the runtime.
    pub(crate) fn open(config: &Cache, redirect: &Redirect) -> anyhow::Result<Option<Self>> {
        let order = config.order();
        if order.is_empty() {
            return Ok(None);
        }
        let disk = disk(config)?;
        let mut tiers = Vec::new();
        for name in &order {
            tiers.push(tier(config, name, disk.as_ref())?);
        }
        let secret = match &config.secret {
            Some(secret) => secret.reveal().as_bytes().to_vec(),
            None => secret(config.disk_directory.as_deref())?,
        };
        let spool = SpoolOptions {
            bytes_max: config.entry_mib.saturating_mul(MIB),
            directory: config.spool_directory.clone(),
            ..SpoolOptions::default()
        };
        let options = DispatchOptions {
            spool: spool.clone(),
            store_bytes_min: config.entry_bytes_min,
        };
        let tiers = Arc::new(Tiers::new(tiers));
        let dispatch = Dispatch::new(Arc::clone(&tiers) as Arc<_>, options);
        let mut cache = AnswerCache::new(Arc::new(dispatch), EntryNames::new(&secret));
        let redirects = Redirects::open(config, redirect, disk.as_ref(), &secret)?;
        if let Some(redirects) = &redirects {
            cache = cache.redirecting_to(redirects.targets(), spool);
        }
        Ok(Some(Self {
            cache,
            tiers,
            redirects,
        }))
    }

    /// What serves answers to clients that were redirected here, if any are.
    pub(crate) fn endpoint(&self) -> Option<&ContentEndpoint> {
        self.redirects.as_ref()?.endpoint()
    }

    /// Puts what the tiers and targets count on a registry.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.tiers.register(registry);
        if let Some(redirects) = &self.redirects {
            redirects.register_metrics(registry);
        }
    }
}

/// The store on disk, if there is one.
fn disk(config: &Cache) -> anyhow::Result<Option<Arc<Disk>>> {
    let Some(directory) = &config.disk_directory else {
        return Ok(None);
    };
    let bytes_max = config.disk_mib.saturating_mul(MIB);
    let disk = Disk::open(directory, bytes_max, Arc::new(SystemClock)).or_exit(
        Exit::Io,
        format!("cache.disk_directory {}", directory.display()),
    )?;
    Ok(Some(Arc::new(disk)))
}

/// The tier of this name.
fn tier(config: &Cache, name: &str, disk: Option<&Arc<Disk>>) -> anyhow::Result<Tier> {
    let wrong = |why: &str| failure(Exit::Configuration, format!("cache.tiers: {name}: {why}"));
    let mut rules = TierRules::default();
    let cacher: Arc<dyn Cacher> = match name {
        "memory" => Arc::new(Memory::new(config.memory_mib.saturating_mul(MIB))),
        "disk" => Arc::clone(disk.ok_or_else(|| wrong("it has no directory"))?) as _,
        "valkey" => {
            let valkey = valkey(config)?;
            Arc::new(valkey.ok_or_else(|| wrong("it has no URL"))?)
        }
        name => {
            let place = config.objects.get(name);
            let place = place.ok_or_else(|| wrong("there is no such store"))?;
            // It is further away than the others.
            rules.look_up_deadline = OBJECT_DEADLINE;
            rules.store_deadline = OBJECT_PART_DEADLINE;
            let store = objects(name, place, Part::Tier)?;
            Arc::new(store)
        }
    };
    Ok(Tier { cacher, rules })
}

const OBJECT_DEADLINE: Duration = Duration::from_secs(2);
const OBJECT_PART_DEADLINE: Duration = Duration::from_secs(30);

/// A part of a place of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Sealed, for servers alone.
    Tier,
    /// As they are, for clients.
    Answers,
}

impl Part {
    const fn below(self) -> &'static str {
        match self {
            Self::Tier => "tier",
            Self::Answers => "answers",
        }
    }

    /// Its directory, if the place is one; others have none that has to be there.
    fn directory(self, place: &ObjectPlace) -> Option<PathBuf> {
        let directory = place.url.strip_prefix("file://")?;
        Some(Path::new(directory).join(self.below()))
    }
}

/// A store in a part of the place of this name, whose directory is made.
pub(super) fn objects(name: &str, place: &ObjectPlace, part: Part) -> anyhow::Result<ObjectStore> {
    if let Some(directory) = part.directory(place) {
        let key = format!("cache.objects.{name}.url {}", directory.display());
        fs::create_dir_all(&directory).or_exit(Exit::Io, key)?;
    }
    open_objects(name, place, part)
}

/// The same for who only looks: `None` if there is no directory of this part.
pub(crate) fn objects_there(
    name: &str,
    place: &ObjectPlace,
    part: Part,
) -> anyhow::Result<Option<ObjectStore>> {
    if let Some(directory) = part.directory(place) {
        let key = format!("cache.objects.{name}.url {}", directory.display());
        if !directory.try_exists().or_exit(Exit::Io, key)? {
            return Ok(None);
        }
    }
    open_objects(name, place, part).map(Some)
}

fn open_objects(name: &str, place: &ObjectPlace, part: Part) -> anyhow::Result<ObjectStore> {
    let below = part.below();
    let form = match part {
        Part::Tier => Form::Sealed,
        Part::Answers => Form::Plain {
            media_type: CBOR_MEDIA_TYPE.to_owned(),
        },
    };
    let url = place.url.trim_end_matches('/');
    let options = place.options.iter();
    let store = ObjectStore::new(ObjectStoreConfig {
        name: match part {
            Part::Tier => name.to_owned(),
            Part::Answers => format!("{name}/{below}"),
        },
        place: Place {
            url: format!("{url}/{below}"),
            endpoint: place.endpoint.clone(),
            client_endpoint: place.client_endpoint.clone(),
            options: options
                .map(|(option, value)| (option.clone(), value.reveal().to_owned()))
                .collect(),
        },
        form,
        deadline: OBJECT_DEADLINE,
        part_deadline: OBJECT_PART_DEADLINE,
        ..ObjectStoreConfig::default()
    });
    store.map_err(|why| failure(Exit::Configuration, format!("cache.objects.{name}: {why}")))
}

/// The configured Valkey, if there is one. Must be called in the runtime.
pub(crate) fn valkey(config: &Cache) -> anyhow::Result<Option<Valkey>> {
    let Some(url) = &config.valkey_url else {
        return Ok(None);
    };
    let valkey = Valkey::new(ValkeyConfig {
        url: url.reveal().to_owned(),
        entry_bytes_max: config.valkey_entry_mib.saturating_mul(MIB),
        time_to_live: Duration::from_secs(config.valkey_hours.saturating_mul(3600)),
        ..ValkeyConfig::default()
    });
    let valkey =
        valkey.map_err(|why| failure(Exit::Configuration, format!("cache.valkey_url: {why}")))?;
    Ok(Some(valkey))
}

/// The secret under which entries have their names. It lies beside what it
/// names, for the next start and for other servers with the same directory;
/// who may read the one may read the other.
fn secret(directory: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).context("the system has no random numbers")?;
    let Some(directory) = directory else {
        return Ok(fresh.to_vec());
    };
    let path = directory.join(SECRET_FILE);
    kept(&path, &fresh).or_exit(Exit::Io, path.display().to_string())
}

/// The bytes of a file, which begins with `fresh` if there is none.
fn kept(path: &Path, fresh: &[u8]) -> io::Result<Vec<u8>> {
    // Whole under its name or not there: two servers may start at once.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(fresh)?;
    file.sync_all()?;
    let linked = fs::hard_link(&part, path);
    fs::remove_file(&part)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let secret = fs::read(path)?;
    match secret.len() {
        ..16 => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is too short for a secret; remove it, and the entries with it",
        )),
        _ => Ok(secret),
    }
}

const SECRET_FILE: &str = "secret";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_secret_stays() {
        let directory = tempfile::tempdir().unwrap();
        let first = secret(Some(directory.path())).unwrap();
        assert_eq!(secret(Some(directory.path())).unwrap(), first);
        assert_ne!(secret(None).unwrap(), first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::write(directory.path().join(SECRET_FILE), "short").unwrap();
        assert!(secret(Some(directory.path())).is_err());
        assert!(secret(Some(&directory.path().join("nowhere"))).is_err());
    }

    #[tokio::test]
    async fn answers_are_remembered_where_it_is_configured() {
        let open = |cache: &Cache| Answers::open(cache, &Redirect::default());
        let none = Cache {
            memory_mib: 0,
            ..Cache::default()
        };
        assert!(open(&none).unwrap().is_none());
        let directory = tempfile::tempdir().unwrap();
        let disk = Cache {
            disk_directory: Some(directory.path().join("a/b")),
            ..none
        };
        assert!(open(&disk).unwrap().is_some());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let wrong = Cache {
            disk_directory: Some(file),
            ..Cache::default()
        };
        assert!(open(&wrong).is_err());
    }
}
