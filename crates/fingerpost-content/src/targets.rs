//! Which target an answer is redirected to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fingerpost_core::{Cacher as _, CacherError, Content, EntryName, RedirectTarget};

use crate::SecretUrl;
use crate::presence::{Known, Presence};
use crate::target::{Audience, Probe, Target, Where};

/// Entries per target of which it is remembered that they are there.
const PRESENT_MAX: usize = 100_000;

/// All redirect targets in the server's order.
#[derive(Debug)]
pub struct RedirectTargets {
    targets: Vec<Served>,
}

/// A target with what is known about it.
pub struct Served {
    target: Target,
    healthy: AtomicBool,
    presence: Presence,
}

/// What a redirect depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Names of targets that the client sent; `None`: it said nothing about
    /// redirects, so it gets none.
    pub accepts: Option<&'a [&'a [u8]]>,
    /// Where the client is.
    pub peer: IpAddr,
    /// Whether it is a stock client.
    pub stock: bool,
    /// Who may see the answer.
    pub audience: Audience,
    /// Bytes of the answer.
    pub len: u64,
}

/// Where a client can fetch an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Name of the target.
    pub target: String,
    /// The URL, for the client alone.
    pub url: SecretUrl,
}

impl RedirectTargets {
    /// Sorts and checks. Targets that are probed count as unhealthy until a
    /// probe has shown that they work. An entry is redirected to for
    /// `presence_ttl` after it was uploaded or seen; keep it shorter than what
    /// the place waits before it deletes something.
    ///
    /// # Errors
    ///
    /// A sentence that names the target that is wrong.
    pub fn new(mut targets: Vec<Target>, presence_ttl: Duration) -> Result<Self, String> {
        let mut names = HashSet::new();
        for target in &targets {
            target.check()?;
            if !names.insert(&target.advertised.name) {
                let name = &target.advertised.name;
                return Err(format!(
                    "{name}: there are two redirect targets of that name"
                ));
            }
        }
        targets.sort_by_key(|target| target.priority);
        let served = |target: Target| Served {
            healthy: AtomicBool::new(target.probe == Probe::Nothing),
            presence: Presence::new(presence_ttl, PRESENT_MAX),
            target,
        };
        Ok(Self {
            targets: targets.into_iter().map(served).collect(),
        })
    }

    /// All of them in the server's order.
    pub fn all(&self) -> &[Served] {
        &self.targets
    }

    /// What a client is told: the healthy targets that are for it.
    pub fn advertised(&self, peer: IpAddr, stock: bool) -> Vec<RedirectTarget> {
        self.targets
            .iter()
            .filter(|served| served.is_healthy() && served.target.is_for(peer, stock))
            .map(|served| served.target.advertised.clone())
            .collect()
    }

    /// The targets that an answer may be redirected to, the best first.
    pub fn fitting(&self, asking: &Asking<'_>) -> impl Iterator<Item = &Served> {
        let asking = *asking;
        self.targets
            .iter()
            .filter(move |served| served.fits(&asking))
    }

    /// The first fitting place where the entry is, by what is remembered or by
    /// looking; `None` if the answer has to be sent here. Places that fail are
    /// passed over.
    pub async fn find(&self, asking: &Asking<'_>, name: &EntryName) -> Option<Location> {
        for served in self.fitting(asking) {
            match served.find(name, asking.len, Instant::now()).await {
                Ok(Some(url)) => {
                    let target = served.target.advertised.name.clone();
                    return Some(Location { target, url });
                }
                Ok(None) => {}
                Err(error) => {
                    let target = &served.target.advertised.name;
                    tracing::debug!(target, %error, "a redirect target did not answer");
                }
            }
        }
        None
    }
}

impl Served {
    /// As it was configured.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the last probes worked.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Says how it is; returns whether that is new.
    pub(crate) fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// Puts an entry there, so that it is redirected to from now on. Says
    /// whether it was put: not at our own endpoint, which has what we have, and
    /// not where more could see it than its audience.
    ///
    /// # Errors
    ///
    /// What the object store says.
    pub async fn upload(
        &self,
        audience: Audience,
        name: &EntryName,
        content: Arc<dyn Content>,
    ) -> Result<bool, CacherError> {
        let Some(store) = self.target.place.store() else {
            return Ok(false);
        };
        if !self.target.may_show(audience) {
            return Ok(false);
        }
        let len = content.len();
        store.store(name, content).await?;
        self.presence.note(name, Some(len), Instant::now());
        Ok(true)
    }

    fn fits(&self, asking: &Asking<'_>) -> bool {
        let target = &self.target;
        let name = target.advertised.name.as_bytes();
        asking.accepts.is_some_and(|names| names.contains(&name))
            && self.is_healthy()
            && target.is_for(asking.peer, asking.stock)
            && target.takes(asking.len)
            && target.may_show(asking.audience)
    }

    /// A URL of the entry, if it is there in its full length.
    async fn find(
        &self,
        name: &EntryName,
        len: u64,
        now: Instant,
    ) -> Result<Option<SecretUrl>, CacherError> {
        if let Some(store) = self.target.place.store() {
            let known = match self.presence.known(name, now) {
                Known::Present(len) => Some(len),
                Known::Absent => None,
                Known::Nothing => {
                    let found = store.find(name).await?;
                    self.presence.note(name, found, now);
                    found
                }
            };
            if known != Some(len) {
                return Ok(None);
            }
        }
        self.url(name, now).await.map(Some)
    }

    pub(crate) async fn url(
        &self,
        name: &EntryName,
        now: Instant,
    ) -> Result<SecretUrl, CacherError> {
        match &self.target.place {
            Where::Presigned { presigner, .. } => presigner.url(name, now).await,
            Where::Public { base, .. } => Ok(base.url(name)),
            Where::Own(own) => Ok(own.url(name)),
        }
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("target", &self.target)
            .field("healthy", &self.is_healthy())
            .finish_non_exhaustive()
    }
}
