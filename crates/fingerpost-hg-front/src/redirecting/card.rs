//! Cards: what is known of answers that were put to a target.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{CacheKey, ContentCoding, EntryForm, EntryName, Redirect};
use fingerpost_hg_proto::Location;
use parking_lot::Mutex;

use super::{Follows, form_name};
use crate::answers::AnswerCache;

/// What is known of cards without asking the stores.
#[derive(Default)]
pub(super) struct Cards {
    /// Cards that were seen lately. A target keeps what clients were sent to; the
    /// card that describes it is an entry like others, which its store evicts.
    seen: Mutex<HashMap<EntryName, Card>>,
    /// When stores had none.
    absent: Mutex<HashMap<EntryName, Instant>>,
}

/// With so many in memory, all are looked up again.
const CARDS_MAX: usize = 10_000;
/// For how long a card that no store had is not looked for again. It is short:
/// another server may put the answer to a target meanwhile.
pub(super) const ABSENCE: Duration = Duration::from_secs(3);

impl Cards {
    pub(super) fn seen(&self, name: &EntryName) -> Option<Card> {
        self.seen.lock().get(name).copied()
    }

    pub(super) fn remember(&self, name: EntryName, card: Card) {
        insert(&mut self.seen.lock(), name, card);
        self.absent.lock().remove(&name);
    }

    /// The card of an answer. The stores are asked only if they did not lack it
    /// just before `now`.
    pub(super) async fn find(
        &self,
        cache: &AnswerCache,
        key: &CacheKey,
        now: Instant,
    ) -> Option<Card> {
        let name = Card::name(cache, key);
        if let Some(card) = self.seen(&name) {
            return Some(card);
        }
        let lacked = self.absent.lock().get(&name).copied();
        if lacked.is_some_and(|at| now.saturating_duration_since(at) < ABSENCE) {
            return None;
        }
        let found = Card::find(cache, &name).await;
        match found {
            Some(card) => self.remember(name, card),
            None => insert(&mut self.absent.lock(), name, now),
        }
        found
    }
}

fn insert<V>(known: &mut HashMap<EntryName, V>, name: EntryName, value: V) {
    if known.len() >= CARDS_MAX {
        known.clear();
    }
    known.insert(name, value);
}

/// What is known of the plain bytes of an answer that was put to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) plain_len: u64,
    pub(super) sha256: [u8; 32],
    /// What making it again would take.
    pub(super) work: Duration,
}

impl Card {
    pub(super) const BYTES: usize = 49;
    const VERSION: u8 = 1;

    pub(super) async fn find(cache: &AnswerCache, name: &EntryName) -> Option<Self> {
        let content = cache.dispatch.look_up(name).await?;
        let bytes = content.read(0, Self::BYTES).await.ok()?;
        Self::decode(&bytes)
    }

    pub(super) async fn keep(&self, cache: &AnswerCache, name: &EntryName) {
        let content = Arc::new(bytes::Bytes::from(self.encode()));
        cache.dispatch.store(name, content).await;
    }

    pub(super) fn name(cache: &AnswerCache, key: &CacheKey) -> EntryName {
        cache.names.name(key, "card")
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let micros = u64::try_from(self.work.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = vec![Self::VERSION];
        bytes.extend(self.plain_len.to_be_bytes());
        bytes.extend(self.sha256);
        bytes.extend(micros.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
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

    pub(super) fn form(
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
    pub(super) fn location(&self, redirect: Redirect, follows: &Follows) -> Location {
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
