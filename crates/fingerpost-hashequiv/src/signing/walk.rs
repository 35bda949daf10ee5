//! The walk over the rows of a database.

use std::sync::Arc;

use fingerpost_core::Clock;
use fingerpost_signatures::{Row, Signature};

use super::{Place, Signable, SigningError, Which};
use crate::cache::UnihashCache;
use crate::database::{Database, Surroundings};
use crate::metrics::SharedMetrics;
use crate::namespace::{NameChain, NamespaceId};
use crate::signed::{Offered, PUT_TOGETHER, Put};
use crate::store::{Store, StoreError, StoreOptions};

/// Rows that a step looks at.
const PAGE_ROWS: usize = 1000;
/// Memory for a cache that nobody asks.
const CACHE_BYTES: u64 = 4096;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows that were signed. Those that went or became others meanwhile are not among them.
    pub signed: u64,
    /// Rows that the signer left out.
    pub left_out: u64,
}

/// A database whose rows are signed, and how far that is.
pub struct Walk {
    store: Arc<dyn Store>,
    which: Which,
    spaces: Vec<Space>,
    /// The space that is walked through.
    current: usize,
    /// The output after which it goes on there.
    after: i64,
}

struct Space {
    name: String,
    at: NamespaceId,
    /// The number of its newest output when the walk began.
    newest: i64,
}

impl Walk {
    /// Begins over an opened database: in all namespaces that it has, or in the one of this
    /// name. Must be called within a runtime.
    pub async fn begin(
        database: Database,
        which: Which,
        namespace: Option<&str>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SigningError> {
        let names = database.namespace_names().await?;
        let chains: Vec<NameChain> = names.iter().map(|name| vec![name.clone()]).collect();
        let around = Surroundings {
            cache: Arc::new(UnihashCache::new(CACHE_BYTES)),
            options: StoreOptions::default(),
            clock,
            metrics: SharedMetrics::default(),
        };
        let (store, chains) = database.store(around, &chains).await?;
        let mut spaces = Vec::with_capacity(names.len());
        for (name, chain) in names.into_iter().zip(chains) {
            if namespace.is_some_and(|wanted| wanted != name) {
                continue;
            }
            let at = chain.own();
            let newest = store.newest_output(at).await?;
            spaces.push(Space { name, at, newest });
        }
        if let Some(name) = namespace.filter(|_| spaces.is_empty()) {
            return Err(SigningError::NoNamespace(name.to_owned()));
        }
        Ok(Self {
            store,
            which,
            spaces,
            current: 0,
            after: 0,
        })
    }

    /// Passes over everything up to this place.
    pub fn go_on_after(&mut self, place: &Place) -> Result<(), SigningError> {
        let found = self
            .spaces
            .iter()
            .position(|one| one.name == place.namespace);
        let no_such = || SigningError::NoNamespace(place.namespace.clone());
        self.current = found.ok_or_else(no_such)?;
        self.after = place.output;
        Ok(())
    }

    /// Where it is; `None` at the end.
    pub fn place(&self) -> Option<Place> {
        let space = self.spaces.get(self.current)?;
        Some(Place {
            namespace: space.name.clone(),
            output: self.after,
        })
    }

    /// How far it is, and how far it goes: numbers of outputs, for showing progress.
    pub fn progress(&self) -> (u64, u64) {
        let sum = |some: &[Space]| {
            let newest = some.iter().map(|space| space.newest.unsigned_abs());
            newest.sum::<u64>()
        };
        let total = sum(&self.spaces);
        let before = sum(&self.spaces[..self.current]);
        let done = before.saturating_add(self.after.unsigned_abs());
        (done.min(total), total)
    }

    /// Signs some of the next rows; `None` when there are no more. `sign` gets the row, and
    /// the signature that is there for [`Which::SignedBy`]. A step that is not waited for, or
    /// fails, leaves the walk where it was.
    pub async fn step(
        &mut self,
        mut sign: impl FnMut(&Row, Option<&str>) -> Option<Signature>,
    ) -> Result<Option<Step>, SigningError> {
        let Some(space) = self.spaces.get(self.current) else {
            return Ok(None);
        };
        let page = self
            .store
            .signable(space.at, self.which, self.after, PAGE_ROWS);
        let page = page.await?;
        let rows = page.rows.len() as u64;
        let signed = page.rows.into_iter().filter_map(|one| {
            let signature = one.signature.clone();
            let row = row_of(&space.name, one);
            let signature = sign(&row, signature.as_deref())?;
            Some(offered(row, signature))
        });
        let signed: Vec<Offered> = signed.collect();
        let step = Step {
            left_out: rows - signed.len() as u64,
            signed: self.put(space.at, &signed).await?,
        };
        (self.current, self.after) = match page.next {
            Some(next) => (self.current, next),
            None => (self.current + 1, 0),
        };
        Ok(Some(step))
    }

    /// Keeps signatures; how many.
    async fn put(&self, at: NamespaceId, signed: &[Offered]) -> Result<u64, StoreError> {
        let mut kept = 0;
        for some in signed.chunks(PUT_TOGETHER) {
            let put = self.store.put_signatures(at, some.to_vec()).await?;
            kept += put.into_iter().filter(|put| *put == Put::Stored).count() as u64;
        }
        Ok(kept)
    }
}

fn row_of(namespace: &str, one: Signable) -> Row {
    Row {
        namespace: namespace.to_owned(),
        method: one.task.method,
        taskhash: one.task.taskhash,
        outhash: one.outhash,
        unihash: one.unihash,
    }
}

fn offered(row: Row, signature: Signature) -> Offered {
    Offered {
        namespace: row.namespace,
        task: crate::store::Task {
            method: row.method,
            taskhash: row.taskhash,
        },
        outhash: row.outhash,
        unihash: row.unihash,
        signature,
    }
}
