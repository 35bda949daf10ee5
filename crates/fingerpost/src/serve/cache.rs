//! Where answers are remembered, as configured.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_content::{ContentEndpoint, Tiers};
use fingerpost_core::{Dispatch, DispatchOptions, EntryNames, Redirects as CoreRedirects};
use fingerpost_hg_front::AnswerCache;
use prometheus_client::registry::Registry;

use super::redirect::Redirects;
use super::stores::Stores;
use crate::config::{Cache, Redirect};
use crate::exit::{Exit, OrExit};

/// What remembers answers, and what it counts.
pub(crate) struct Answers {
    pub(crate) cache: AnswerCache,
    tiers: Arc<Tiers>,
    redirects: Option<Redirects>,
    names: EntryNames,
}

impl Answers {
    /// The configured tiers and redirect targets; `None` if there are no tiers.
    /// Must be called in the runtime.
    pub(crate) fn open(config: &Cache, redirect: &Redirect) -> anyhow::Result<Option<Self>> {
        let order = config.order();
        if order.is_empty() {
            return Ok(None);
        }
        let stores = Stores::new(config);
        let disk = stores.disk()?;
        let mut tiers = Vec::new();
        for name in &order {
            tiers.push(stores.tier(name, disk.as_ref())?);
        }
        let secret = match &config.secret {
            Some(secret) => secret.reveal().as_bytes().to_vec(),
            None => secret(config.disk_directory.as_deref())?,
        };
        let spool = stores.spool;
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
            names: EntryNames::new(&secret),
        }))
    }

    /// What serves answers to clients that were redirected here, if any are.
    pub(crate) fn endpoint(&self) -> Option<&ContentEndpoint> {
        self.redirects.as_ref()?.endpoint()
    }

    /// Where else clients may be sent, and the names of what lies there.
    pub(crate) fn redirects(&self) -> Option<(Arc<dyn CoreRedirects>, EntryNames)> {
        let targets = self.redirects.as_ref()?.targets();
        Some((targets, self.names.clone()))
    }

    /// Puts what the tiers and targets count on a registry.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.tiers.register(registry);
        if let Some(redirects) = &self.redirects {
            redirects.register_metrics(registry);
        }
    }
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
