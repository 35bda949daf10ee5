//! Rows of the relation O, a page at a time, and their listings: for doors whose
//! clients look around.

use fingerpost_core::Failure;
use fingerpost_hashequiv_proto::types::{Method, Outhash};

use crate::service::HashEquiv;
use crate::store::{OutputRow, Task};

/// Which rows of the relation O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputFilter {
    /// Those of one outhash, of whatever task.
    Outhash {
        /// The method.
        method: Method,
        /// The outhash.
        outhash: Outhash,
    },
    /// Those of one task.
    Task(Task),
}

/// The one row of a task and an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputKey {
    /// The task.
    pub task: Task,
    /// What it produced.
    pub outhash: Outhash,
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPage {
    /// Those of the namespace first, then those of each that it falls back to; of one
    /// in the order in which they were stored. The listing of a row that has one is
    /// empty: [`HashEquiv::siginfo`] tells it.
    pub rows: Vec<PagedRow>,
    /// The place of the last of these rows if there are more.
    pub next: Option<OutputPlace>,
}

/// Where a row of the relation O is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPlace {
    /// Its namespace, by its number in the database.
    pub namespace: u32,
    /// Its number there.
    pub output: i64,
}

/// A row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagedRow {
    /// The name of the namespace that it is in.
    pub namespace: String,
    /// The row.
    pub row: OutputRow,
}

impl HashEquiv {
    /// Rows after a place, or the first ones, at most `limit`; `None` if the place is in no
    /// namespace that is read here. What an upstream has is not among them. Rows that are
    /// stored or deleted meanwhile shift no page: the next one begins after a number.
    pub async fn output_page(
        &self,
        filter: OutputFilter,
        after: Option<OutputPlace>,
        limit: usize,
    ) -> Result<Option<OutputPage>, Failure> {
        let fallbacks = self.fallbacks().iter().map(String::as_str);
        let names = std::iter::once(self.namespace()).chain(fallbacks);
        let mut spaces: Vec<_> = self.at.iter().zip(names).collect();
        if let Some(after) = after {
            let current = spaces.iter().position(|(at, _)| at.0 == after.namespace);
            let Some(current) = current else {
                return Ok(None);
            };
            spaces.drain(..current);
        }
        // One more tells whether there are more.
        let asked = limit.saturating_add(1);
        let (mut found, mut after) = (Vec::new(), after.map_or(0, |place| place.output));
        for (at, name) in spaces {
            let rows = asked.saturating_sub(found.len());
            let rows = self.store.output_rows(at, filter.clone(), after, rows);
            let rows = rows.await?.into_iter();
            found.extend(rows.map(|row| (at.0, name, row)));
            if found.len() >= asked {
                break;
            }
            after = 0;
        }
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|(namespace, _, row)| OutputPlace {
            namespace: *namespace,
            output: row.id,
        });
        let rows = found.into_iter().map(|(_, name, row)| PagedRow {
            namespace: name.to_owned(),
            row,
        });
        Ok(Some(OutputPage {
            rows: rows.collect(),
            next: last.filter(|_| has_more),
        }))
    }

    /// The listing behind one row; `None` if there is no such row, or it has none.
    pub async fn siginfo(&self, key: OutputKey) -> Result<Option<String>, Failure> {
        Ok(self.store.siginfo(&self.at, key).await?)
    }
}
