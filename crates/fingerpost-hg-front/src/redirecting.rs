//! Answers that clients fetch from another place: found there, and put there.
//!
//! An answer gets to a target when it is asked for a second time by a client that
//! would follow: then it is known to be worth it, and the bytes are at hand. What
//! lies at a target is described by a card in the content stores: without one
//! nothing is redirected, so that length and digest are always those of the bytes
//! that were put there.

mod card;
mod putting;

use std::sync::Arc;
use std::time::Instant;

use fingerpost_core::{
    CacheKey, ContentCoding, Counts, EntryName, Following, Redirects, SpoolOptions,
};
use fingerpost_hg_proto::{ContentEncoding, Location};
use tokio::runtime::Handle;

use crate::answers::AnswerCache;
use crate::shared::Stored;
use card::{Card, Cards};
use putting::{Putting, Queue};

/// Sends clients elsewhere, and sees to it that there is something.
pub(crate) struct Redirecting {
    pub(crate) targets: Arc<dyn Redirects>,
    spool: SpoolOptions,
    cards: Cards,
    queue: Queue,
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

/// An answer that its client would fetch from elsewhere.
///
/// Most answers lie at no target, and stores may be far away. So they are asked for
/// the answer itself first, and for its card only if they have it: what has to be
/// made takes one look-up and not two. That costs a server that knows an answer only
/// by its card, because it was restarted and the answer evicted, the making of it.
pub(crate) struct Looking<'a> {
    redirecting: &'a Arc<Redirecting>,
    cache: &'a AnswerCache,
    counts: &'a Counts,
    key: &'a CacheKey,
    follows: &'a Follows,
}

/// What came of looking for a target.
pub(crate) enum Place {
    /// The client fetches it from there.
    There(Location),
    /// A target would take it, and has nothing.
    Missing,
    /// There is no target for it.
    No,
    /// A target would take it, and only the stores may know whether it has it.
    Unseen,
}

impl Redirecting {
    pub(crate) fn new(targets: Arc<dyn Redirects>, spool: SpoolOptions) -> Self {
        Self {
            targets,
            spool,
            cards: Cards::default(),
            queue: Queue::default(),
        }
    }
}

impl<'a> Looking<'a> {
    /// For a client that follows redirects, of a server that has some.
    pub(crate) fn new(
        cache: &'a AnswerCache,
        counts: &'a Counts,
        key: &'a CacheKey,
        follows: Option<&'a Follows>,
    ) -> Option<Self> {
        Some(Self {
            redirecting: cache.redirecting.as_ref()?,
            cache,
            counts,
            key,
            follows: follows?,
        })
    }

    /// Where the answer lies, as far as that is known without asking the stores.
    pub(crate) async fn find_seen(&self) -> Place {
        let Redirecting { targets, cards, .. } = &**self.redirecting;
        if !targets.would_take(&self.follows.following, None, None) {
            return Place::No;
        }
        match cards.seen(&Card::name(self.cache, self.key)) {
            Some(card) => self.at_target(&card).await,
            None => Place::Unseen,
        }
    }

    /// Where the answer lies, as far as the stores know.
    pub(crate) async fn find_unseen(&self) -> Place {
        let cards = &self.redirecting.cards;
        match cards.find(self.cache, self.key, Instant::now()).await {
            Some(card) => self.at_target(&card).await,
            None => Place::Missing,
        }
    }

    async fn at_target(&self, card: &Card) -> Place {
        let (targets, following) = (&self.redirecting.targets, &self.follows.following);
        if !targets.would_take(following, None, Some(card.plain_len)) {
            return Place::No;
        }
        for coding in self.follows.codings() {
            let form = card.form(self.cache, self.key, coding);
            if let Some(redirect) = targets.find(following, &form).await {
                self.counts.count_redirected(card.plain_len, card.work);
                return Place::There(card.location(redirect, self.follows));
            }
        }
        Place::Missing
    }

    /// Puts an answer to a target, behind the back of who asked for it. It is left
    /// out if there is too much to do.
    pub(crate) fn put(&self, stored: &Stored<'_>, runtime: &Handle) {
        let following = &self.follows.following;
        let zstd = Some(ContentCoding::Zstd);
        let is_coded = stored.encoding == ContentEncoding::Zstd8mb
            && self.follows.undoes(ContentCoding::Zstd)
            && self.redirecting.targets.would_take(following, zstd, None);
        let putting = Putting {
            redirecting: Arc::clone(self.redirecting),
            cache: self.cache.clone(),
            key: *self.key,
            entry: stored.name,
            encoding: stored.encoding,
            coding: zstd.filter(|_| is_coded),
            work: self.counts.work(stored.content.len()),
            following: following.clone(),
        };
        putting.start(stored.content, runtime);
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
