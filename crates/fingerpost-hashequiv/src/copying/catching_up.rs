//! One namespace: taking what is new, and finding what is gone or another by now.

use std::collections::HashMap;

use fingerpost_hashequiv_proto::types::Taskhash;
use fingerpost_snapshot::Change;

use super::state::{Place, State};
use super::{CopyError, CopyOptions, CopyProgress, CopyReport, MappingCopy, RowCounts};
use crate::changes::{ChangeFilter, ChangesSince};
use crate::namespace::NamespaceId;
use crate::store::{Store, Task};

/// Mappings that are taken at once, and outputs. Listings are compressed against what earlier
/// turns stored, so these are fewer.
pub(super) const PAGE_ROWS: usize = 1000;
const OUTPUT_ROWS: usize = 200;

/// A namespace in both databases.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    pub(super) from: &'a dyn Store,
    pub(super) into: &'a dyn Store,
    pub(super) from_at: NamespaceId,
    pub(super) into_at: NamespaceId,
}

type Tell<'a> = dyn FnMut(CopyProgress) + Send + 'a;

impl Pair<'_> {
    fn progress(&self, step: &'static str, rows: u64) -> CopyProgress {
        CopyProgress {
            namespace: self.name.to_owned(),
            step,
            rows,
        }
    }

    /// Takes what is new since the state, and takes out what was deleted.
    pub(super) async fn take(
        &self,
        state: &mut State,
        collections: &HashMap<i64, i64>,
        report: &mut CopyReport,
        tell: &mut Tell<'_>,
    ) -> Result<RowCounts, CopyError> {
        let mut taken = RowCounts::default();
        self.follow_deletions(state, collections, report).await?;
        loop {
            let place = self.place(state);
            let page = self
                .from
                .mapping_copies(self.from_at, place.mapping, PAGE_ROWS)
                .await
                .map_err(CopyError::From)?;
            let Some(last) = page.rows.last().map(|row| row.place) else {
                break;
            };
            taken.mappings += page.rows.len() as u64;
            self.put_mappings(page.rows, collections).await?;
            self.moved(state, |place| place.mapping = last).await?;
            tell(self.progress("mappings", taken.mappings));
            if page.next.is_none() {
                break;
            }
        }
        loop {
            let place = self.place(state);
            let page = self
                .from
                .output_copies(self.from_at, place.output, OUTPUT_ROWS)
                .await
                .map_err(CopyError::From)?;
            let Some(last) = page.rows.last().map(|copy| copy.row.id) else {
                break;
            };
            taken.outputs += page.rows.len() as u64;
            for copy in &page.rows {
                taken.listings += u64::from(copy.row.siginfo.is_some());
                taken.signatures += copy.signatures.len() as u64;
            }
            let put = self.into.put_outputs(self.into_at, page.rows);
            put.await.map_err(CopyError::Into)?;
            self.moved(state, |place| place.output = last).await?;
            tell(self.progress("outputs", taken.outputs));
            if page.next.is_none() {
                break;
            }
        }
        Ok(taken)
    }

    fn place(&self, state: &State) -> Place {
        state.namespaces.get(self.name).copied().unwrap_or_default()
    }

    async fn moved(&self, state: &mut State, to: impl FnOnce(&mut Place)) -> Result<(), CopyError> {
        to(state.namespaces.entry(self.name.to_owned()).or_default());
        state.keep(self.into).await
    }

    async fn put_mappings(
        &self,
        rows: Vec<MappingCopy>,
        collections: &HashMap<i64, i64>,
    ) -> Result<(), CopyError> {
        let here = |row: MappingCopy| MappingCopy {
            collection: collections.get(&row.collection).copied().unwrap_or(0),
            ..row
        };
        let rows = rows.into_iter().map(here).collect();
        let put = self.into.put_mappings(self.into_at, rows).await;
        put.map_err(CopyError::Into)
    }

    /// Takes out the mappings that the source's log says were deleted.
    async fn follow_deletions(
        &self,
        state: &mut State,
        collections: &HashMap<i64, i64>,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        loop {
            let since = self.place(state).change;
            let told = self
                .from
                .changes(self.from_at, since, PAGE_ROWS, ChangeFilter::All)
                .await;
            let changes = match told.map_err(CopyError::From)? {
                ChangesSince::Told(changes) => changes,
                // Comparing finds them.
                ChangesSince::Gone { newest, .. } => {
                    return self.moved(state, |place| place.change = newest).await;
                }
            };
            let deleted = changes.changes.iter().filter_map(|change| match change {
                Change::Deleted {
                    method, taskhash, ..
                } => Some(Task {
                    method: method.as_str().into(),
                    taskhash: Taskhash::from_bytes(*taskhash),
                }),
                _ => None,
            });
            let deleted: Vec<Task> = deleted.collect();
            self.settle(deleted, collections, report).await?;
            self.moved(state, |place| place.change = changes.position)
                .await?;
            if changes.is_all {
                return Ok(());
            }
        }
    }

    /// Makes the mappings of tasks what the source has.
    async fn settle(
        &self,
        tasks: Vec<Task>,
        collections: &HashMap<i64, i64>,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let now = self.from.mapping_copies_of(self.from_at, tasks.clone());
        let now = now.await.map_err(CopyError::From)?;
        let (mut gone, mut there) = (Vec::new(), Vec::new());
        for (task, row) in tasks.into_iter().zip(now) {
            match row {
                Some(row) => there.push(row),
                None => gone.push(task),
            }
        }
        self.replace_mappings(gone, there, collections, report)
            .await
    }

    /// Takes mappings out, and puts others in or in the place of what is there.
    async fn replace_mappings(
        &self,
        gone: Vec<Task>,
        there: Vec<MappingCopy>,
        collections: &HashMap<i64, i64>,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        if !gone.is_empty() {
            report.removed += gone.len() as u64;
            let dropped = self.into.drop_mappings(self.into_at, gone).await;
            dropped.map_err(CopyError::Into)?;
        }
        if !there.is_empty() {
            self.put_mappings(there, collections).await?;
        }
        Ok(())
    }

    /// Goes over what the target has and makes it what the source has: days of use and
    /// marks change without leaving a trace, and outputs go without one. While the source
    /// is written to this is for most of it; to finish, only what counts say is needed.
    pub(super) async fn compare(
        &self,
        state: &mut State,
        collections: &HashMap<i64, i64>,
        options: CopyOptions,
        report: &mut CopyReport,
        tell: &mut Tell<'_>,
    ) -> Result<(), CopyError> {
        let (there, here) = self.counts().await?;
        let is_marked = {
            let collections = self.from.collections(self.from_at).await;
            collections.map_err(CopyError::From)?.running.is_some()
        };
        let mappings = !options.finish || is_marked || there.mappings != here.mappings;
        if mappings {
            self.compare_mappings(collections, report, tell).await?;
        }
        let outputs =
            !options.finish || there.outputs != here.outputs || there.signatures != here.signatures;
        if outputs {
            self.compare_outputs(report, tell).await?;
        }
        // What was added meanwhile.
        let mut nobody = |_: CopyProgress| {};
        self.take(state, collections, report, &mut nobody).await?;
        Ok(())
    }

    pub(super) async fn counts(&self) -> Result<(RowCounts, RowCounts), CopyError> {
        let there = self.from.row_counts(self.from_at).await;
        let here = self.into.row_counts(self.into_at).await;
        Ok((
            there.map_err(CopyError::From)?,
            here.map_err(CopyError::Into)?,
        ))
    }

    async fn compare_mappings(
        &self,
        collections: &HashMap<i64, i64>,
        report: &mut CopyReport,
        tell: &mut Tell<'_>,
    ) -> Result<(), CopyError> {
        let (mut after, mut seen) = (0, 0);
        loop {
            let page = self
                .into
                .mapping_copies(self.into_at, after, PAGE_ROWS)
                .await
                .map_err(CopyError::Into)?;
            seen += page.rows.len() as u64;
            let tasks: Vec<Task> = page.rows.iter().map(|row| row.task.clone()).collect();
            let there = self.from.mapping_copies_of(self.from_at, tasks).await;
            let there = there.map_err(CopyError::From)?;
            let (mut gone, mut other) = (Vec::new(), Vec::new());
            for (here, there) in page.rows.into_iter().zip(there) {
                match there {
                    None => gone.push(here.task),
                    Some(there) => {
                        let mark = collections.get(&there.collection).copied().unwrap_or(0);
                        let is_same = here.unihash == there.unihash
                            && here.used_day == there.used_day
                            && here.created == there.created
                            && here.collection == mark;
                        if !is_same {
                            other.push(there);
                        }
                    }
                }
            }
            self.replace_mappings(gone, other, collections, report)
                .await?;
            tell(self.progress("mappings compared", seen));
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn compare_outputs(
        &self,
        report: &mut CopyReport,
        tell: &mut Tell<'_>,
    ) -> Result<(), CopyError> {
        let (mut after, mut seen) = (0, 0);
        loop {
            let page = self
                .into
                .output_keys(self.into_at, after, PAGE_ROWS)
                .await
                .map_err(CopyError::Into)?;
            seen += page.rows.len() as u64;
            let there = self.from.signatures_of(self.from_at, page.rows.clone());
            let there = there.await.map_err(CopyError::From)?;
            let here = self.into.signatures_of(self.into_at, page.rows.clone());
            let here = here.await.map_err(CopyError::Into)?;
            let (mut gone, mut signed) = (Vec::new(), Vec::new());
            for ((key, there), here) in page.rows.into_iter().zip(there).zip(here) {
                match there {
                    None => gone.push(key),
                    Some(there) if here.as_ref() != Some(&there) => signed.push((key, there)),
                    Some(_) => {}
                }
            }
            if !gone.is_empty() {
                report.removed += gone.len() as u64;
                let dropped = self.into.drop_outputs(self.into_at, gone).await;
                dropped.map_err(CopyError::Into)?;
            }
            if !signed.is_empty() {
                let put = self.into.put_signature_texts(self.into_at, signed).await;
                put.map_err(CopyError::Into)?;
            }
            tell(self.progress("outputs compared", seen));
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }
}
