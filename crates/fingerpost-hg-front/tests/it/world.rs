//! A door over repositories of one test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use fingerpost_core::{Clock, SystemClock};
use fingerpost_hg::site::{Catalogue, SiteConfig, TrustPolicy};
use fingerpost_hg::{Mercurial, MercurialOptions};
use fingerpost_hg_front::{FrontOptions, HgFront};
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
        }
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let catalogue = Catalogue::open(site, clock.now()).unwrap();
        let mercurial = Mercurial::new(self.mercurial.clone(), Arc::clone(&clock));
        let front = HgFront::new(
            Arc::new(catalogue),
            Arc::new(mercurial),
            None,
            clock,
            self.front.clone(),
        );
        front.router()
    }
}

/// Sends one request through a door.
pub(crate) async fn send(door: &axum::Router, request: Request<Vec<u8>>) -> Response<Body> {
    let request = request.map(Body::from);
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
