//! Rows that come late and are old.
//!
//! Of rows of one task, and of rows with one outhash, the oldest decides, and for us
//! that is the one with the least number. A row that the reference copied from its
//! upstream, or stored after its clock was set back, is older than rows that have
//! lower numbers already. Then it and those that have to come behind it deal the
//! numbers that they have out among themselves.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension as _;

use super::applying::{Applier, Became};
use crate::created::Created;

/// Rows that change their numbers for one row at most. An outhash of more rows than that
/// is one of an empty output, for which age decides nothing.
const MEMBERS_MAX: usize = 2000;

/// What the reference orders by: the time as text, then the id.
type Age = (Option<String>, i64);

impl Applier<'_> {
    /// Sees to the order of the row with the number `ours`, and of those that it is
    /// compared with.
    pub(super) fn settle(
        &mut self,
        ours: i64,
        id: i64,
        created: Option<String>,
        became: &mut Became,
    ) -> rusqlite::Result<()> {
        let mut members = BTreeMap::from([(ours, (created, id))]);
        let numbers = loop {
            let numbers = dealt_out(&members);
            let mut added = false;
            for (ours, number) in &numbers {
                let age = members[ours].clone();
                for (other, other_age) in self.relatives(*ours, became)? {
                    if !members.contains_key(&other) && (other_age < age) != (other < *number) {
                        members.insert(other, other_age);
                        added = true;
                    }
                }
            }
            if !added {
                break numbers;
            }
            if members.len() > MEMBERS_MAX {
                self.round.notes.push(format!(
                    "The output with the id {id} is older than {} others and was put behind them",
                    members.len()
                ));
                return Ok(());
            }
        };
        self.renumber(&numbers, &members, became)
    }

    /// The rows of the same task, and those with the same outhash, with their ages.
    fn relatives(&self, ours: i64, became: &Became) -> rusqlite::Result<Vec<(i64, Age)>> {
        let mut find = self.conn.prepare_cached(
            "SELECT other.id, other.created FROM outhash AS own
                    CROSS JOIN outhash AS other ON other.task = own.task
              WHERE own.id = ?1 AND other.id <> ?1
             UNION
             SELECT other.id, other.created FROM outhash AS own
                    CROSS JOIN outhash AS other ON other.namespace = own.namespace
                           AND other.method = own.method AND other.outhash = own.outhash
              WHERE own.id = ?1 AND other.id <> ?1",
        )?;
        let mut rows = find.query([ours])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let other: i64 = row.get(0)?;
            let created: Created = row.get(1)?;
            // A row that nobody recorded is somebody else's and will go.
            if let Some(id) = self.source_of(other, became)? {
                found.push((other, (created.into_text(), id)));
            }
        }
        Ok(found)
    }

    /// The reference's id of a row, which may have been added just now.
    pub(super) fn source_of(&self, ours: i64, became: &Became) -> rusqlite::Result<Option<i64>> {
        if let Some((id, _)) = self.moved.iter().find(|(_, number)| *number == ours) {
            return Ok(Some(*id));
        }
        if became.get(&ours) == Some(&ours) {
            return Ok(Some(ours));
        }
        if let Some(id) = self.record.source_of_output(ours)? {
            return Ok(Some(id));
        }
        // Only rows whose numbers were taken have others.
        let mut others = became.iter().filter(|(id, number)| id != number);
        let found = others.find(|(_, number)| **number == ours);
        Ok(found.map(|(id, _)| *id))
    }

    fn renumber(
        &mut self,
        numbers: &BTreeMap<i64, i64>,
        members: &BTreeMap<i64, Age>,
        became: &mut Became,
    ) -> rusqlite::Result<()> {
        let changed: Vec<(i64, i64)> = numbers
            .iter()
            .filter(|(ours, number)| ours != number)
            .map(|(ours, number)| (*ours, *number))
            .collect();
        // Numbers from here on are nobody's, and are free again at the end.
        let spare: Option<i64> = self
            .conn
            .query_row("SELECT max(id) + 1 FROM outhash", [], |row| row.get(0))
            .optional()?
            .flatten();
        let spare = spare.unwrap_or(1);
        for (place, (ours, _)) in changed.iter().enumerate() {
            self.give_number(*ours, spare + place as i64)?;
        }
        for (place, (_, number)) in changed.iter().enumerate() {
            self.give_number(spare + place as i64, *number)?;
        }
        for (ours, number) in changed {
            let id = members[&ours].1;
            if let Some(became) = became.get_mut(&id) {
                *became = number;
            }
            self.moved.retain(|(known, _)| *known != id);
            self.moved.push((id, number));
        }
        Ok(())
    }

    fn give_number(&self, from: i64, to: i64) -> rusqlite::Result<()> {
        for sql in [
            "UPDATE outhash SET id = ?2 WHERE id = ?1",
            "UPDATE signature SET output = ?2 WHERE output = ?1",
        ] {
            self.conn.prepare_cached(sql)?.execute((from, to))?;
        }
        Ok(())
    }
}

/// The number that each row would get: the oldest the least.
fn dealt_out(members: &BTreeMap<i64, Age>) -> BTreeMap<i64, i64> {
    let mut by_age: Vec<(&Age, i64)> = members.iter().map(|(ours, age)| (age, *ours)).collect();
    by_age.sort();
    let rows = by_age.into_iter().map(|(_, ours)| ours);
    rows.zip(members.keys().copied()).collect()
}
