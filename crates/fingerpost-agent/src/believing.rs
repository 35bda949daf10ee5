//! Whom the answers in a namespace are believed of, and what happens when that changes.
//!
//! Key rings are files, and a key that is revoked there verifies nothing any more: what was
//! judged by the rings of before is forgotten, in memory at once and on disk soon, and what is
//! still on its way is not remembered.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_net::Stamp;
use fingerpost_signatures::Trust;
use parking_lot::RwLock;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::namespaces::Namespaces;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::{Agent, AgentOptions};

/// How often it is looked whether a ring is another one.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who judges answers and signs reports; nobody, if signatures are of no concern.
#[derive(Default)]
pub(crate) struct Believed(RwLock<Option<Arc<Trust>>>);

impl Believed {
    pub(crate) fn new(trust: Option<Trust>) -> Self {
        Self(RwLock::new(trust.map(Arc::new)))
    }

    pub(crate) fn now(&self) -> Option<Arc<Trust>> {
        self.0.read().clone()
    }

    /// Remembers something, unless whoever judged it does so no longer.
    pub(crate) fn while_judged_by(&self, judge: Option<&Arc<Trust>>, remember: impl FnOnce()) {
        let now = self.0.read();
        let is_same = match (&*now, judge) {
            (Some(now), Some(judge)) => Arc::ptr_eq(now, judge),
            (now, judge) => now.is_none() && judge.is_none(),
        };
        if is_same {
            remember();
        }
    }

    /// Lets somebody else judge, while all that was remembered is forgotten.
    fn change(&self, trust: Option<Trust>, forget: impl FnOnce()) {
        let mut now = self.0.write();
        *now = trust.map(Arc::new);
        forget();
    }
}

impl Shared {
    async fn believe(&self, options: &AgentOptions) {
        let own = Some(&*self.namespace).filter(|name| !name.is_empty());
        let judge = options.judge(own);
        // First the snapshot: what it says is remembered only as long as the same one judges.
        if let Some(kept) = &self.kept {
            let publishers = options.snapshots.publishers.clone();
            kept.followed.believe(publishers).await;
        }
        self.trust.change(options.trust_within(own), || {
            self.knowledge.forget_all();
            if let Some(kept) = &self.kept {
                kept.listener.is_judged_by(judge);
            }
        });
    }
}

impl Namespaces {
    async fn believe(&self, options: &AgentOptions) {
        for shared in self.all() {
            shared.believe(options).await;
        }
    }
}

/// Reads the rings of an agent again whenever one is another file, until the agent ends. What
/// cannot be read is told, and the rings of before count on.
pub(crate) async fn read_rings_again(agent: Agent, settings: Settings, state: PathBuf) {
    let rings = settings.rings();
    if rings.is_empty() {
        return;
    }
    let here = agent.downgrade();
    drop(agent);
    let mut seen = Stamp::of(rings.iter());
    loop {
        sleep(LOOK_EVERY).await;
        let (settings, rings, state) = (settings.clone(), rings.clone(), state.clone());
        let before = seen.clone();
        let looked = spawn_blocking(move || {
            // The stamp first: what is written meanwhile is read the next time.
            let stamp = Stamp::of(rings.iter());
            (stamp != before).then(|| (stamp, settings.options(state)))
        });
        let Ok(changed) = looked.await else {
            return;
        };
        let Some(namespaces) = here.upgrade() else {
            return;
        };
        let Some((stamp, options)) = changed else {
            continue;
        };
        seen = stamp;
        let failed = &namespaces.first.figures.rings_failed;
        match options {
            Ok(options) => {
                namespaces.believe(&options).await;
                failed.store(false, Ordering::Relaxed);
                tracing::info!("key rings were read again");
            }
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                tracing::error!("a key ring cannot be read, and that of before counts: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_signatures::{KeyRing, Policy};

    use super::*;

    #[test]
    fn what_somebody_else_judged_is_not_remembered() {
        let trust = || Trust::new(Policy::Require, KeyRing::default(), None, Vec::new());
        let believed = Believed::new(Some(trust()));
        let judge = believed.now();
        let remembered = |judge: Option<&Arc<Trust>>| {
            let mut did = false;
            believed.while_judged_by(judge, || did = true);
            did
        };
        assert!(remembered(judge.as_ref()) && !remembered(None));
        let mut forgot = false;
        believed.change(Some(trust()), || forgot = true);
        assert!(forgot && !remembered(judge.as_ref()));
        assert!(remembered(believed.now().as_ref()));
        assert!(Believed::default().now().is_none());
    }
}
