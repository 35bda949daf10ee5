//! A service on a database of its own, with verbs.

use std::sync::Arc;

use fingerpost_core::{Clock, Permission, PermissionSet, Principal, SystemClock};
use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv::query::{Column, Conditions};
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use fingerpost_hashequiv::store::{Metadata, Task};
use fingerpost_hashequiv::{Config, HashEquiv, NamespaceSet, Reported, Upstream, commands};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

/// A farm of builders around one service.
pub(crate) struct World {
    pub(crate) service: Arc<HashEquiv>,
    pub(crate) db: Sqlite,
    pub(crate) directory: Arc<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default(), None).await
    }

    pub(crate) async fn with(config: Config, upstream: Option<Arc<dyn Upstream>>) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::open(directory, config, upstream).await
    }

    /// A world for each of the namespaces of one server.
    pub(crate) async fn of_namespaces(config: Config, names: &[&str]) -> Vec<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let settings = Settings::new(directory.path().join("test.fingerpost"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        let set = NamespaceSet::open(db.clone(), config, None, Arc::new(SystemClock));
        let set = set.await.unwrap();
        let world = |name: &&str| Self {
            service: Arc::clone(set.find(name).unwrap()),
            db: db.clone(),
            directory: Arc::clone(&directory),
        };
        names.iter().map(world).collect()
    }

    /// Another service on the same file, as another process would have it.
    pub(crate) async fn neighbour(&self) -> Self {
        Self::open(Arc::clone(&self.directory), Config::default(), None).await
    }

    /// A world, or another process on its file, whose time is that of `clock`.
    pub(crate) async fn at(directory: Arc<tempfile::TempDir>, clock: Arc<dyn Clock>) -> Self {
        let settings = Settings::new(directory.path().join("test.fingerpost"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        let service = HashEquiv::new(db.clone(), Config::default(), None, clock);
        Self {
            service: service.await.unwrap(),
            db,
            directory,
        }
    }

    /// The same of a program that knows fewer versions of the schema.
    pub(crate) async fn older_neighbour(&self, versions: usize) -> Self {
        let directory = Arc::clone(&self.directory);
        let settings = Settings::new(directory.path().join("test.fingerpost"));
        let db = Sqlite::open(settings, &MIGRATIONS[..versions]).unwrap();
        let service = HashEquiv::new(db.clone(), Config::default(), None, Arc::new(SystemClock));
        Self {
            service: service.await.unwrap(),
            db,
            directory,
        }
    }

    async fn open(
        directory: Arc<tempfile::TempDir>,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Self {
        let settings = Settings::new(directory.path().join("test.fingerpost"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        let service = HashEquiv::new(db.clone(), config, upstream, Arc::new(SystemClock));
        Self {
            service: service.await.unwrap(),
            db,
            directory,
        }
    }

    /// Reports as an anonymous builder and returns the unihash.
    pub(crate) async fn report(&self, task: &str, output: &str, proposed: &str) -> String {
        self.report_with(task, output, proposed, Metadata::default(), None)
            .await
    }

    pub(crate) async fn report_with(
        &self,
        task: &str,
        output: &str,
        proposed: &str,
        metadata: Metadata,
        siginfo: Option<String>,
    ) -> String {
        let report = Reported {
            task: self::task(task),
            outhash: Some(Outhash::parse(&hash(output))),
            proposed: Unihash::parse(&hash(proposed)),
            metadata,
            siginfo,
        };
        let unihash = self.service.report(&builder(), report).await.unwrap();
        name(&unihash.to_text())
    }

    /// Looks one task up through the batch path.
    pub(crate) async fn look_up(&self, task: &str) -> Option<String> {
        let key = ("m".to_owned(), hash(task));
        let found = self.service.unihashes(vec![key]).await.unwrap();
        found
            .into_iter()
            .next()
            .flatten()
            .map(|unihash| name(&unihash.to_text()))
    }

    /// Runs a command by its wire name and returns its answer, or the failure's text.
    pub(crate) async fn command(&self, name: &str, argument: &str) -> Result<String, String> {
        let registry = commands();
        let (_, entry) = registry.find(name, false).unwrap();
        let principal = Principal::anonymous(PermissionSet::of(&[
            Permission::Read,
            Permission::Report,
            Permission::DbAdmin,
        ]));
        let call = fingerpost_core::Call {
            service: &self.service,
            principal: &principal,
            peer: "test",
            origin: fingerpost_core::Origin::Unknown,
        };
        match entry.call(call, argument).await {
            Ok(outcome) => match outcome.reply {
                fingerpost_core::Reply::Encoded(encoded) => {
                    Ok(String::from_utf8(encoded.bytes.to_vec()).unwrap())
                }
                other => panic!("unexpected {other:?}"),
            },
            Err(failure) => Err(failure.to_string()),
        }
    }
}

pub(crate) fn builder() -> Principal {
    Principal::anonymous(PermissionSet::of(&[Permission::Read, Permission::Report]))
}

/// A hash by a short hexadecimal name: `a` is 64 times `a`.
pub(crate) fn hash(name: &str) -> String {
    name.repeat(64 / name.len())
}

/// The short name of a hash.
pub(crate) fn name(hash: &str) -> String {
    hash[..1].to_owned()
}

pub(crate) fn task(name: &str) -> Task {
    Task {
        method: Method::new("m"),
        taskhash: Taskhash::parse(&hash(name)),
    }
}

pub(crate) fn conditions(list: &[(Column, &str)]) -> Conditions {
    Conditions(
        list.iter()
            .map(|(column, value)| (*column, (*value).to_owned()))
            .collect(),
    )
}
