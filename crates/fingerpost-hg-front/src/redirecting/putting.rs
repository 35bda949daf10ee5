//! Answers on their way to a target.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{CacheKey, Content, ContentCoding, EntryName, Following, Spool};
use fingerpost_hg_proto::{ContentEncoding, Decompressor};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::card::Card;
use super::{Redirecting, form_name};
use crate::answers::AnswerCache;

/// What is put to targets: some at once, some more in the order in which they came.
pub(super) struct Queue {
    /// What is being put to a target, waits for that, or was tried lately.
    under_way: Mutex<HashSet<EntryName>>,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    wait_max: Duration,
}

/// Answers that are put to targets at once. Each takes a thread, a core while it is
/// decoded, and a spool: clients need those more.
const PLACES: usize = 2;
/// Answers that wait for a place. They are known by name, so that none of them keeps
/// bytes in memory that its store evicts. A clone asks for some dozen answers, and to
/// put one takes about a second: more would wait longer than they may.
const WAITING_MAX: usize = 64;
/// How long one waits for a place. Whatever is in the places may take half an hour
/// with a target that hangs; by then nobody may want the answer any more, and whoever
/// does asks again.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// The same answer is not put again for as long, and not tried for as long after a
/// failure: each attempt reads and decodes all of it.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(120);
/// More than this are not under way or pausing.
const UNDER_WAY_MAX: usize = 10_000;
/// How much is taken from a store at a time.
const STEP_BYTES: usize = 256 << 10;

/// The right to be put to a target, now or later.
enum Turn {
    Now(OwnedSemaphorePermit),
    Later(OwnedSemaphorePermit),
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            places: Arc::new(Semaphore::new(PLACES)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            wait_max: WAIT_MAX,
        }
    }
}

impl Queue {
    /// A turn for an answer; `None` if it has had one lately, or too many wait.
    fn enter(&self, name: EntryName) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let turn = match place {
            Ok(place) => Turn::Now(place),
            Err(_) => Turn::Later(Arc::clone(&self.waiting).try_acquire_owned().ok()?),
        };
        let mut under_way = self.under_way.lock();
        let may_enter = under_way.len() < UNDER_WAY_MAX && under_way.insert(name);
        may_enter.then_some(turn)
    }

    fn leave(&self, name: &EntryName) {
        self.under_way.lock().remove(name);
    }
}

/// Why something is not put to a target, to be told and no more.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

const TOO_SHORT: &str = "the entry ends too early";

/// An answer on its way to a target.
pub(super) struct Putting {
    pub(super) redirecting: Arc<Redirecting>,
    pub(super) cache: AnswerCache,
    pub(super) key: CacheKey,
    /// What the stores know it by, in this encoding.
    pub(super) entry: EntryName,
    pub(super) encoding: ContentEncoding,
    pub(super) coding: Option<ContentCoding>,
    pub(super) work: Duration,
    pub(super) following: Following,
}

impl Putting {
    /// Begins, if it may: it goes on in the background.
    pub(super) fn start(self, stored: &Arc<dyn Content>, runtime: &Handle) {
        let name = form_name(&self.cache, &self.key, self.coding);
        let redirecting = Arc::clone(&self.redirecting);
        let Some(turn) = redirecting.queue.enter(name) else {
            return;
        };
        let stored = matches!(turn, Turn::Now(_)).then(|| Arc::clone(stored));
        runtime.spawn(async move {
            if let Some(pause) = self.put(turn, stored).await {
                tokio::time::sleep(pause).await;
            }
            redirecting.queue.leave(&name);
        });
    }

    /// Puts it when its turn comes, and says how long it is left alone from then on;
    /// `None` if its turn did not come.
    async fn put(self, turn: Turn, stored: Option<Arc<dyn Content>>) -> Option<Duration> {
        let place = match turn {
            Turn::Now(place) => place,
            Turn::Later(_waiting) => {
                let queue = &self.redirecting.queue;
                let place = Arc::clone(&queue.places).acquire_owned();
                let waiting = tokio::time::timeout(queue.wait_max, place);
                waiting.await.ok()?.ok()?
            }
        };
        let stored = match stored {
            Some(stored) => stored,
            None => self.cache.dispatch.look_up(&self.entry).await?,
        };
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            self.run(stored, &runtime)
        });
        Some(match done.await {
            Ok(Ok(())) => PAUSE,
            Ok(Err(why)) => {
                tracing::debug!(%why, "an answer is not put to a redirect target: {why}");
                PAUSE_AFTER_FAILURE
            }
            Err(panic) => {
                tracing::error!(%panic, "putting an answer to a redirect target panicked");
                PAUSE_AFTER_FAILURE
            }
        })
    }

    /// Blocks until it is there, or does not get there.
    fn run(self, stored: Arc<dyn Content>, runtime: &Handle) -> Result<(), BoxError> {
        let (card, plain) = self.plain(&*stored, runtime)?;
        let name = Card::name(&self.cache, &self.key);
        self.redirecting.cards.remember(name, card);
        let targets = &self.redirecting.targets;
        if !targets.would_take(&self.following, self.coding, Some(card.plain_len)) {
            return Ok(());
        }
        let form = card.form(&self.cache, &self.key, self.coding);
        let content = plain.unwrap_or(stored);
        runtime.block_on(async {
            targets.publish(&self.following, &form, content).await?;
            card.keep(&self.cache, &name).await;
            Ok(())
        })
    }

    /// Describes the plain bytes, and holds them if they are what is to be put
    /// there and are not what is stored.
    fn plain(
        &self,
        stored: &dyn Content,
        runtime: &Handle,
    ) -> Result<(Card, Option<Arc<dyn Content>>), BoxError> {
        let is_plain = self.encoding == ContentEncoding::Identity;
        let mut spool = (self.coding.is_none() && !is_plain)
            .then(|| Spool::new(self.redirecting.spool.clone()));
        let (mut digest, mut plain_len, mut offset) = (Sha256::new(), 0, 0);
        let mut decompressor = Decompressor::new(self.encoding)?;
        while offset < stored.len() {
            let bytes = runtime.block_on(stored.read(offset, STEP_BYTES))?;
            if bytes.is_empty() {
                return Err(TOO_SHORT.into());
            }
            offset += bytes.len() as u64;
            decompressor.each_piece(&bytes, STEP_BYTES, |plain| {
                digest.update(plain);
                plain_len += plain.len() as u64;
                match &mut spool {
                    Some(spool) => Ok::<_, BoxError>(spool.write(plain)?),
                    None => Ok(()),
                }
            })?;
        }
        if !decompressor.is_complete() {
            return Err(TOO_SHORT.into());
        }
        let card = Card {
            plain_len,
            sha256: digest.finalize().into(),
            work: self.work,
        };
        Ok((card, spool.map(|spool| spool.content())))
    }
}

#[cfg(test)]
mod tests;
