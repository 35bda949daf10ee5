//! What was deleted since a dump was begun.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::time::Instant;

use fingerpost_snapshot::Change;
use foldhash::fast::RandomState;

use super::format::{Header, Place};
use super::{CacheDump, Unusable};
use crate::cache::{CachedTask, MethodId};
use crate::changes::{ChangeFilter, Changes, ChangesSince};
use crate::namespace::NamespaceId;

/// Changes that are read at a time.
const PAGE: usize = 4096;
/// Changes that are read, and entries that are taken out for them, at most: some
/// seconds, and some 50 MiB.
const CHANGES_MAX: usize = 2_000_000;

/// Reads on in the logs of all namespaces, and knows what was touched.
pub(super) struct Follower<'a> {
    dump: &'a CacheDump,
    logs: Vec<Log>,
    methods: HashMap<String, MethodId>,
    /// Fingerprints of entries: two with the same one are both left out.
    touched: HashSet<u64, RandomState>,
    fingerprints: RandomState,
    read: usize,
}

/// The log of one namespace.
struct Log {
    at: NamespaceId,
    /// It is read up to here.
    position: u64,
    /// The epoch there.
    epoch: u64,
    /// Who is answered from this namespace.
    readers: Vec<NamespaceId>,
    /// Whether one of them looks further when it finds nothing here.
    is_passed: bool,
}

impl<'a> Follower<'a> {
    /// For the namespaces of a dump that are read as they were.
    pub(super) fn new(dump: &'a CacheDump, header: &Header, believed: &[Place]) -> Self {
        let log = |place: &Place| {
            let at = place.chain.own();
            let reads = |reader: &&Place| reader.chain.iter().any(|other| other == at);
            let passes = |reader: &Place| reader.chain.iter().last() != Some(at);
            let readers = || believed.iter().filter(reads);
            Log {
                at,
                position: place.cut.position,
                epoch: place.cut.epoch,
                readers: readers().map(|reader| reader.chain.own()).collect(),
                is_passed: readers().any(passes),
            }
        };
        let logs = header.places.iter().map(log);
        let methods = header.methods.iter();
        Self {
            dump,
            logs: logs.filter(|log| !log.readers.is_empty()).collect(),
            methods: methods.map(|(id, name)| (name.clone(), *id)).collect(),
            touched: HashSet::default(),
            fingerprints: RandomState::default(),
            read: 0,
        }
    }

    /// Whether something happened to an entry since.
    pub(super) fn is_touched(&self, task: &CachedTask) -> bool {
        self.touched.contains(&self.fingerprints.hash_one(task))
    }

    /// Reads every log up to now.
    pub(super) async fn catch_up(&mut self) -> Result<(), Unusable> {
        for index in 0..self.logs.len() {
            while !self.read_page(index).await? {}
        }
        Ok(())
    }

    /// Reads some changes; whether these were all.
    async fn read_page(&mut self, index: usize) -> Result<bool, Unusable> {
        let began = Instant::now();
        let log = &self.logs[index];
        let since = self
            .dump
            .store
            .changes(log.at, log.position, PAGE, ChangeFilter::All);
        let page = match since.await.map_err(Unusable::Store)? {
            ChangesSince::Told(page) => page,
            ChangesSince::Gone { .. } => return Err(Unusable::Forgotten),
        };
        if page.epoch != log.epoch {
            return Err(Unusable::History);
        }
        let is_all = page.is_all;
        self.apply(index, page);
        if self.read.max(self.touched.len()) > CHANGES_MAX {
            return Err(Unusable::TooMuch);
        }
        if !is_all {
            tokio::time::sleep(super::rest(&self.dump.hurry, began.elapsed())).await;
        }
        Ok(is_all)
    }

    fn apply(&mut self, index: usize, page: Changes) {
        let log = &mut self.logs[index];
        log.position = page.position;
        self.read += page.changes.len();
        for change in page.changes {
            let (method, taskhash) = match change {
                Change::Epoch { epoch, .. } => {
                    log.epoch = epoch;
                    continue;
                }
                Change::Deleted {
                    method, taskhash, ..
                } => (method, taskhash),
                Change::Adopted {
                    method, taskhash, ..
                } if log.is_passed => (method, taskhash),
                // Nothing was there before, or its deletion was told.
                Change::Adopted { .. } => continue,
            };
            // A dump has nothing of other methods.
            let Some(method) = self.methods.get(&method) else {
                continue;
            };
            for reader in &log.readers {
                let method = method.within(*reader);
                let task = CachedTask { method, taskhash };
                self.touched.insert(self.fingerprints.hash_one(task));
            }
        }
    }
}
