//! Where answers are remembered, as configured.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_content::{Disk, Memory, Tier, TierRules, Tiers, Valkey, ValkeyConfig};
use fingerpost_core::{Dispatch, DispatchOptions, EntryNames, SpoolOptions, SystemClock};
use fingerpost_hg_front::AnswerCache;
use prometheus_client::registry::Registry;

use super::service::MIB;
use crate::config::Cache;
use crate::exit::{Exit, OrExit, failure};

/// What remembers answers, and what it counts.
pub(crate) struct Answers {
    pub(crate) cache: AnswerCache,
    tiers: Arc<Tiers>,
}

impl Answers {
    /// The configured tiers; `None` if there are none. Must be called in the
    /// runtime.
    pub(crate) fn open(config: &Cache) -> anyhow::Result<Option<Self>> {
        let mut tiers = Vec::new();
        if config.memory_mib > 0 {
            let memory = Memory::new(config.memory_mib.saturating_mul(MIB));
            tiers.push(Tier {
                cacher: Arc::new(memory),
                rules: TierRules::default(),
            });
        }
        if let Some(directory) = &config.disk_directory {
            let bytes_max = config.disk_mib.saturating_mul(MIB);
            let disk = Disk::open(directory, bytes_max, Arc::new(SystemClock)).or_exit(
                Exit::Io,
                format!("cache.disk_directory {}", directory.display()),
            )?;
            tiers.push(Tier {
                cacher: Arc::new(disk),
                rules: TierRules::default(),
            });
        }
        if let Some(valkey) = valkey(config)? {
            tiers.push(Tier {
                cacher: Arc::new(valkey),
                rules: TierRules::default(),
            });
        }
        if tiers.is_empty() {
            return Ok(None);
        }
        let names = match &config.secret {
            Some(secret) => EntryNames::new(secret.reveal().as_bytes()),
            None => EntryNames::new(&secret(config.disk_directory.as_deref())?),
        };
        let options = DispatchOptions {
            spool: SpoolOptions {
                bytes_max: config.entry_mib.saturating_mul(MIB),
                directory: config.spool_directory.clone(),
                ..SpoolOptions::default()
            },
            store_bytes_min: 0,
        };
        let tiers = Arc::new(Tiers::new(tiers));
        let dispatch = Dispatch::new(Arc::clone(&tiers) as Arc<_>, options);
        Ok(Some(Self {
            cache: AnswerCache {
                dispatch: Arc::new(dispatch),
                names,
            },
            tiers,
        }))
    }

    /// Puts what the tiers count on a registry.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.tiers.register(registry);
    }
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
        let none = Cache {
            memory_mib: 0,
            ..Cache::default()
        };
        assert!(Answers::open(&none).unwrap().is_none());
        let directory = tempfile::tempdir().unwrap();
        let disk = Cache {
            disk_directory: Some(directory.path().join("a/b")),
            ..none
        };
        assert!(Answers::open(&disk).unwrap().is_some());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let wrong = Cache {
            disk_directory: Some(file),
            ..Cache::default()
        };
        assert!(Answers::open(&wrong).is_err());
    }
}
