//! A service on a database of its own, with verbs.

use std::sync::Arc;

use fingerpost_core::{Clock, Failure, Permission, PermissionSet, Principal, SystemClock};
use fingerpost_hashequiv::store::{Metadata, Task};
use fingerpost_hashequiv::{Config, HashEquiv, NamespaceSet, Reported, Upstream, commands};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use crate::place::{Base, Place};

/// A farm of builders around one service.
pub(crate) struct World {
    pub(crate) service: Arc<HashEquiv>,
    pub(crate) base: Base,
}

impl World {
    pub(crate) async fn new(place: &Place) -> Self {
        Self::with(place, Config::default(), None).await
    }

    pub(crate) async fn with(
        place: &Place,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Self {
        Self::on(place.fresh().await, config, upstream, Arc::new(SystemClock)).await
    }

    /// A world whose time is that of `clock`.
    pub(crate) async fn at(place: &Place, clock: Arc<dyn Clock>) -> Self {
        Self::on(place.fresh().await, Config::default(), None, clock).await
    }

    /// A world for each of the namespaces of one server.
    pub(crate) async fn of_namespaces(place: &Place, config: Config, names: &[&str]) -> Vec<Self> {
        Self::of_namespaces_on(&place.fresh().await, config, names).await
    }

    pub(crate) async fn of_namespaces_on(base: &Base, config: Config, names: &[&str]) -> Vec<Self> {
        let set = NamespaceSet::open(base.database(), config, None, Arc::new(SystemClock));
        let set = set.await.unwrap();
        let world = |name: &&str| Self {
            service: Arc::clone(set.find(name).unwrap()),
            base: base.clone(),
        };
        names.iter().map(world).collect()
    }

    /// Another service on the same database, as another process would have it.
    pub(crate) async fn neighbour(&self) -> Self {
        self.neighbour_at(Arc::new(SystemClock)).await
    }

    /// The same, whose time is that of `clock`.
    pub(crate) async fn neighbour_at(&self, clock: Arc<dyn Clock>) -> Self {
        Self::on(self.base.again().await, Config::default(), None, clock).await
    }

    /// The same of a program that knows fewer versions of the schema. SQLite alone has
    /// a history of them.
    pub(crate) async fn older_neighbour(&self, versions: usize) -> Self {
        let (_, directory) = self.base.sqlite();
        let base = Base::of_file(Arc::clone(directory), "test.fingerpost", versions);
        Self::on(base, Config::default(), None, Arc::new(SystemClock)).await
    }

    pub(crate) async fn on(
        base: Base,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let service = HashEquiv::new(base.database(), config, upstream, clock);
        Self {
            service: service.await.unwrap(),
            base,
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
            metadata,
            siginfo,
            ..reported(task, output, proposed)
        };
        let told = self.service.report(&builder(), report).await.unwrap();
        name(&told.unihash.to_text())
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
        let answer = self.try_command(name, argument).await;
        answer.map_err(|failure| failure.to_string())
    }

    /// The same, with the failure.
    pub(crate) async fn try_command(&self, name: &str, argument: &str) -> Result<String, Failure> {
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
        match entry.call(call, argument).await?.reply {
            fingerpost_core::Reply::Encoded(encoded) => {
                Ok(String::from_utf8(encoded.bytes.to_vec()).unwrap())
            }
            other => panic!("unexpected {other:?}"),
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

/// A report that says nothing but the hashes.
pub(crate) fn reported(task: &str, output: &str, proposed: &str) -> Reported {
    Reported {
        task: self::task(task),
        outhash: Some(Outhash::parse(&hash(output))),
        proposed: Unihash::parse(&hash(proposed)),
        metadata: Metadata::default(),
        siginfo: None,
    }
}
