//! What a job is called and what may be done with it.

/// How much a transaction sees of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what is committed when it begins.
    #[default]
    ReadCommitted,
    /// All statements see what was committed when the first one began.
    Snapshot,
    /// As if transactions ran one after the other; conflicts are more frequent.
    Serializable,
}

impl Isolation {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::Snapshot => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// The name of a job, for metrics and logs, and how it is run. A plain name
/// becomes a job that may not be done twice, with [`Isolation::ReadCommitted`].
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub(crate) name: &'static str,
    pub(crate) isolation: Isolation,
    pub(crate) idempotent: bool,
}

impl Job {
    /// A job of this name. The names are few: each has its own counters.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            isolation: Isolation::ReadCommitted,
            idempotent: false,
        }
    }

    /// Runs it with this isolation. A read with another than
    /// [`Isolation::ReadCommitted`] is a transaction, of one snapshot.
    #[must_use]
    pub const fn isolated(self, isolation: Isolation) -> Self {
        Self { isolation, ..self }
    }

    /// Doing it twice has the outcome of doing it once: it runs again after a
    /// commit that was not answered.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }
}

impl From<&'static str> for Job {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}
