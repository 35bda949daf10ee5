//! Listings in bulk: encoded on all cores, stored in one transaction.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use rusqlite::{Connection, OptionalExtension as _};

use super::reference::{Listing, OutputBatch, OutputRow};
use super::report::ListingTally;
use crate::cache::MethodId;
use crate::siginfo::{self, Base, Digest, Encoded, Promise};
use crate::store::Metadata;

/// Bytes of base listings that are kept for encoding further ones.
const BASES_BYTES: u64 = 32 << 20;

/// Encoding takes a good part of a millisecond for each listing; more threads
/// than this would wait for the one that stores.
const WORKERS_MAX: usize = 8;

/// (method, PN, task): listings of a family resemble each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Family {
    method: MethodId,
    pn: String,
    task: String,
}

impl Family {
    pub(super) fn of(method: MethodId, metadata: &Metadata) -> Option<Self> {
        Some(Self {
            method,
            pn: metadata.pn.clone()?,
            task: metadata.task.clone()?,
        })
    }
}

/// A listing to be stored.
pub(super) struct Wanted<'a> {
    pub(super) listing: &'a Listing,
    pub(super) family: Option<Family>,
}

impl<'a> Wanted<'a> {
    /// The listings of those of some rows of a batch that have one, in order.
    pub(super) fn of_rows(
        batch: &OutputBatch,
        rows: &[(&'a OutputRow, MethodId, i64)],
    ) -> Vec<Self> {
        let wanted = |(row, method, _): &(&'a OutputRow, MethodId, i64)| {
            Some(Self {
                listing: row.listing.as_ref()?,
                family: Family::of(*method, &batch.metadata[row.metadata]),
            })
        };
        rows.iter().filter_map(wanted).collect()
    }
}

/// A base listing in memory.
struct BaseListing {
    id: i64,
    digest: Digest,
    text: Vec<u8>,
    stored_bytes: usize,
}

#[derive(Clone)]
struct ByText;

impl Weighter<Family, Arc<BaseListing>> for ByText {
    fn weight(&self, family: &Family, base: &Arc<BaseListing>) -> u64 {
        (family.pn.len() + family.task.len() + base.text.len() + 200) as u64
    }
}

/// Stores listings; remembers bases between batches.
pub(super) struct Listings {
    bases: Cache<Family, Arc<BaseListing>, ByText, RandomState>,
    workers: usize,
}

/// Listings that are encoded one after the other, because each may become the
/// base of the next.
struct Chain<'a> {
    family: Option<Family>,
    base: Option<Arc<BaseListing>>,
    /// Numbers among the distinct listings of the batch.
    links: Vec<(usize, &'a Listing)>,
}

/// What an encoded listing needs to be read.
#[derive(Clone, Copy)]
enum Against {
    Nothing,
    /// A row that is there already.
    Stored(i64),
    /// An earlier listing of the batch.
    Earlier(usize),
}

struct Made {
    number: usize,
    data: Vec<u8>,
    against: Against,
}

impl Listings {
    pub(super) fn new() -> Self {
        Self {
            bases: Cache::with(
                (BASES_BYTES / 16_384) as usize,
                BASES_BYTES,
                ByText,
                RandomState::default(),
                quick_cache::unsync::DefaultLifecycle::default(),
            ),
            workers: thread::available_parallelism()
                .map_or(1, NonZero::get)
                .min(WORKERS_MAX),
        }
    }

    /// Stores listings inside of the caller's transaction and returns their
    /// numbers, in order. Equal ones are stored once.
    pub(super) fn store(
        &mut self,
        conn: &Connection,
        wanted: &[Wanted<'_>],
        tally: &mut ListingTally,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut places = Vec::with_capacity(wanted.len());
        let mut fresh: HashMap<Digest, usize> = HashMap::new();
        let mut distinct = Vec::new();
        for one in wanted {
            tally.read += 1;
            tally.text_bytes += one.listing.text.len() as u64;
            let digest = one.listing.digest;
            places.push(match (fresh.get(&digest), find(conn, digest)?) {
                (_, Some(id)) => Ok(id),
                (Some(number), None) => Err(*number),
                (None, None) => {
                    let number = distinct.len();
                    fresh.insert(digest, number);
                    distinct.push(one);
                    Err(number)
                }
            });
        }
        let chains = self.chains(conn, &distinct)?;
        let ids = self.insert(conn, &distinct, &chains, tally)?;
        Ok(places
            .into_iter()
            .map(|place| place.unwrap_or_else(|number| ids[number]))
            .collect())
    }

    fn chains<'a>(
        &mut self,
        conn: &Connection,
        distinct: &[&Wanted<'a>],
    ) -> rusqlite::Result<Vec<Chain<'a>>> {
        let mut chains: Vec<Chain<'a>> = Vec::new();
        let mut by_family: HashMap<&Family, usize> = HashMap::new();
        for (number, one) in distinct.iter().enumerate() {
            let link = (number, one.listing);
            let known = one.family.as_ref().and_then(|family| by_family.get(family));
            if let Some(known) = known {
                chains[*known].links.push(link);
                continue;
            }
            let base = match &one.family {
                Some(family) => {
                    by_family.insert(family, chains.len());
                    self.base(conn, family)?
                }
                None => None,
            };
            chains.push(Chain {
                family: one.family.clone(),
                base,
                links: vec![link],
            });
        }
        Ok(chains)
    }

    /// The newest base of a family, if it is still there.
    fn base(
        &mut self,
        conn: &Connection,
        family: &Family,
    ) -> rusqlite::Result<Option<Arc<BaseListing>>> {
        if let Some(base) = self.bases.get(family)
            && is_base(conn, base)?
        {
            return Ok(Some(Arc::clone(base)));
        }
        let Some(base) = read_base(conn, family)? else {
            return Ok(None);
        };
        let base = Arc::new(base);
        self.bases.insert(family.clone(), Arc::clone(&base));
        Ok(Some(base))
    }

    /// Encodes and inserts every chain; returns the numbers of the rows.
    fn insert(
        &mut self,
        conn: &Connection,
        distinct: &[&Wanted<'_>],
        chains: &[Chain<'_>],
        tally: &mut ListingTally,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut ids = vec![0; distinct.len()];
        for (chain, made) in self.encode(chains) {
            let chain = &chains[chain];
            let mut newest_base = None;
            for one in made {
                let base = match one.against {
                    Against::Nothing => None,
                    Against::Stored(id) => Some(id),
                    Against::Earlier(number) => Some(ids[number]),
                };
                let listing = distinct[one.number].listing;
                ids[one.number] = insert(conn, listing, base, &one.data)?;
                tally.stored += 1;
                tally.stored_bytes += one.data.len() as u64;
                if base.is_none() {
                    newest_base = Some((one.number, one.data.len()));
                }
            }
            if let (Some(family), Some((number, stored_bytes))) = (&chain.family, newest_base) {
                set_base(conn, family, ids[number])?;
                let listing = distinct[number].listing;
                let base = BaseListing {
                    id: ids[number],
                    digest: listing.digest,
                    text: listing.text.clone().into_bytes(),
                    stored_bytes,
                };
                self.bases.insert(family.clone(), Arc::new(base));
            }
        }
        Ok(ids)
    }

    /// Encodes chains on all cores, this thread included.
    fn encode(&self, chains: &[Chain<'_>]) -> Vec<(usize, Vec<Made>)> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(chains.len()));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(chain) = chains.get(number) else {
                    return;
                };
                let made = chain.encode();
                // A vector is whole whoever panicked.
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((number, made));
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.workers.min(chains.len()) {
                scope.spawn(work);
            }
            work();
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain<'_> {
    fn encode(&self) -> Vec<Made> {
        let mut against = Against::Nothing;
        let mut base = None;
        if let Some(stored) = &self.base {
            against = Against::Stored(stored.id);
            base = Some(Base {
                text: &stored.text,
                stored_bytes: stored.stored_bytes,
            });
        }
        let mut made = Vec::with_capacity(self.links.len());
        for (number, listing) in &self.links {
            let text = listing.text.as_bytes();
            made.push(match siginfo::encode(text, base) {
                Encoded::Delta(data) => Made {
                    number: *number,
                    data,
                    against,
                },
                Encoded::Base(data) => {
                    if self.family.is_some() {
                        against = Against::Earlier(*number);
                        base = Some(Base {
                            text,
                            stored_bytes: data.len(),
                        });
                    }
                    Made {
                        number: *number,
                        data,
                        against: Against::Nothing,
                    }
                }
            });
        }
        made
    }
}

fn find(conn: &Connection, digest: Digest) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM siginfo WHERE digest = ?1")?
        .query_row([digest.0], |row| row.get(0))
        .optional()
}

fn insert(
    conn: &Connection,
    listing: &Listing,
    base: Option<i64>,
    data: &[u8],
) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO siginfo (digest, base, length, data) VALUES (?1, ?2, ?3, ?4)")?
        .insert((listing.digest.0, base, listing.text.len() as i64, data))
}

fn set_base(conn: &Connection, family: &Family, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO siginfo_family (method, pn, task, base) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET base = excluded.base",
    )?
    .execute((family.method.0, &family.pn, &family.task, id))?;
    Ok(())
}

/// A server beside us may have removed the row, and given its number to another.
fn is_base(conn: &Connection, base: &BaseListing) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM siginfo WHERE id = ?1 AND digest = ?2 AND base IS NULL")?
        .exists((base.id, base.digest.0))
}

/// A base that does not decode is none: the next listing becomes the new one.
fn read_base(conn: &Connection, family: &Family) -> rusqlite::Result<Option<BaseListing>> {
    let row: Option<(i64, [u8; 16], usize, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT siginfo.id, siginfo.digest, siginfo.length, siginfo.data
               FROM siginfo_family CROSS JOIN siginfo ON siginfo.id = siginfo_family.base
              WHERE siginfo_family.method = ?1 AND siginfo_family.pn = ?2
                AND siginfo_family.task = ?3 AND siginfo.base IS NULL",
        )?
        .query_row((family.method.0, &family.pn, &family.task), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((id, digest, length, data)) = row else {
        return Ok(None);
    };
    let digest = Digest(digest);
    Ok(siginfo::decode(&data, Promise { length, digest }, None)
        .ok()
        .map(|text| BaseListing {
            id,
            digest,
            text,
            stored_bytes: data.len(),
        }))
}
