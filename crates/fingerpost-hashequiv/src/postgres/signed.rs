//! Signatures of rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use fingerpost_db::postgres::{Job, PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use futures_util::future::join;

use super::lookup::TaskColumns;
use super::methods::{column, number};
use super::value::{Hash as _, damaged};
use super::{PostgresStore, failed};
use crate::namespace::{Chain, NamespaceId};
use crate::signed::{Offered, Put, SIGNATURES_MAX, SignedRow};
use crate::store::{StoreError, Task};

/// Rows of one output that are looked at for evidence, the oldest ones: tasks without
/// any output have the same one by the ten thousand.
const EVIDENCE_ROWS: i64 = 256;

/// The oldest signed output of a task of `asked`, else the oldest.
const CHOSEN: &str = "
    SELECT output.id, output.outhash FROM output
     WHERE output.namespace = asked.namespace AND output.method = asked.method
       AND output.taskhash = asked.taskhash
     ORDER BY EXISTS (SELECT 1 FROM signature
                       WHERE signature.namespace = output.namespace
                         AND signature.output = output.id) DESC, output.id
     LIMIT 1";

/// The signatures of a row `chosen` of the namespace of `asked`, the oldest first.
const KEPT: &str = "
    SELECT text, number FROM signature
     WHERE signature.namespace = asked.namespace AND signature.output = chosen.id
     ORDER BY number";

/// The rows of tasks with their signatures, in order.
pub(super) async fn rows(
    store: &PostgresStore,
    at: &Chain,
    tasks: &[Task],
) -> Result<Vec<Option<SignedRow>>, StoreError> {
    let nearest = store.nearest(at, tasks).await?;
    let named: Vec<_> = nearest
        .iter()
        .zip(tasks)
        .map(|(row, task)| row.as_ref().zip(task.taskhash.to_column()))
        .collect();
    let known = || named.iter().flatten();
    let namespaces: Vec<i32> = known().map(|(row, _)| column(row.namespace.0)).collect();
    let methods: Vec<i32> = known().map(|(row, _)| column(row.method.0)).collect();
    let taskhashes: Vec<&[u8]> = known().map(|(_, taskhash)| &**taskhash).collect();
    let names = store.names(known().map(|(row, _)| row.namespace)).await?;
    let mut outputs = outputs(store, &namespaces, &methods, &taskhashes)
        .await?
        .into_iter();
    let row = |(known, task): (&Option<(&super::lookup::Row, _)>, &Task)| {
        let Some((row, _)) = known else {
            return Ok(None);
        };
        let SignedOutput {
            outhash,
            signatures,
        } = outputs.next().unwrap_or_default();
        Ok(Some(SignedRow {
            namespace: name_of(&names, row.namespace)?,
            task: task.clone(),
            outhash,
            unihash: Unihash::of_column(&row.unihash)?,
            signatures,
        }))
    };
    named.iter().zip(tasks).map(row).collect()
}

/// An output and its signatures.
#[derive(Clone, Default)]
struct SignedOutput {
    outhash: Option<Outhash>,
    signatures: Vec<String>,
}

/// That of each task, in order: of one that has none, nothing.
async fn outputs(
    store: &PostgresStore,
    namespaces: &Vec<i32>,
    methods: &Vec<i32>,
    taskhashes: &Vec<&[u8]>,
) -> Result<Vec<SignedOutput>, StoreError> {
    let mut outputs = vec![SignedOutput::default(); taskhashes.len()];
    if outputs.is_empty() {
        return Ok(outputs);
    }
    let sql = format!(
        "SELECT asked.place, chosen.outhash, kept.text
           FROM unnest($1, $2, $3)
                WITH ORDINALITY AS asked (namespace, method, taskhash, place)
          CROSS JOIN LATERAL ({CHOSEN}) AS chosen
           LEFT JOIN LATERAL ({KEPT}) AS kept ON true
          ORDER BY asked.place, kept.number"
    );
    let sql = &sql;
    let rows = store.shared.db.read("signed_rows", |session| async move {
        let values: &[&dyn Value] = &[namespaces, methods, taskhashes];
        session.query(sql, values).await
    });
    for row in rows.await.map_err(failed)? {
        let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
        let Some(output) = place.checked_sub(1).and_then(|at| outputs.get_mut(at)) else {
            continue;
        };
        output.outhash = Some(Outhash::of_column(row.get(1))?);
        output.signatures.extend(row.get::<_, Option<String>>(2));
    }
    Ok(outputs)
}

type SpaceNames = HashMap<NamespaceId, String>;

fn name_of(names: &SpaceNames, at: NamespaceId) -> Result<String, StoreError> {
    let name = names.get(&at).cloned();
    name.ok_or_else(|| damaged("the name of a namespace"))
}

