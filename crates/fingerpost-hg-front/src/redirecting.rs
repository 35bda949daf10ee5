//! Answers that clients fetch from another place: found there, and put there.
//!
//! An answer gets to a target when it is asked for a second time by a client that
//! would follow: then it is known to be worth it, and the bytes are at hand. What
//! lies at a target is described by a card in the content stores: without one
//! nothing is redirected, so that length and digest are always those of the bytes
//! that were put there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{
    CacheKey, Content, ContentCoding, Counts, EntryForm, EntryName, Following, Redirect, Redirects,
    Spool, SpoolOptions,
};
use fingerpost_hg_proto::{ContentEncoding, Decompressor, Location};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::answers::AnswerCache;

/// Sends clients elsewhere, and sees to it that there is something.
pub(crate) struct Redirecting {
    pub(crate) targets: Arc<dyn Redirects>,
    spool: SpoolOptions,
    /// What is being put to a target, or was tried in vain lately.
    under_way: Mutex<HashSet<EntryName>>,
    /// Cards that were seen lately. A target keeps what clients were sent to; the
    /// card that describes it is an entry like others, which its store evicts.
    cards: Mutex<HashMap<EntryName, Card>>,
    places: Arc<Semaphore>,
}

/// What a client said about redirects, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Follows {
    pub(crate) following: Following,
    /// Codings that it can undo at a target.
    pub(crate) encodings: Vec<Vec<u8>>,
    /// Hashes that it can check.
    pub(crate) hashes: Vec<Vec<u8>>,
}

/// What came of looking for a target.
pub(crate) enum Found {
    /// The client fetches it from there.
    There(Location),
    /// A target would take it, and has nothing.
    Missing,
    /// There is no target for it.
    No,
}

/// Answers that are put to targets at once.
const PLACES: usize = 2;
/// The same answer is not put again for as long, and not tried for as long after a
/// failure: each attempt reads and decodes all of it.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(120);
/// More than this are not under way or pausing.
const UNDER_WAY_MAX: usize = 10_000;
/// With so many cards in memory, all are looked up again.
const CARDS_MAX: usize = 10_000;
/// How much is taken from a store at a time.
const STEP_BYTES: usize = 256 << 10;

