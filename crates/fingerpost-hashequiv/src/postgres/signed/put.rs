//! Keeping signatures: of a group of offers what is there is read at once, decided about in
//! memory, and what changed is written at once.

use std::collections::{BTreeMap, HashMap};

use fingerpost_db::postgres::{Job, PostgresError, Row, Session, Value};
use futures_util::future::join;

use super::super::lookup::TaskColumns;
use super::super::methods::column;
use super::super::value::Hash as _;
use super::super::{PostgresStore, failed};
use crate::namespace::NamespaceId;
use crate::signed::{Offered, Put, SIGNATURES_MAX};
use crate::store::StoreError;

/// Keeps signatures of rows that are exactly the stored ones.
pub(in super::super) async fn put(
    store: &PostgresStore,
    at: NamespaceId,
    offered: Vec<Offered>,
) -> Result<Vec<Put>, StoreError> {
    let mut asked = Vec::with_capacity(offered.len());
    for one in &offered {
        let columns = store.columns(&one.task).await?;
        let columns = columns.zip(one.outhash.to_column());
        asked.extend(columns.map(|(task, outhash)| Asked {
            offered: one,
            task,
            outhash,
        }));
    }
    let asked = &asked;
    let job = Job::new("put_signatures").idempotent();
    let put = store.shared.db.transaction(job, |tx| async move {
        let found = find(&tx, at, asked).await?;
        keep(&tx, at, asked, &found).await?;
        Ok(found)
    });
    let found = put.await.map_err(failed)?;
    let mut found = asked.iter().zip(found).peekable();
    let outcome = |one: &Offered| {
        let of_this = |(asked, _): &(&Asked<'_>, _)| std::ptr::eq(asked.offered, one);
        match found.next_if(of_this).map(|(_, found)| found) {
            None | Some(Found::NoRow) => Put::NoRow,
            Some(Found::Mismatch) => Put::Mismatch,
            Some(Found::Output(_)) => Put::Stored,
        }
    };
    Ok(offered.iter().map(outcome).collect())
}

/// A signature that is offered, of a row that may be there.
struct Asked<'a> {
    offered: &'a Offered,
    task: TaskColumns,
    outhash: Vec<u8>,
}

/// What is there of an offered row.
#[derive(Clone, Copy)]
enum Found {
    NoRow,
    Mismatch,
    /// It, by the number of its output.
    Output(i64),
}

