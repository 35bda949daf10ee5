//! A door over repositories of one test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use fingerpost_accounts::{CREDENTIALS_SQL, LoginOptions, Logins};
use fingerpost_core::{Clock, PermissionSet, SystemClock};
use fingerpost_db::{Migration, Settings, Sqlite};
use fingerpost_hg::site::{Catalogue, SiteConfig, TrustPolicy};
use fingerpost_hg::{Mercurial, MercurialOptions};
use fingerpost_hg_front::{AnswerCache, FrontOptions, HgFront};
use fingerpost_net::{Guards, Peer, PeerAddress, Transport};
use tower::ServiceExt as _;

/// Where the recorded exchanges and the repositories are.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hg-v2-examples")
}

/// One repository at the root, in a directory of its own.
pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) mercurial: MercurialOptions,
    pub(crate) front: FrontOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Option<AnswerCache>,
    pub(crate) guards: Guards,
    logins: Option<Logins>,
}

impl World {
    /// The recorded repository `name`, with `hgrc` instead of its own settings.
    pub(crate) fn recorded(name: &str, hgrc: &str) -> Self {
        let world = Self::empty();
        let tar = examples().join(format!("{name}.tar"));
        let root = world.root();
        std::fs::create_dir_all(&root).unwrap();
        run(Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(&root));
        std::fs::write(root.join(".hg/hgrc"), hgrc).unwrap();
        world
    }

    /// Without a repository yet.
    pub(crate) fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            mercurial: MercurialOptions::default(),
            front: FrontOptions::default(),
            clock: Arc::new(SystemClock),
            cache: None,
            guards: Guards::default(),
            logins: None,
        }
    }

    /// Lets a user log in with the token that comes back.
    pub(crate) async fn add_user(&mut self, name: &str) -> String {
        self.add_user_with(name, PermissionSet::NONE).await
    }

    pub(crate) async fn add_user_with(&mut self, name: &str, may: PermissionSet) -> String {
        let token = self.logins().accounts.create(name, may).await.unwrap();
        token.unwrap().reveal().to_owned()
    }

    /// The ways to log in, which are there from now on.
    pub(crate) fn logins(&mut self) -> &Logins {
        let (directory, clock) = (&self.directory, &self.clock);
        self.logins.get_or_insert_with(|| {
            let settings = Settings::new(directory.path().join("accounts"));
            let db = Sqlite::open(settings, MIGRATIONS).unwrap();
            let options = LoginOptions {
                certificates: [("cn:ann".to_owned(), "ann".to_owned())].into(),
                ..LoginOptions::default()
            };
            Logins::new(db, Arc::clone(clock), options).unwrap()
        })
    }

    /// The directory of the repository.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    /// A door that serves the repository as it is at each request.
    pub(crate) fn door(&self) -> axum::Router {
        let mut site = SiteConfig::new(TrustPolicy::of_this_process());
        site.repositories.insert(String::new(), self.root());
        self.door_to(site)
    }

    /// A door to a site.
    pub(crate) fn door_to(&self, site: SiteConfig) -> axum::Router {
        let clock = Arc::clone(&self.clock);
        let catalogue = Catalogue::open(site, clock.now()).unwrap();
        let mercurial = Mercurial::new(self.mercurial.clone(), Arc::clone(&clock));
        let front = HgFront::new(
            Arc::new(catalogue),
            Arc::new(mercurial),
            self.logins.clone(),
            clock,
            self.front.clone(),
        )
        .guarded(self.guards.clone());
        match &self.cache {
            Some(cache) => front.remembering(cache.clone()).router(),
            None => front.router(),
        }
    }
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "schema",
        sql: include_str!("../../../fingerpost-hashequiv/src/sqlite/schema.sql"),
        min_reader: 1,
    },
    Migration {
        version: 2,
        name: "credentials",
        sql: CREDENTIALS_SQL,
        min_reader: 1,
    },
];

/// Whoever comes from there, without TLS.
pub(crate) fn peer(address: PeerAddress) -> Peer {
    Peer {
        address,
        transport: Transport::Tcp,
        listener: "test".into(),
        listener_name: None,
        proxy: None,
        tls: false,
        certificate: None,
    }
}

/// Sends one request through a door, from this host if it does not say from where.
pub(crate) async fn send(door: &axum::Router, request: Request<Vec<u8>>) -> Response<Body> {
    let mut request = request.map(Body::from);
    let extensions = request.extensions_mut();
    if extensions.get::<Peer>().is_none() {
        extensions.insert(peer(PeerAddress::Unnamed));
    }
    match door.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Mercurial 6.0.3, which `scripts/prepare` installs.
pub(crate) fn hg() -> PathBuf {
    let hg = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv-hg-6.0.3/bin/hg");
    assert!(
        hg.exists(),
        "{} is missing; scripts/prepare installs it",
        hg.display()
    );
    hg
}
