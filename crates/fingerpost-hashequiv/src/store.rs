//! What the service asks of a database, in the words of the domain.

use fingerpost_core::Timestamp;
pub use fingerpost_hashequiv_proto::types::Task;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use futures_util::future::BoxFuture;

use crate::cache::MethodId;
use crate::changes::{ChangeFilter, ChangesSince, ChoreLease, Cut, MappingPage};
use crate::copying::CopyStore;
use crate::namespace::{Chain, NamespaceId};
use crate::paging::{OutputFilter, OutputKey};
use crate::progress::Progress;
use crate::query::{Conditions, GcStatus, Usage};
use crate::retention::RetentionStore;
use crate::signed::{Offered, Put, SignedRow};
use crate::signing::SigningStore;

/// The answer of a store.
pub type Stored<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed, is full, or did not answer in time.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be reached, or has too much to do, and the same may succeed
    /// a little later. What became of a write is not known.
    #[error("the database does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored bytes do not decode.
    #[error("the database holds damaged data: {0}")]
    Damaged(String),
    /// Something that goes one at a time went on for too long.
    #[error("{0} is running")]
    Busy(&'static str),
    /// `gc-sweep` named another mark than the current one.
    #[error("'{0}' is not the current mark. Refusing to sweep")]
    WrongMark(String),
    /// A hash or the name of a method is longer than this store keeps.
    #[error("a hash has more than 1000 bytes, or the name of a method more than 2000")]
    TooLong,
}

impl StoreError {
    /// Wraps a database's error.
    pub fn database(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Database(source.into())
    }
}

/// A unihash that was found, with the number of its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The method's number, for the cache.
    pub method: MethodId,
    /// The unihash, valid or not.
    pub unihash: Unihash,
}

/// What is told about a task beside its hashes. Every field may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Who built it.
    pub owner: Option<String>,
    /// Recipe.
    pub pn: Option<String>,
    /// Version of the recipe.
    pub pv: Option<String>,
    /// Revision of the recipe.
    pub pr: Option<String>,
    /// Name of the task.
    pub task: Option<String>,
}

/// One row of the relation O, joined with the unihash of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRow {
    /// The row's number.
    pub id: i64,
    /// The method.
    pub method: Method,
    /// The taskhash.
    pub taskhash: Taskhash,
    /// The outhash.
    pub outhash: Outhash,
    /// When it was stored, as clients see it.
    pub created: Option<String>,
    /// Recipe, version and so on.
    pub metadata: Metadata,
    /// The listing behind the outhash.
    pub siginfo: Option<String>,
    /// The task's unihash and mark, when it was asked for.
    pub unihash: Option<(Unihash, String)>,
}

/// A report to be stored.
#[derive(Clone, Debug)]
pub struct Report {
    /// The task.
    pub task: Task,
    /// What it produced; `None` stores no row of the relation O.
    pub outhash: Option<Outhash>,
    /// The unihash that the client proposes; valid.
    pub proposed: Unihash,
    /// The unihash that an upstream has for the outhash.
    pub upstream: Option<Unihash>,
    /// Recipe, version and so on.
    pub metadata: Metadata,
    /// The listing behind the outhash.
    pub siginfo: Option<String>,
    /// The server's clock.
    pub now: Timestamp,
}

/// What a stored report came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The unihash that the task has now.
    pub unihash: Unihash,
    /// Whether the task had none before.
    pub adopted: bool,
    /// Whether the row of the relation O is new.
    pub new_output: bool,
}

/// A row that an upstream gave us, to be kept unless the task has one.
#[derive(Clone, Debug)]
pub struct CopiedRow {
    /// The task.
    pub task: Task,
    /// Its unihash; valid.
    pub unihash: Option<Unihash>,
    /// The row of the relation O, when the upstream gave one.
    pub output: Option<CopiedOutput>,
}

/// The relation O's part of a [`CopiedRow`].
#[derive(Clone, Debug)]
pub struct CopiedOutput {
    /// The outhash.
    pub outhash: Outhash,
    /// The upstream's time, kept as it came.
    pub created: Option<String>,
    /// Recipe, version and so on.
    pub metadata: Metadata,
    /// The listing behind the outhash.
    pub siginfo: Option<String>,
}

/// How the store decides where the reference leaves a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// Unihashes that are not 64 lower-case hex digits may be matched.
    pub match_invalid_unihashes: bool,
    /// A repeated report marks an existing row for the running collection.
    pub remark_on_report: bool,
    /// Look-ups note what was used; without it nothing waits to be stored.
    pub note_uses: bool,
    /// Remembered answers are given for as long as nobody can say whether they hold.
    pub serve_stale: bool,
}

/// A database of hash equivalences. Every method is atomic unless it says
/// otherwise; writes have reached the disk when they return. What takes a
/// [`Chain`] reads along it, nearest first, and writes to its own namespace; what
/// takes a [`NamespaceId`] sees no other.
pub trait Store: RetentionStore + CopyStore + SigningStore {
    /// Whether deletions by other processes have reached the cache within the
    /// promised time. Cheap: asked for every batch of look-ups.
    fn cache_is_fresh(&self) -> bool;

    /// How often rows of the namespace were deleted, or of one that its reads fall
    /// back to: what was found before that may be wrong. Cheap, and as old as
    /// [`Store::cache_is_fresh`] allows. What was deleted up to this epoch the cache
    /// has forgotten already.
    fn deletion_epoch(&self, at: NamespaceId) -> u64;

    /// The life of the database: the numbers of namespaces and methods, and positions
    /// of changes, mean something only within the same one. A restored backup begins
    /// another.
    fn history(&self) -> [u8; 16];