impl PostgresStore {
    /// The names of namespaces. Of those that are not served here they are read.
    async fn names(
        &self,
        wanted: impl Iterator<Item = NamespaceId>,
    ) -> Result<SpaceNames, StoreError> {
        let served = &self.shared.names;
        let (mut names, mut missing) = (SpaceNames::new(), HashSet::new());
        for at in wanted {
            match served.get(&at) {
                Some(name) if !names.contains_key(&at) => _ = names.insert(at, name.clone()),
                Some(_) => {}
                None => _ = missing.insert(column(at.0)),
            }
        }
        if missing.is_empty() {
            return Ok(names);
        }
        let missing: Vec<i32> = missing.into_iter().collect();
        let missing = &missing;
        let rows = self
            .shared
            .db
            .read("namespace_names", |session| async move {
                let sql = "SELECT id, name FROM namespace WHERE id = ANY($1)";
                session.query(sql, &[missing]).await
            });
        let rows = rows.await.map_err(failed)?;
        let read = rows
            .iter()
            .map(|row| (NamespaceId(number(row.get(0))), row.get(1)));
        names.extend(read);
        Ok(names)
    }
}

/// The row that speaks for `unihash` as the unihash of a task with this output. Not of a
/// replica: it is asked for right after the report.
pub(super) async fn evidence(
    store: &PostgresStore,
    at: &Chain,
    task: &Task,
    outhash: &Outhash,
    unihash: &Unihash,
) -> Result<Option<SignedRow>, StoreError> {
    let (Some(TaskColumns { method, taskhash }), Some(outhash), Some(unihash)) = (
        store.columns(task).await?,
        outhash.to_column(),
        unihash.to_column(),
    ) else {
        return Ok(None);
    };
    let chain: Vec<i32> = at.iter().map(|at| column(at.0)).collect();
    let (own, of_output) = (own_sql(), of_output_sql());
    let (own, of_output, chain) = (&own, &of_output, &chain);
    let (method, taskhash) = (&column(method.0), &taskhash);
    let (outhash, unihash) = (&outhash, &unihash);
    let rows = store.shared.db.read("evidence", |session| async move {
        let values: &[&dyn Value] = &[chain, method, taskhash, unihash];
        let rows = session.query(own, values).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        let values: &[&dyn Value] = &[chain, method, outhash, unihash, &EVIDENCE_ROWS];
        session.query(of_output, values).await
    });
    let rows = rows.await.map_err(failed)?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let at = NamespaceId(number(first.get(0)));
    let names = store.names(std::iter::once(at)).await?;
    let signatures = rows.iter().filter_map(|row| row.get(3));
    Ok(Some(SignedRow {
        namespace: name_of(&names, at)?,
        task: Task {
            method: task.method.clone(),
            taskhash: Taskhash::of_column(first.get(1))?,
        },
        outhash: Some(Outhash::of_column(first.get(2))?),
        unihash: Unihash::of_column(unihash)?,
        signatures: signatures.collect(),
    }))
}

/// The task's own row if it is signed and has the unihash, once for each signature; with
/// the chain, the method, the taskhash and the unihash as `$1` to `$4`.
fn own_sql() -> String {
    format!(
        "SELECT asked.namespace, asked.taskhash, chosen.outhash, kept.text
           FROM (SELECT mapping.namespace, mapping.method, mapping.taskhash, mapping.unihash
                   FROM unnest($1) WITH ORDINALITY AS chain (namespace, place)
                   JOIN mapping ON mapping.namespace = chain.namespace
                        AND mapping.method = $2 AND mapping.taskhash = $3
                  ORDER BY chain.place LIMIT 1) AS asked
          CROSS JOIN LATERAL ({CHOSEN}) AS chosen
          CROSS JOIN LATERAL ({KEPT}) AS kept
          WHERE asked.unihash = $4
          ORDER BY kept.number"
    )
}

/// Of the oldest rows of an output with this unihash a signed one, else any, the nearest
/// and then the oldest, once for each signature; with the chain, the method, the outhash,
/// the unihash, and how many are looked at as `$1` to `$5`.
fn of_output_sql() -> String {
    format!(
        "SELECT asked.namespace, asked.taskhash, $3, kept.text
           FROM (SELECT chain.namespace, speaking.id, speaking.taskhash
                   FROM unnest($1) WITH ORDINALITY AS chain (namespace, place)
                  CROSS JOIN LATERAL (
                        SELECT oldest.id, oldest.taskhash,
                               EXISTS (SELECT 1 FROM signature
                                        WHERE signature.namespace = chain.namespace
                                          AND signature.output = oldest.id) AS is_signed
                          FROM (SELECT id, taskhash FROM output
                                 WHERE output.namespace = chain.namespace
                                   AND output.method = $2 AND output.outhash = $3
                                 ORDER BY id LIMIT $5) AS oldest
                          JOIN mapping ON mapping.namespace = chain.namespace
                               AND mapping.method = $2 AND mapping.taskhash = oldest.taskhash
                         WHERE mapping.unihash = $4) AS speaking
                  ORDER BY speaking.is_signed DESC, chain.place, speaking.id LIMIT 1) AS asked
          CROSS JOIN LATERAL (SELECT asked.id) AS chosen
           LEFT JOIN LATERAL ({KEPT}) AS kept ON true
          ORDER BY kept.number"
    )
}

/// Keeps signatures of rows that are exactly the stored ones.
pub(super) async fn put(
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
