//! The copy from its beginning to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::Clock;

use super::catching_up::Pair;
use super::state::{Place, State};
use super::{Collections, CopyError, RowCounts, verifying};
use crate::cache::UnihashCache;
use crate::database::{Database, Surroundings};
use crate::metrics::SharedMetrics;
use crate::namespace::{Chain, NameChain};
use crate::store::{Store, StoreError, StoreOptions};

/// What a copy is to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Nobody writes to the source any more: take the rest, compare, and be done.
    pub finish: bool,
}

/// How far a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    /// The namespace.
    pub namespace: String,
    /// What is done now: a phrase.
    pub step: &'static str,
    /// Rows of this step so far.
    pub rows: u64,
}

/// What a copy came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Rows that this run took over, by namespace.
    pub taken: Vec<(String, RowCounts)>,
    /// Rows that this run removed from the target, because they were gone.
    pub removed: u64,
    /// Users in the target.
    pub users: u64,
    /// Rows whose content was compared at the end.
    pub sampled: u64,
    /// How long the source must have stood still: the last part, if this finished.
    pub finishing: Option<Duration>,
}

/// Copies `from` into `into`, which has to be empty, or to hold what was copied before.
/// Tells how far it is, some times a second at most. To be called within a runtime.
///
/// # Errors
///
/// What was copied stays, and the next call goes on from there; see [`CopyError`].
pub async fn copy(
    from: Database,
    into: Database,
    options: CopyOptions,
    clock: Arc<dyn Clock>,
    mut tell: impl FnMut(CopyProgress) + Send,
) -> Result<CopyReport, CopyError> {
    let (from_accounts, into_accounts) = (from.accounts(), into.accounts());
    let names = from.namespace_names().await.map_err(CopyError::From)?;
    let chains: Vec<NameChain> = names.iter().map(|name| vec![name.clone()]).collect();
    let opened = open(from, &chains, &clock).await.map_err(CopyError::From)?;
    let (from, from_chains) = opened;
    let opened = open(into, &chains, &clock).await.map_err(CopyError::Into)?;
    let (into, into_chains) = opened;
    let mut state = State::of(&*from, &*into).await?;
    if state.namespaces.is_empty() {
        refuse_rows(&*into, &into_chains).await?;
    }
    let mut report = CopyReport::default();
    let started = std::time::Instant::now();
    let before = positions(&*from, &from_chains).await?;
    for ((name, own), target) in names.iter().zip(&from_chains).zip(&into_chains) {
        if !state.namespaces.contains_key(name) {
            let cut = from.cut(own.own()).await.map_err(CopyError::From)?;
            let place = Place {
                change: cut.position,
                ..Place::default()
            };
            state.namespaces.insert(name.clone(), place);
            state.keep(&*into).await?;
        }
        let pair = Pair {
            name,
            from: &*from,
            into: &*into,
            from_at: own.own(),
            into_at: target.own(),
        };
        let collections = take_collections(&pair).await?;
        let taken = pair
            .take(&mut state, &collections, &mut report, &mut tell)
            .await?;
        report.taken.push((name.clone(), taken));
        pair.compare(&mut state, &collections, options, &mut report, &mut tell)
            .await?;
    }
    let users = from_accounts.everybody().await;
    let users = users.map_err(|error| CopyError::From(StoreError::database(error)))?;
    report.users = users.len() as u64;
    let replaced = into_accounts.replace_everybody(users).await;
    replaced.map_err(|error| CopyError::Into(StoreError::database(error)))?;
    if options.finish {
        report.sampled =
            verifying::verify(&*from, &*into, &names, (&from_chains, &into_chains)).await?;
        if positions(&*from, &from_chains).await? != before {
            return Err(CopyError::StillWritten);
        }
        into.put_copy_state(None).await.map_err(CopyError::Into)?;
        report.finishing = Some(started.elapsed());
    }
    Ok(report)
}

/// Memory for a cache that nobody asks.
const CACHE_BYTES: u64 = 4096;

async fn open(
    database: Database,
    names: &[NameChain],
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Store>, Vec<Chain>), StoreError> {
    let around = Surroundings {
        cache: Arc::new(UnihashCache::new(CACHE_BYTES)),
        options: StoreOptions::default(),
        clock: Arc::clone(clock),
        metrics: SharedMetrics::default(),
    };
    database.store(around, names).await
}

/// Where the source's namespaces are: the same at the end if nobody wrote.
async fn positions(from: &dyn Store, chains: &[Chain]) -> Result<Vec<(u64, i64)>, CopyError> {
    let mut positions = Vec::with_capacity(chains.len());
    for chain in chains {
        let cut = from.cut(chain.own()).await.map_err(CopyError::From)?;
        let newest = from.newest_output(chain.own()).await;
        positions.push((cut.position, newest.map_err(CopyError::From)?));
    }
    Ok(positions)
}

async fn refuse_rows(into: &dyn Store, chains: &[Chain]) -> Result<(), CopyError> {
    for chain in chains {
        let mappings = into.mapping_copies(chain.own(), 0, 1).await;
        let outputs = into.output_keys(chain.own(), 0, 1).await;
        let has_rows = !mappings.map_err(CopyError::Into)?.rows.is_empty()
            || !outputs.map_err(CopyError::Into)?.rows.is_empty();
        if has_rows {
            return Err(CopyError::NotEmpty);
        }
    }
    Ok(())
}

/// Takes the collections over; their numbers there by those here.
async fn take_collections(pair: &Pair<'_>) -> Result<HashMap<i64, i64>, CopyError> {
    let collections: Collections = pair
        .from
        .collections(pair.from_at)
        .await
        .map_err(CopyError::From)?;
    let put = pair.into.put_collections(pair.into_at, collections).await;
    let mut numbers = put.map_err(CopyError::Into)?;
    numbers.insert(0, 0);
    Ok(numbers)
}