    /// Looks tasks up, in order. May come in any number; the caller bounds it.
    fn unihashes(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<Found>>>;

    /// Whether any task has the unihash, in order.
    fn exist(&self, at: &Chain, unihashes: Vec<Unihash>) -> Stored<'_, Vec<bool>>;

    /// The oldest output of a task that has a unihash.
    fn output_of_task(&self, at: &Chain, task: Task) -> Stored<'_, Option<OutputRow>>;

    /// The oldest row of (method, outhash); with `with_unihash` only rows whose
    /// task has a unihash count, and with `valid_only` it must be a valid one.
    fn output(
        &self,
        at: &Chain,
        method: Method,
        outhash: Outhash,
        with_unihash: bool,
        valid_only: bool,
    ) -> Stored<'_, Option<OutputRow>>;

    /// Whether a report of this task and output would take the proposed
    /// unihash, because nothing is known of either.
    fn is_unknown(&self, at: &Chain, task: Task, outhash: Option<Outhash>) -> Stored<'_, bool>;

    /// Stores a report by the rules of [`fingerpost_hashequiv_proto::rules`]. A task that has a unihash
    /// further along the chain gets the same one here.
    fn report(&self, at: &Chain, report: Report) -> Stored<'_, Settled>;

    /// Gives a task its unihash unless it has one; returns what it has now.
    fn report_equiv(
        &self,
        at: &Chain,
        task: Task,
        proposed: Unihash,
        now: Timestamp,
    ) -> Stored<'_, Unihash>;

    /// Keeps rows of an upstream. Tasks that have a unihash keep theirs.
    fn copy_rows(&self, at: NamespaceId, rows: Vec<CopiedRow>, now: Timestamp) -> Stored<'_, ()>;

    /// Removes rows of both relations; returns how many. In batches: other
    /// writes go between them.
    fn remove(&self, at: NamespaceId, conditions: Conditions) -> Stored<'_, u64>;

    /// Starts or goes on with the collection `mark` and marks rows; returns
    /// how many matched. In batches.
    fn gc_mark(
        &self,
        at: NamespaceId,
        mark: String,
        conditions: Conditions,
        now: Timestamp,
    ) -> Stored<'_, u64>;

    /// Removes every row of the relation U that is not marked, in batches, and
    /// ends the collection. Returns how many were removed, or
    /// [`StoreError::WrongMark`].
    fn gc_sweep(&self, at: NamespaceId, mark: String) -> Stored<'_, u64>;

    /// Counts what a sweep would keep and remove.
    fn gc_status(&self, at: NamespaceId) -> Stored<'_, GcStatus>;

    /// Removes rows of the relation O that were made before `before` and whose
    /// task has no unihash, in batches; returns how many.
    fn clean_unused(&self, at: NamespaceId, before: Timestamp) -> Stored<'_, u64>;

    /// Counts rows of all namespaces, for `get-db-usage`.
    fn usage(&self) -> Stored<'_, Usage>;

    /// Rows of the relation O after the one numbered `after`, at most `limit`, in
    /// the order of their numbers. The text of listings is not read: that of a
    /// row that has one is empty.
    fn output_rows(
        &self,
        at: NamespaceId,
        filter: OutputFilter,
        after: i64,
        limit: usize,
    ) -> Stored<'_, Vec<OutputRow>>;

    /// The listing of one row of the relation O.
    fn siginfo(&self, at: &Chain, key: OutputKey) -> Stored<'_, Option<String>>;

    /// The rows of tasks with their signatures, in order: of the nearest namespace in
    /// which a task has a unihash. Of several outputs the oldest signed one, else the
    /// oldest. May come in any number; the caller bounds it.
    fn signed_rows(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<SignedRow>>>;

    /// The row that speaks for `unihash` as the unihash of a task with this output:
    /// a signed one of the task itself, else of the same output, else an unsigned
    /// one of the same output; of equal ones the nearest and then the oldest. Only the
    /// oldest rows of an output are looked at.
    fn evidence(
        &self,
        at: &Chain,
        task: Task,
        outhash: Outhash,
        unihash: Unihash,
    ) -> Stored<'_, Option<SignedRow>>;

    /// Keeps signatures of rows, each of which must be exactly the stored one; one of
    /// each key for a row, and the newest [`crate::signed::SIGNATURES_MAX`] of them.
    /// Says of each what became of it. The caller bounds the number.
    fn put_signatures(&self, at: NamespaceId, offered: Vec<Offered>) -> Stored<'_, Vec<Put>>;

    /// Where the namespace's sequence of changes is.
    fn cut(&self, at: NamespaceId) -> Stored<'_, Cut>;

    /// Mappings after `after`; `limit` rows are looked at.
    fn mappings(&self, at: NamespaceId, after: i64, limit: usize) -> Stored<'_, MappingPage>;

    /// At most `limit` changes after the position `since`.
    fn changes(
        &self,
        at: NamespaceId,
        since: u64,
        limit: usize,
        filter: ChangeFilter,
    ) -> Stored<'_, ChangesSince>;

    /// Forgets deletions of before `before`, in batches; returns how many.
    fn forget_changes(&self, before: Timestamp, now: Timestamp) -> Stored<'_, u64>;

    /// Takes or prolongs a lease for this process; whether it has it now.
    fn hold_lease(&self, lease: ChoreLease, now: Timestamp) -> Stored<'_, bool>;

    /// Takes or prolongs a lease in the name of `holder`, which several processes may bear;
    /// whether that has it now.
    fn hold_lease_as(&self, lease: ChoreLease, holder: String, now: Timestamp) -> Stored<'_, bool>;

    /// Gives a lease of this process back.
    fn release_lease(&self, lease: ChoreLease) -> Stored<'_, ()>;

    /// How far the methods are that work in batches.
    fn progress(&self) -> &Progress;
}
