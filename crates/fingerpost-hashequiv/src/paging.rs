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
    /// In the order in which they were stored. The listing of a row that has one
    /// is empty: [`HashEquiv::siginfo`] tells it.
    pub rows: Vec<OutputRow>,
    /// The number of the last of these rows if there are more.
    pub next: Option<i64>,
}

impl HashEquiv {
    /// Rows after the one numbered `after` (0 for the first), at most `limit`.
    /// What an upstream has is not among them, nor what this namespace falls back to. Rows that are stored or deleted
    /// meanwhile shift no page: the next one begins after a number.
    pub async fn output_page(
        &self,
        filter: OutputFilter,
        after: i64,
        limit: usize,
    ) -> Result<OutputPage, Failure> {
        // One more tells whether there are more.
        let asked = limit.saturating_add(1);
        let mut rows = self
            .store
            .output_rows(self.at.own(), filter, after, asked)
            .await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().map(|row| row.id).filter(|_| has_more);
        Ok(OutputPage { rows, next })
    }

    /// The listing behind one row; `None` if there is no such row, or it has none.
    pub async fn siginfo(&self, key: OutputKey) -> Result<Option<String>, Failure> {
        Ok(self.store.siginfo(&self.at, key).await?)
    }
}
