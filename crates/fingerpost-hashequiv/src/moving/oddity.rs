//! What an import could not take as it was.

use std::borrow::Cow;
use std::fmt;

use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};

/// Rows that are named for each kind.
const EXAMPLES_MAX: usize = 5;

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OddityKind {
    /// NULL in a key.
    Null,
    /// A BLOB where text belongs.
    Blob,
    /// Text that is no UTF-8.
    NotUtf8,
    /// The key exists in an earlier row: the source's unique index is damaged.
    Twice,
    /// Longer than Fingerpost keeps.
    TooLong,
}

/// What became of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consequence {
    /// The row was not taken.
    RowLeftOut,
    /// The row was taken with this field empty.
    FieldLeftEmpty,
}

/// One kind of value that could not be taken, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddity {
    /// The source's table.
    pub table: Cow<'static, str>,
    /// The column; for a key of several, the first.
    pub column: Cow<'static, str>,
    /// What is wrong.
    pub kind: OddityKind,
    /// What became of the rows.
    pub consequence: Consequence,
    /// Number of rows.
    pub count: u64,
    /// Ids of the first rows, at most five.
    pub examples: Vec<i64>,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            column,
            count,
            ..
        } = self;
        let what = match self.kind {
            OddityKind::Null => "is NULL",
            OddityKind::Blob => "is a BLOB",
            OddityKind::NotUtf8 => "is not UTF-8",
            OddityKind::Twice => "repeats the key of an earlier row",
            OddityKind::TooLong => "is too long",
        };
        let consequence = match self.consequence {
            Consequence::RowLeftOut => "left out",
            Consequence::FieldLeftEmpty => "taken without the field",
        };
        write!(f, "{table}.{column} {what}: {count} row(s) {consequence}")?;
        if self.examples.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = self.examples.iter().map(i64::to_string).collect();
        let more = if *count > ids.len() as u64 {
            ", ..."
        } else {
            ""
        };
        write!(f, " (id {}{more})", ids.join(", "))
    }
}

/// Every oddity of an import, by kind. There are few kinds, so it stays small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Oddities(pub(super) Vec<Oddity>);

impl Oddities {
    pub(super) fn record(
        &mut self,
        (table, column): (&'static str, &'static str),
        kind: OddityKind,
        consequence: Consequence,
        id: i64,
    ) {
        self.add(Oddity {
            table: table.into(),
            column: column.into(),
            kind,
            consequence,
            count: 1,
            examples: vec![id],
        });
    }

    /// Adds what was found in a later batch.
    pub(super) fn merge(&mut self, later: Self) {
        later.0.into_iter().for_each(|oddity| self.add(oddity));
    }

    fn add(&mut self, more: Oddity) {
        let known = self.0.iter_mut().find(|known| {
            (&known.table, &known.column, known.kind) == (&more.table, &more.column, more.kind)
        });
        match known {
            None => self.0.push(more),
            Some(known) => {
                known.count += more.count;
                known.examples.extend(more.examples);
                known.examples.truncate(EXAMPLES_MAX);
            }
        }
    }
}

/// The text of a value. Numbers are read as the text that SQLite would show,
/// which is what the reference's clients see.
pub(super) fn text(value: ValueRef<'_>) -> Result<Cow<'_, str>, OddityKind> {
    match value {
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(OddityKind::NotUtf8),
        },
        ValueRef::Integer(number) => Ok(Cow::Owned(number.to_string())),
        ValueRef::Real(number) => Ok(Cow::Owned(format!("{number:?}"))),
        ValueRef::Null => Err(OddityKind::Null),
        ValueRef::Blob(_) => Err(OddityKind::Blob),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_of_each_kind_are_named() {
        let mut oddities = Oddities::default();
        for id in 1..=7 {
            let place = ("unihashes_v3", "taskhash");
            oddities.record(place, OddityKind::Null, Consequence::RowLeftOut, id);
        }
        let shown: Vec<String> = oddities.0.iter().map(Oddity::to_string).collect();
        assert_eq!(
            shown,
            ["unihashes_v3.taskhash is NULL: 7 row(s) left out (id 1, 2, 3, 4, 5, ...)"]
        );
    }

    #[test]
    fn numbers_are_read_as_text() {
        assert_eq!(text(ValueRef::Integer(5)).unwrap(), "5");
        assert_eq!(text(ValueRef::Real(1.5)).unwrap(), "1.5");
        assert_eq!(text(ValueRef::Text(b"\xff")), Err(OddityKind::NotUtf8));
        assert_eq!(text(ValueRef::Blob(b"a")), Err(OddityKind::Blob));
    }
}
