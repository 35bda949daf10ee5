//! The configured stores of answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fingerpost_content::{
    Compressed, Disk, Form, Memory, ObjectStore, ObjectStoreConfig, OnDisk, Place, Tier, TierRules,
    Valkey, ValkeyConfig,
};
use fingerpost_core::{Cacher, SpoolOptions, SpoolRoom, SystemClock};
use fingerpost_hg_proto::CBOR_MEDIA_TYPE;

use super::service::MIB;
use crate::config::{Cache, ObjectPlace};
use crate::exit::{Exit, OrExit, failure};

/// Opens the stores of a configuration.
pub(crate) struct Stores<'a> {
    config: &'a Cache,
    /// How answers are held on their way, the same for all.
    pub(super) spool: SpoolOptions,
}

impl<'a> Stores<'a> {
    /// The stores of this configuration.
    pub(crate) fn new(config: &'a Cache) -> Self {
        let spool = SpoolOptions {
            bytes_max: config.entry_mib.saturating_mul(MIB),
            directory: config.spool_directory.clone(),
            room: SpoolRoom::new(config.spool_mib.saturating_mul(MIB)),
            ..SpoolOptions::default()
        };
        Self { config, spool }
    }

    /// A store, with its entries compressed if it is configured so.
    pub(crate) fn compressed(&self, name: &str, cacher: Arc<dyn Cacher>) -> Arc<dyn Cacher> {
        match self.config.is_compressed(name) {
            true => Arc::new(Compressed::new(cacher, self.spool.clone())),
            false => cacher,
        }
    }

    /// The disk, with its entries compressed if it is configured so.
    pub(crate) fn on_disk(&self, disk: Disk) -> OnDisk {
        let disk = Arc::new(disk);
        match self.config.is_compressed("disk") {
            true => OnDisk::compressed(disk, self.spool.clone()),
            false => OnDisk::plain(disk),
        }
    }

    /// The store on disk, if there is one.
    pub(super) fn disk(&self) -> anyhow::Result<Option<OnDisk>> {
        let Some(directory) = &self.config.disk_directory else {
            return Ok(None);
        };
        let bytes_max = self.config.disk_mib.saturating_mul(MIB);
        let disk = Disk::open(directory, bytes_max, Arc::new(SystemClock)).or_exit(
            Exit::Io,
            format!("cache.disk_directory {}", directory.display()),
        )?;
        Ok(Some(self.on_disk(disk)))
    }

    /// The tier of this name. Must be called in the runtime.
    pub(super) fn tier(&self, name: &str, disk: Option<&OnDisk>) -> anyhow::Result<Tier> {
        let wrong = |why: &str| failure(Exit::Configuration, format!("cache.tiers: {name}: {why}"));
        let mut rules = TierRules::default();
        let cacher: Arc<dyn Cacher> = match name {
            "memory" => {
                let memory = Memory::new(self.config.memory_mib.saturating_mul(MIB));
                self.compressed(name, Arc::new(memory))
            }
            "disk" => disk.ok_or_else(|| wrong("it has no directory"))?.store(),
            "valkey" => {
                let valkey = valkey(self.config)?;
                let valkey = valkey.ok_or_else(|| wrong("it has no URL"))?;
                self.compressed(name, Arc::new(valkey))
            }
            name => {
                let place = self.config.objects.get(name);
                let place = place.ok_or_else(|| wrong("there is no such store"))?;
                // It is further away than the others.
                rules.look_up_deadline = OBJECT_DEADLINE;
                rules.store_deadline = OBJECT_PART_DEADLINE;
                let store = objects(name, place, Part::Tier)?;
                self.compressed(name, Arc::new(store))
            }
        };
        Ok(Tier { cacher, rules })
    }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fingerpost_core::{EntryNames, KeyHasher};

    use super::*;

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
        let stores = Stores::new(&config);
        let disk = stores.disk().unwrap().unwrap();
        let names = EntryNames::new(b"secret");
        let name = names.name(&KeyHasher::new("test", 1).finish(), "identity");
        let bytes = Bytes::from(vec![b'a'; 100_000]);
        for tier_name in ["memory", "disk", "files"] {
            let store = stores.tier(tier_name, Some(&disk)).unwrap().cacher;
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
}