/// Locks the namespace and finds the rows, in order.
async fn find(
    tx: &Session,
    at: NamespaceId,
    asked: &[Asked<'_>],
) -> Result<Vec<Found>, PostgresError> {
    const LOCK: &str = "SELECT id FROM namespace WHERE id = $1 FOR UPDATE";
    const SQL: &str = "
        SELECT asked.place, output.id, mapping.unihash
          FROM unnest($2, $3, $4) WITH ORDINALITY AS asked (method, taskhash, outhash, place)
          JOIN mapping ON mapping.namespace = $1 AND mapping.method = asked.method
               AND mapping.taskhash = asked.taskhash
          JOIN output ON output.namespace = $1 AND output.method = asked.method
               AND output.taskhash = asked.taskhash AND output.outhash = asked.outhash";
    let methods: Vec<i32> = asked.iter().map(|one| column(one.task.method.0)).collect();
    let taskhashes: Vec<&[u8]> = asked.iter().map(|one| &*one.task.taskhash).collect();
    let outhashes: Vec<&[u8]> = asked.iter().map(|one| &*one.outhash).collect();
    let at = column(at.0);
    let at: [&dyn Value; 1] = [&at];
    let values: &[&dyn Value] = &[at[0], &methods, &taskhashes, &outhashes];
    // The second sees what is committed when the first has its lock.
    let (locked, rows) = join(tx.query_one(LOCK, &at), tx.query(SQL, values)).await;
    locked?;
    let mut found = vec![Found::NoRow; asked.len()];
    for row in rows? {
        let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
        let Some(place) = place.checked_sub(1).filter(|place| *place < asked.len()) else {
            continue;
        };
        let unihash = asked[place].offered.unihash.to_column();
        found[place] = match unihash.as_deref() == Some(row.get(2)) {
            true => Found::Output(row.get(1)),
            false => Found::Mismatch,
        };
    }
    Ok(found)
}

/// The signatures of rows, of each by its key: its number and text.
#[derive(Default)]
struct Kept(HashMap<i64, BTreeMap<[u8; 8], (i64, String)>>);

/// Keeps signatures, in order: one of each key for a row, and the newest of them.
async fn keep(
    tx: &Session,
    at: NamespaceId,
    asked: &[Asked<'_>],
    found: &[Found],
) -> Result<(), PostgresError> {
    const KNOWN: &str = "
        SELECT output, key, number, text FROM signature WHERE namespace = $1 AND output = ANY($2)";
    let offered: Vec<(i64, &Offered)> = asked
        .iter()
        .zip(found)
        .filter_map(|(asked, found)| match found {
            Found::Output(output) => Some((*output, asked.offered)),
            Found::NoRow | Found::Mismatch => None,
        })
        .collect();
    if offered.is_empty() {
        return Ok(());
    }
    let mut outputs: Vec<i64> = offered.iter().map(|(output, _)| *output).collect();
    outputs.sort_unstable();
    outputs.dedup();
    let rows = tx.query(KNOWN, &[&column(at.0), &outputs]).await?;
    let before = Kept::of(&rows)?;
    let mut after = Kept::of(&rows)?;
    for (output, one) in offered {
        let (key, text) = (one.signature.key().to_bytes(), one.signature.to_string());
        after.put(output, key, text);
    }
    write(tx, column(at.0), &before, &after).await
}

impl Kept {
    fn of(rows: &[Row]) -> Result<Self, PostgresError> {
        let mut kept = Self::default();
        for row in rows {
            // Nobody but us writes them: damage is met as a statement that gave no row.
            let key: Result<[u8; 8], _> = row.get::<_, &[u8]>(1).try_into();
            let key = key.map_err(|_| PostgresError::Rows(0))?;
            let of_output = kept.0.entry(row.get(0)).or_default();
            of_output.insert(key, (row.get(2), row.get(3)));
        }
        Ok(kept)
    }

    /// The oldest makes room.
    fn put(&mut self, output: i64, key: [u8; 8], text: String) {
        let kept = self.0.entry(output).or_default();
        if kept.get(&key).is_some_and(|(_, known)| *known == text) {
            return;
        }
        let newest = kept.values().map(|(number, _)| *number).max();
        kept.insert(key, (newest.unwrap_or(0) + 1, text));
        if kept.len() > SIGNATURES_MAX {
            let oldest = kept.iter().min_by_key(|(_, (number, _))| *number);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                kept.remove(&oldest);
            }
        }
    }

    /// What is here and not, or otherwise, there.
    fn without<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (i64, &'a [u8; 8], &'a (i64, String))> {
        let of_output = |(output, kept): (&'a i64, &'a BTreeMap<_, _>)| {
            let output = *output;
            kept.iter().map(move |(key, one)| (output, key, one))
        };
        let all = self.0.iter().flat_map(of_output);
        all.filter(|(output, key, one)| {
            let there = other.0.get(output).and_then(|kept| kept.get(*key));
            there != Some(*one)
        })
    }
}

/// Writes what is other than before.
async fn write(tx: &Session, at: i32, before: &Kept, after: &Kept) -> Result<(), PostgresError> {
    const DELETE: &str = "
        DELETE FROM signature USING unnest($2, $3) AS gone (output, key)
         WHERE signature.namespace = $1 AND signature.output = gone.output
           AND signature.key = gone.key";
    const INSERT: &str = "
        INSERT INTO signature (namespace, output, key, number, text)
        SELECT $1, added.* FROM unnest($2, $3, $4, $5) AS added";
    let gone: Vec<_> = before.without(after).collect();
    let outputs: Vec<i64> = gone.iter().map(|(output, _, _)| *output).collect();
    let keys: Vec<&[u8]> = gone.iter().map(|(_, key, _)| &key[..]).collect();
    if !gone.is_empty() {
        tx.execute(DELETE, &[&at, &outputs, &keys]).await?;
    }
    let added: Vec<_> = after.without(before).collect();
    let outputs: Vec<i64> = added.iter().map(|(output, _, _)| *output).collect();
    let keys: Vec<&[u8]> = added.iter().map(|(_, key, _)| &key[..]).collect();
    let numbers: Vec<i64> = added.iter().map(|(_, _, (number, _))| *number).collect();
    let texts: Vec<&str> = added.iter().map(|(_, _, (_, text))| &**text).collect();
    if !added.is_empty() {
        let values: &[&dyn Value] = &[&at, &outputs, &keys, &numbers, &texts];
        tx.execute(INSERT, values).await?;
    }
    Ok(())
}
