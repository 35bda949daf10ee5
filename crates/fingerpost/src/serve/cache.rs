//! Where answers are remembered, as configured.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_content::{
    Compressed, ContentEndpoint, Disk, Form, Memory, ObjectStore, ObjectStoreConfig, OnDisk, Place,
    Tier, TierRules, Tiers, Valkey, ValkeyConfig,
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
        let spool = spool(config);
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

/// How answers are held on their way.
fn spool(config: &Cache) -> SpoolOptions {
    SpoolOptions {
        bytes_max: config.entry_mib.saturating_mul(MIB),
        directory: config.spool_directory.clone(),
        ..SpoolOptions::default()
    }
}

/// A store, with its entries compressed if it is configured so.
pub(crate) fn compressed(config: &Cache, name: &str, cacher: Arc<dyn Cacher>) -> Arc<dyn Cacher> {
    match config.is_compressed(name) {
        true => Arc::new(Compressed::new(cacher, spool(config))),
        false => cacher,
    }
}

/// The disk, with its entries compressed if it is configured so.
pub(crate) fn on_disk(config: &Cache, disk: Disk) -> OnDisk {
    let disk = Arc::new(disk);
    match config.is_compressed("disk") {
        true => OnDisk::compressed(disk, spool(config)),
        false => OnDisk::plain(disk),
    }
}

/// The store on disk, if there is one.
fn disk(config: &Cache) -> anyhow::Result<Option<OnDisk>> {
    let Some(directory) = &config.disk_directory else {
        return Ok(None);
    };
    let bytes_max = config.disk_mib.saturating_mul(MIB);
    let disk = Disk::open(directory, bytes_max, Arc::new(SystemClock)).or_exit(
        Exit::Io,
        format!("cache.disk_directory {}", directory.display()),
    )?;
    Ok(Some(on_disk(config, disk)))
}

/// The tier of this name.
fn tier(config: &Cache, name: &str, disk: Option<&OnDisk>) -> anyhow::Result<Tier> {
    let wrong = |why: &str| failure(Exit::Configuration, format!("cache.tiers: {name}: {why}"));
    let mut rules = TierRules::default();
    let cacher: Arc<dyn Cacher> = match name {
        "memory" => {
            let memory = Memory::new(config.memory_mib.saturating_mul(MIB));
            compressed(config, name, Arc::new(memory))
        }
        "disk" => disk.ok_or_else(|| wrong("it has no directory"))?.store(),
        "valkey" => {
            let valkey = valkey(config)?;
            let valkey = valkey.ok_or_else(|| wrong("it has no URL"))?;
            compressed(config, name, Arc::new(valkey))
        }
        name => {
            let place = config.objects.get(name);
            let place = place.ok_or_else(|| wrong("there is no such store"))?;
            // It is further away than the others.
            rules.look_up_deadline = OBJECT_DEADLINE;
            rules.store_deadline = OBJECT_PART_DEADLINE;
            let store = objects(name, place, Part::Tier)?;
            compressed(config, name, Arc::new(store))
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

/// A store in a part of the place of this name.
pub(crate) fn objects(name: &str, place: &ObjectPlace, part: Part) -> anyhow::Result<ObjectStore> {
    let (below, form) = match part {
        Part::Tier => ("tier", Form::Sealed),
        Part::Answers => {
            let media_type = CBOR_MEDIA_TYPE.to_owned();
            ("answers", Form::Plain { media_type })
        }
    };
    let url = place.url.trim_end_matches('/');
    if let Some(directory) = url.strip_prefix("file://") {
        // Other places have no directories that have to be there.
        let directory = Path::new(directory).join(below);
        fs::create_dir_all(&directory).or_exit(
            Exit::Io,
            format!("cache.objects.{name}: {}", directory.display()),
        )?;
    }
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
    use bytes::Bytes;
    use fingerpost_core::KeyHasher;

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
    async fn what_is_compressed_is_so_for_all_who_use_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("objects");
        let text = format!(
            "compressed = ['disk', 'memory', 'files']\ndisk_directory = '{}'\n\
             [objects.files]\nurl = 'file://{}'",
            directory.path().join("disk").display(),
            path.display()
        );
        let config: Cache = toml::from_str(&text).unwrap();
        let disk = disk(&config).unwrap().unwrap();
        let names = EntryNames::new(b"secret");
        let name = names.name(&KeyHasher::new("test", 1).finish(), "identity");
        let bytes = Bytes::from(vec![b'a'; 100_000]);
        for tier_name in ["memory", "disk", "files"] {
            let store = tier(&config, tier_name, Some(&disk)).unwrap().cacher;
            store.store(&name, Arc::new(bytes.clone())).await.unwrap();
            let found = store.look_up(&name).await.unwrap().unwrap();
            assert_eq!(found.read(99_000, 2000).await.unwrap(), bytes[99_000..]);
        }
        // The redirect target and the endpoint have this one.
        assert!(disk.store().look_up(&name).await.unwrap().is_some());
        let listed = disk.list(None, 9).await.unwrap();
        assert!(listed.len() == 1 && listed[0].name == name && listed[0].file_bytes < 1000);
        let mut objects = fs::read_dir(path.join("tier")).unwrap();
        let object = objects.next().unwrap().unwrap();
        assert!(object.metadata().unwrap().len() < 1000);
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