impl Redirecting {
    pub(crate) fn new(targets: Arc<dyn Redirects>, spool: SpoolOptions) -> Self {
        Self {
            targets,
            spool,
            under_way: Mutex::default(),
            cards: Mutex::default(),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// Where the answer of `key` lies.
    pub(crate) async fn find(
        &self,
        cache: &AnswerCache,
        counts: &Counts,
        key: &CacheKey,
        follows: &Follows,
    ) -> Found {
        let following = &follows.following;
        if !self.targets.would_take(following, None, None) {
            return Found::No;
        }
        let Some(card) = self.card(cache, key).await else {
            return Found::Missing;
        };
        if !self
            .targets
            .would_take(following, None, Some(card.plain_len))
        {
            return Found::No;
        }
        for coding in follows.codings() {
            let form = card.form(cache, key, coding);
            if let Some(redirect) = self.targets.find(following, &form).await {
                counts.count_redirected(card.plain_len, card.work);
                return Found::There(card.location(redirect, follows));
            }
        }
        Found::Missing
    }

    /// Whether this is to be put now.
    fn begin(&self, name: EntryName) -> bool {
        let mut under_way = self.under_way.lock();
        under_way.len() < UNDER_WAY_MAX && under_way.insert(name)
    }

    async fn card(&self, cache: &AnswerCache, key: &CacheKey) -> Option<Card> {
        let name = Card::name(cache, key);
        let known = self.cards.lock().get(&name).copied();
        if known.is_some() {
            return known;
        }
        let card = Card::find(cache, &name).await?;
        self.remember(name, card);
        Some(card)
    }

    fn remember(&self, name: EntryName, card: Card) {
        let mut cards = self.cards.lock();
        if cards.len() >= CARDS_MAX {
            cards.clear();
        }
        cards.insert(name, card);
    }

    /// Puts an answer to a target, behind the back of who asked for it: `stored`
    /// are its bytes in this encoding. It is left out if there is much to do.
    pub(crate) fn put(
        self: &Arc<Self>,
        cache: &AnswerCache,
        counts: &Counts,
        (key, encoding): (&CacheKey, ContentEncoding),
        stored: Arc<dyn Content>,
        follows: &Follows,
        runtime: &Handle,
    ) {
        let zstd = Some(ContentCoding::Zstd);
        let is_coded = encoding == ContentEncoding::Zstd8mb
            && follows.undoes(ContentCoding::Zstd)
            && self.targets.would_take(&follows.following, zstd, None);
        let coding = zstd.filter(|_| is_coded);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let name = form_name(cache, key, coding);
        if !self.begin(name) {
            return;
        }
        let putting = Putting {
            redirecting: Arc::clone(self),
            cache: cache.clone(),
            key: *key,
            encoding,
            coding,
            work: counts.work(stored.len()),
            stored,
            following: follows.following.clone(),
        };
        let (runtime, redirecting) = (runtime.clone(), Arc::clone(self));
        runtime.clone().spawn(async move {
            let done = tokio::task::spawn_blocking(move || {
                let _place = place;
                putting.run(&runtime)
            });
            let pause = match done.await {
                Ok(Ok(())) => PAUSE,
                Ok(Err(why)) => {
                    tracing::debug!(%why, "an answer is not put to a redirect target: {why}");
                    PAUSE_AFTER_FAILURE
                }
                Err(panic) => {
                    tracing::error!(%panic, "putting an answer to a redirect target panicked");
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::time::sleep(pause).await;
            redirecting.under_way.lock().remove(&name);
        });
    }
}

impl Follows {
    fn undoes(&self, coding: ContentCoding) -> bool {
        let name = coding.name().as_bytes();
        self.encodings.iter().any(|known| known == name)
    }

    /// The codings that it takes, the best first.
    fn codings(&self) -> impl Iterator<Item = Option<ContentCoding>> {
        let zstd = self.undoes(ContentCoding::Zstd);
        let zstd = zstd.then_some(Some(ContentCoding::Zstd));
        zstd.into_iter().chain([None])
    }
}

/// Why something is not put to a target, to be told and no more.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

const TOO_SHORT: &str = "the entry ends too early";

/// An answer on its way to a target.
struct Putting {
    redirecting: Arc<Redirecting>,
    cache: AnswerCache,
    key: CacheKey,
    encoding: ContentEncoding,
    coding: Option<ContentCoding>,
    stored: Arc<dyn Content>,
    work: Duration,
    following: Following,
}

impl Putting {
    /// Blocks until it is there, or does not get there.
    fn run(self, runtime: &Handle) -> Result<(), BoxError> {
        let (card, plain) = self.plain(runtime)?;
        let name = Card::name(&self.cache, &self.key);
        self.redirecting.remember(name, card);
        let targets = &self.redirecting.targets;
        if !targets.would_take(&self.following, self.coding, Some(card.plain_len)) {
            return Ok(());
        }
        let form = card.form(&self.cache, &self.key, self.coding);
        let content = plain.unwrap_or(self.stored);
        runtime.block_on(async {
            targets.publish(&self.following, &form, content).await?;
            card.keep(&self.cache, &name).await;
            Ok(())
        })
    }

    /// Describes the plain bytes, and holds them if they are what is to be put
    /// there and are not what is stored.
    fn plain(&self, runtime: &Handle) -> Result<(Card, Option<Arc<dyn Content>>), BoxError> {
        let is_plain = self.encoding == ContentEncoding::Identity;
        let mut spool = (self.coding.is_none() && !is_plain)
            .then(|| Spool::new(self.redirecting.spool.clone()));
        let (mut digest, mut plain_len, mut offset) = (Sha256::new(), 0, 0);
        let mut decompressor = Decompressor::new(self.encoding)?;
        while offset < self.stored.len() {
            let bytes = runtime.block_on(self.stored.read(offset, STEP_BYTES))?;
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

/// What is known of the plain bytes of an answer that was put to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Card {
    plain_len: u64,
    sha256: [u8; 32],
    /// What making it again would take.
    work: Duration,
}

impl Card {
    const BYTES: usize = 49;
    const VERSION: u8 = 1;

    async fn find(cache: &AnswerCache, name: &EntryName) -> Option<Self> {
        let content = cache.dispatch.look_up(name).await?;
        let bytes = content.read(0, Self::BYTES).await.ok()?;
        Self::decode(&bytes)
    }

    async fn keep(&self, cache: &AnswerCache, name: &EntryName) {
        let content = Arc::new(bytes::Bytes::from(self.encode()));
        cache.dispatch.store(name, content).await;
    }

    fn name(cache: &AnswerCache, key: &CacheKey) -> EntryName {
        cache.names.name(key, "card")
    }

    fn encode(&self) -> Vec<u8> {
        let micros = u64::try_from(self.work.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = vec![Self::VERSION];
        bytes.extend(self.plain_len.to_be_bytes());
        bytes.extend(self.sha256);
        bytes.extend(micros.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first()?;
        let (plain_len, bytes) = bytes.split_first_chunk()?;
        let (sha256, bytes) = bytes.split_first_chunk()?;
        let (micros, rest) = bytes.split_first_chunk()?;
        (*version == Self::VERSION && rest.is_empty()).then(|| Self {
            plain_len: u64::from_be_bytes(*plain_len),
            sha256: *sha256,
            work: Duration::from_micros(u64::from_be_bytes(*micros)),
        })
    }

    fn form(
        &self,
        cache: &AnswerCache,
        key: &CacheKey,
        coding: Option<ContentCoding>,
    ) -> EntryForm {
        EntryForm {
            name: form_name(cache, key, coding),
            coding,
            plain_len: self.plain_len,
        }
    }

    /// What the client is told. Stock clients print a warning when there are
    /// hashes or certificates, because they do not check them.
    fn location(&self, redirect: Redirect, follows: &Follows) -> Location {
        let mut location = Location {
            size: Some(self.plain_len),
            ..Location::new(redirect.location.expose())
        };
        if follows.following.client.is_stock {
            return location;
        }
        if follows.hashes.iter().any(|name| name == b"sha256") {
            location.fullhashes = vec![(b"sha256".to_vec(), self.sha256.to_vec())];
        }
        location.serverdercerts = redirect.certificates.server;
        location.servercadercerts = redirect.certificates.authorities;
        location
    }
}

/// The name of an answer at a target. Plain, it is that of the encoding; in a coding
/// it does not matter by which compressor, because it is fetched as a whole.
fn form_name(cache: &AnswerCache, key: &CacheKey, coding: Option<ContentCoding>) -> EntryName {
    match coding {
        Some(coding) => cache.names.name(key, &format!("coding {}", coding.name())),
        None => cache.name(key, (ContentEncoding::Identity, 0)),
    }
}

#[cfg(test)]
mod tests;
