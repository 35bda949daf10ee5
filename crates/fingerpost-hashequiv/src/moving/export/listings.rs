//! Listings of the database, decoded.

use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use rusqlite::{Connection, OptionalExtension as _};

use crate::siginfo::{self, DecodeError, Digest, Promise};

/// Bytes of base listings that are kept decoded.
const BASES_BYTES: u64 = 32 << 20;

/// Decodes listings; keeps bases.
pub(super) struct Listings<'a> {
    source: &'a Connection,
    bases: Cache<i64, Arc<Vec<u8>>, ByText, RandomState>,
}

impl<'a> Listings<'a> {
    pub(super) fn new(source: &'a Connection) -> Self {
        Self {
            source,
            bases: Cache::with(
                (BASES_BYTES / 16_384) as usize,
                BASES_BYTES,
                ByText,
                RandomState::default(),
                quick_cache::unsync::DefaultLifecycle::default(),
            ),
        }
    }

    /// The text of a listing; `None` inside when there is no such row.
    pub(super) fn text(
        &mut self,
        id: i64,
    ) -> rusqlite::Result<Result<Option<String>, DecodeError>> {
        let Some((promise, data, base)) = self.row(id)? else {
            return Ok(Ok(None));
        };
        let base = match base {
            None => None,
            Some(base) => match self.base(base)? {
                Ok(text) => Some(text),
                Err(error) => return Ok(Err(error)),
            },
        };
        let text = siginfo::decode(&data, promise, base.as_ref().map(|text| &text[..]));
        // What we stored was text.
        Ok(text.map(|text| String::from_utf8(text).ok()))
    }

    fn base(&mut self, id: i64) -> rusqlite::Result<Result<Arc<Vec<u8>>, DecodeError>> {
        if let Some(text) = self.bases.get(&id) {
            return Ok(Ok(Arc::clone(text)));
        }
        // Without its base a listing cannot be read.
        let Some((promise, data, _)) = self.row(id)? else {
            return Ok(Err(DecodeError::Digest));
        };
        Ok(siginfo::decode(&data, promise, None).map(|text| {
            let text = Arc::new(text);
            self.bases.insert(id, Arc::clone(&text));
            text
        }))
    }

    fn row(&self, id: i64) -> rusqlite::Result<Option<StoredRow>> {
        self.source
            .prepare_cached("SELECT length, digest, data, base FROM siginfo WHERE id = ?1")?
            .query_row([id], |row| {
                let (length, digest) = (row.get(0)?, Digest(row.get(1)?));
                Ok((Promise { length, digest }, row.get(2)?, row.get(3)?))
            })
            .optional()
    }
}

/// What the text must be, encoded bytes, and number of the base.
type StoredRow = (Promise, Vec<u8>, Option<i64>);

#[derive(Clone)]
struct ByText;

impl Weighter<i64, Arc<Vec<u8>>> for ByText {
    fn weight(&self, _: &i64, text: &Arc<Vec<u8>>) -> u64 {
        text.len() as u64 + 100
    }
}
