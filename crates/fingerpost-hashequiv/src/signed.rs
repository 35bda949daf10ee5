//! Signed rows: who reports signs, who reads verifies, and this only keeps.

use fingerpost_core::Failure;
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
use fingerpost_signatures::Signature;

use crate::namespace::DEFAULT_NAMESPACE;
use crate::service::HashEquiv;
use crate::store::Task;

/// Signatures of one row at most. The oldest makes room.
pub const SIGNATURES_MAX: usize = 4;

/// Rows whose signatures one command takes at most.
pub const PUT_MAX: usize = 1000;

/// Signatures that are stored in one transaction; others write between two.
pub(crate) const PUT_TOGETHER: usize = 200;

/// A row as a reader verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRow {
    /// The name of the namespace where it lives: what was signed.
    pub namespace: String,
    /// The task.
    pub task: Task,
    /// What it produced; `None` if the unihash was told without an output, or came
    /// from an upstream, and so is not signed.
    pub outhash: Option<Outhash>,
    /// The unihash, valid or not.
    pub unihash: Unihash,
    /// The texts of its signatures, the oldest first, at most [`SIGNATURES_MAX`].
    pub signatures: Vec<String>,
}

/// A signature that somebody offers, with the row that they signed.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The name of the namespace that was signed.
    pub namespace: String,
    /// The task.
    pub task: Task,
    /// What it produced.
    pub outhash: Outhash,
    /// The unihash.
    pub unihash: Unihash,
    /// The signature.
    pub signature: Signature,
}

/// What became of an offered signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is kept, or was there already.
    Stored,
    /// The row is another one: it has another unihash, or lives in another namespace.
    Mismatch,
    /// There is no such row.
    NoRow,
}

impl Put {
    /// The stable word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Mismatch => "signature-mismatch",
            Self::NoRow => "no-such-row",
        }
    }

    /// The status of HTTP that says the same.
    pub const fn status(self) -> u16 {
        match self {
            Self::Stored => 200,
            Self::Mismatch => 422,
            Self::NoRow => 404,
        }
    }
}

impl HashEquiv {
    /// The rows of tasks with their signatures, in order. What only an upstream
    /// knows has none. The caller bounds the number.
    pub async fn signed_rows(&self, tasks: Vec<Task>) -> Result<Vec<Option<SignedRow>>, Failure> {
        let found = self.store.signed_rows(&self.at, tasks.clone()).await?;
        let servable = |row: SignedRow| {
            let unihash = self.serve(row.unihash)?;
            Some(SignedRow { unihash, ..row })
        };
        let mut rows: Vec<_> = found
            .into_iter()
            .map(|row| row.and_then(servable))
            .collect();
        let known = rows.iter().filter(|row| row.is_some()).count() as u64;
        let unknown = rows.len() as u64 - known;
        self.metrics.unihashes_found.inc_by(known);
        if self.upstream.is_none() || unknown == 0 {
            self.metrics.unihashes_unknown.inc_by(unknown);
            return Ok(rows);
        }
        let missing: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].is_none()).collect();
        let asked: Vec<Task> = missing.iter().map(|&at| tasks[at].clone()).collect();
        // An upstream is for the default namespace.
        let answers = self.unihashes_of(asked.clone()).await?;
        for ((place, task), unihash) in missing.into_iter().zip(asked).zip(answers) {
            rows[place] = unihash.map(|unihash| SignedRow {
                namespace: DEFAULT_NAMESPACE.to_owned(),
                task,
                outhash: None,
                unihash,
                signatures: Vec::new(),
            });
        }
        Ok(rows)
    }

    /// The row that a report's answer came from, as the reporter verifies it. Read
    /// after the report: what was removed since then is missing.
    pub async fn evidence(
        &self,
        task: Task,
        outhash: Outhash,
        unihash: Unihash,
    ) -> Result<Option<SignedRow>, Failure> {
        let found = self.store.evidence(&self.at, task, outhash, unihash);
        Ok(found.await?)
    }

    /// Keeps signatures; says of each what became of it, in order.
    pub async fn put_signatures(&self, offered: Vec<Offered>) -> Result<Vec<Put>, Failure> {
        let mut outcomes = vec![Put::Mismatch; offered.len()];
        let here = offered.into_iter().enumerate();
        let here: Vec<_> = here
            .filter(|(_, one)| one.namespace == self.namespace())
            .collect();
        for some in here.chunks(PUT_TOGETHER) {
            let rows = some.iter().map(|(_, one)| one.clone()).collect();
            let put = self.store.put_signatures(self.at.own(), rows).await?;
            for ((place, _), put) in some.iter().zip(put) {
                outcomes[*place] = put;
            }
        }
        let stored = outcomes.iter().filter(|put| **put == Put::Stored).count();
        self.metrics.shared.signatures_stored.inc_by(stored as u64);
        let refused = outcomes.len() - stored;
        self.metrics
            .shared
            .signatures_refused
            .inc_by(refused as u64);
        Ok(outcomes)
    }
}
