//! Siginfo listings on their way into a database and out of it: which base one is encoded
//! against, and how one is read back. Where they lie is the store's business.

use std::sync::Arc;

use fingerpost_hashequiv_proto::types::Method;
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::namespace::NamespaceId;
use crate::siginfo::{self, Digest, Encoded, Promise};
use crate::store::{Report, StoreError};

/// Above this a listing is compressed on a thread of its own, so that the
/// connections that share the runtime's threads do not wait for it.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// Bytes of base listings that are kept for encoding further ones.
const BASES_BYTES: u64 = 32 << 20;

/// The family that a listing belongs to; its members resemble each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Family {
    /// The namespace, in a store that keeps the listings of each apart.
    pub(crate) within: Option<NamespaceId>,
    pub(crate) method: Method,
    pub(crate) pn: String,
    pub(crate) task: String,
}

impl Family {
    pub(crate) fn of(report: &Report, within: Option<NamespaceId>) -> Option<Self> {
        Some(Self {
            within,
            method: report.task.method.clone(),
            pn: report.metadata.pn.clone()?,
            task: report.metadata.task.clone()?,
        })
    }
}

/// A base listing in memory.
#[derive(Debug)]
pub(crate) struct BaseListing {
    pub(crate) digest: Digest,
    pub(crate) text: String,
    pub(crate) stored_bytes: usize,
}

#[derive(Clone)]
struct ByText;

impl Weighter<Family, Arc<BaseListing>> for ByText {
    fn weight(&self, family: &Family, base: &Arc<BaseListing>) -> u64 {
        (family.pn.len() + family.task.len() + base.text.len() + 200) as u64
    }
}

/// The bases that further listings are encoded against.
pub(crate) struct Bases(Cache<Family, Arc<BaseListing>, ByText, RandomState>);

impl Default for Bases {
    fn default() -> Self {
        let listings = usize::try_from(BASES_BYTES / 16_384).unwrap_or(usize::MAX);
        Self(Cache::with(
            listings,
            BASES_BYTES,
            ByText,
            RandomState::default(),
            DefaultLifecycle::default(),
        ))
    }
}

impl Bases {
    pub(crate) fn get(&self, family: &Family) -> Option<Arc<BaseListing>> {
        self.0.get(family)
    }

    pub(crate) fn put(&self, family: Family, base: Arc<BaseListing>) {
        self.0.insert(family, base);
    }
}

/// A listing made ready before the writer's turn, which is short.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) digest: Digest,
    /// `None` when the base itself has this text.
    pub(crate) encoded: Option<Encoded>,
    pub(crate) base: Option<Arc<BaseListing>>,
    pub(crate) family: Option<Family>,
}

impl Prepared {
    /// The text as a base of its own.
    pub(crate) fn fresh(&self, text: &str) -> Vec<u8> {
        match &self.encoded {
            Some(Encoded::Base(data)) => data.clone(),
            _ => siginfo::encode_fresh(text.as_bytes()),
        }
    }
}

/// Encodes a report's listing against the newest base of its family.
pub(crate) async fn prepare(
    text: String,
    base: Option<Arc<BaseListing>>,
    family: Option<Family>,
) -> Result<Prepared, StoreError> {
    if text.len() <= INLINE_BYTES_MAX {
        return Ok(encode(&text, base, family));
    }
    tokio::task::spawn_blocking(move || encode(&text, base, family))
        .await
        .map_err(StoreError::database)
}

fn encode(text: &str, base: Option<Arc<BaseListing>>, family: Option<Family>) -> Prepared {
    let digest = Digest::of(text.as_bytes());
    let same = base.as_ref().is_some_and(|base| base.digest == digest);
    let encoded = (!same).then(|| {
        let against = base.as_ref().map(|base| siginfo::Base {
            text: base.text.as_bytes(),
            stored_bytes: base.stored_bytes,
        });
        siginfo::encode(text.as_bytes(), against)
    });
    Prepared {
        digest,
        encoded,
        base,
        family,
    }
}

/// A listing as its row holds it, with the row of its base.
#[derive(Debug)]
pub(crate) struct StoredListing {
    pub(crate) promise: Promise,
    pub(crate) data: Vec<u8>,
    pub(crate) base: Option<(Promise, Vec<u8>)>,
}

impl StoredListing {
    /// Decodes the text.
    pub(crate) fn decode(self) -> Result<String, StoreError> {
        let damaged = |error: &dyn std::fmt::Display| StoreError::Damaged(error.to_string());
        let base = match &self.base {
            Some((promise, data)) => {
                Some(siginfo::decode(data, *promise, None).map_err(|error| damaged(&error))?)
            }
            None => None,
        };
        let text = siginfo::decode(&self.data, self.promise, base.as_deref())
            .map_err(|error| damaged(&error))?;
        String::from_utf8(text).map_err(|error| damaged(&error))
    }

    /// The base that a row without one is.
    pub(crate) fn into_base(self, digest: Digest) -> Result<Arc<BaseListing>, StoreError> {
        let stored_bytes = self.data.len();
        Ok(Arc::new(BaseListing {
            digest,
            text: self.decode()?,
            stored_bytes,
        }))
    }
}
