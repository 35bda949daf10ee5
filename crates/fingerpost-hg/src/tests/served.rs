//! A repository of a test, served: commands run as a client's are.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fingerpost_core::{
    Call, Clock, Failure, ManualClock, More, Permission, PermissionSet, Principal, Reply,
    SystemClock,
};
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Value;

use super::world::World;
use crate::site::{Catalogue, Found, RepositoryEntry, SiteConfig, TrustPolicy};
use crate::{Mercurial, MercurialOptions, RepositoryView};

/// A site of repositories, named `a`, `b` and so on.
pub(crate) struct Served {
    pub(crate) service: Arc<Mercurial>,
    pub(crate) clock: Arc<ManualClock>,
    catalogue: Catalogue,
}

impl Served {
    pub(crate) fn new(world: &World) -> Self {
        Self::with(&[world], MercurialOptions::default())
    }

    pub(crate) fn with(worlds: &[&World], options: MercurialOptions) -> Self {
        let mut config = SiteConfig::new(TrustPolicy::of_this_process());
        let roots = worlds
            .iter()
            .map(|world| world.dot_hg().parent().unwrap().to_owned());
        let names = ["a", "b", "c"].map(str::to_owned);
        config.repositories = names.into_iter().zip(roots).collect();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self {
            service: Arc::new(Mercurial::new(options, clock.clone())),
            catalogue: Catalogue::open(config, clock.now()).unwrap(),
            clock,
        }
    }

    pub(crate) fn entry(&self, path: &str) -> Arc<RepositoryEntry> {
        match self.catalogue.find(path, self.clock.now()) {
            Found::Repository { repository, .. } => repository,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn view(&self) -> Arc<RepositoryView> {
        self.service.view(&self.entry("/a")).unwrap()
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
        origin: fingerpost_core::Origin::Unknown,
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
