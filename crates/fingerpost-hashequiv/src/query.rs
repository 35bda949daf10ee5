//! Conditions on rows, and the counts that administrators ask for.

use serde::Serialize;

/// A text column that `remove` and `gc-mark` can compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Of both relations.
    Method,
    /// Of both relations.
    Taskhash,
    /// Of the relation U.
    Unihash,
    /// Of the relation U.
    GcMark,
    /// Of the relation O, as the others below.
    Outhash,
    /// When the row was stored, compared as the text that clients see.
    Created,
    /// Who built it.
    Owner,
    /// Recipe.
    Pn,
    /// Version of the recipe.
    Pv,
    /// Revision of the recipe.
    Pr,
    /// Name of the task.
    Task,
    /// The listing behind the outhash.
    Siginfo,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 12] = [
        Self::Method,
        Self::Taskhash,
        Self::Unihash,
        Self::GcMark,
        Self::Outhash,
        Self::Created,
        Self::Owner,
        Self::Pn,
        Self::Pv,
        Self::Pr,
        Self::Task,
        Self::Siginfo,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Taskhash => "taskhash",
            Self::Unihash => "unihash",
            Self::GcMark => "gc_mark",
            Self::Outhash => "outhash",
            Self::Created => "created",
            Self::Owner => "owner",
            Self::Pn => "PN",
            Self::Pv => "PV",
            Self::Pr => "PR",
            Self::Task => "task",
            Self::Siginfo => "outhash_siginfo",
        }
    }

    /// Finds a column by its name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.as_str() == name)
    }

    /// Whether the relation U has it.
    pub const fn in_unihashes(self) -> bool {
        matches!(
            self,
            Self::Method | Self::Taskhash | Self::Unihash | Self::GcMark
        )
    }

    /// Whether the relation O has it.
    pub const fn in_outputs(self) -> bool {
        !matches!(self, Self::Unihash | Self::GcMark)
    }

    /// Whether `get-db-query-columns` names it: text columns only.
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Created)
    }
}

/// Columns with the text that they must equal; all must hold. Each relation is
/// compared with the columns that it has, and one without any is untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(pub Vec<(Column, String)>);

impl Conditions {
    /// The conditions on the relation U.
    pub fn on_unihashes(&self) -> Self {
        self.filtered(Column::in_unihashes)
    }

    /// The conditions on the relation O.
    pub fn on_outputs(&self) -> Self {
        self.filtered(Column::in_outputs)
    }

    /// Whether nothing is compared.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text that `column` must equal.
    pub fn get(&self, column: Column) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(other, _)| *other == column)
            .map(|(_, value)| value.as_str())
    }

    fn filtered(&self, has: impl Fn(Column) -> bool) -> Self {
        let own = self.0.iter().filter(|(column, _)| has(*column));
        Self(own.cloned().collect())
    }
}

/// The state of garbage collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GcStatus {
    /// Rows of the relation U that carry the current mark.
    pub keep: u64,
    /// The others.
    pub remove: u64,
    /// The current mark; `None` when no collection is running.
    pub mark: Option<String>,
}

/// Rows by table, under the names that the reference server gives its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Rows of the relation U.
    pub unihashes: u64,
    /// Rows of the relation O.
    pub outputs: u64,
    /// Users.
    pub users: u64,
    /// Configuration values: 1 once a collection was started.
    pub config: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relation_takes_the_conditions_it_knows() {
        let conditions = Conditions(vec![
            (Column::Method, "m".to_owned()),
            (Column::Unihash, "u".to_owned()),
            (Column::Pn, "p".to_owned()),
        ]);
        assert_eq!(conditions.on_unihashes().0.len(), 2);
        assert_eq!(conditions.on_outputs().get(Column::Pn), Some("p"));
        assert_eq!(conditions.on_outputs().get(Column::Unihash), None);
    }

    #[test]
    fn names_read_back() {
        for column in Column::ALL {
            assert_eq!(Column::parse(column.as_str()), Some(column));
        }
        assert_eq!(Column::parse("id"), None);
    }
}
