//! A repository of a test, served: commands run as a client's are.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fingerpost_core::{
    Call, Clock, Failure, More, Permission, PermissionSet, Principal, Reply, SystemClock,
};
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Value;

use super::world::World;
use crate::site::{Catalogue, Found, RepositoryEntry, SiteConfig, TrustPolicy};
use crate::{Mercurial, MercurialOptions, RepositoryView};

/// A site of one repository, named `a`.
pub(crate) struct Served {
    pub(crate) service: Arc<Mercurial>,
    catalogue: Catalogue,
    now: Arc<dyn Clock>,
}

impl Served {
    pub(crate) fn new(world: &World) -> Self {
        Self::with(world, MercurialOptions::default())
    }

    pub(crate) fn with(world: &World, options: MercurialOptions) -> Self {
        let mut config = SiteConfig::new(TrustPolicy::of_this_process());
        let dot_hg = world.dot_hg();
        let root = dot_hg.parent().unwrap().to_owned();
        config.repositories = BTreeMap::from([("a".to_owned(), root)]);
        let now: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            service: Arc::new(Mercurial::new(options, Arc::clone(&now))),
            catalogue: Catalogue::open(config, now.now()).unwrap(),
            now,
        }
    }

    pub(crate) fn entry(&self) -> Arc<RepositoryEntry> {
        match self.catalogue.find("/a", self.now.now()) {
            Found::Repository { repository, .. } => repository,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn view(&self) -> Arc<RepositoryView> {
        self.service.view(&self.entry()).unwrap()
    }
}

/// Runs a command to its end, and returns the objects of its answer.
pub(crate) fn run(
    view: &Arc<RepositoryView>,
    command: &str,
    args: &[(&str, Value)],
) -> Result<Vec<u8>, Failure> {
    let commands = crate::commands();
    let (_, entry) = commands.find(command, false).unwrap();
    let mut wire = Args::new();
    for (name, value) in args {
        wire.insert(*name, value.clone());
    }
    let call = Call {
        service: view,
        principal: &Principal::anonymous(PermissionSet::of(&[Permission::Pull])),
        peer: "test",
    };
    let mut called = pin!(entry.call(call, &wire));
    // Nothing in a command waits for anything but the disk.
    let Poll::Ready(outcome) = called
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("{command} waits");
    };
    let mut out = Vec::new();
    match outcome?.reply {
        Reply::Object(encoded) | Reply::Encoded(encoded) => out.extend_from_slice(&encoded.bytes),
        Reply::Objects(mut objects) => while objects.append(&mut out)? == More::Yes {},
        Reply::Redirect(_) => panic!("{command} redirects"),
    }
    Ok(out)
}
