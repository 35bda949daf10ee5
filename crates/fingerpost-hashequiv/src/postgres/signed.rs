//! Signatures of rows.

mod put;

use std::collections::{HashMap, HashSet};

use fingerpost_db::postgres::Value;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};

pub(super) use self::put::put;
use super::lookup::{self, TaskColumns};
use super::methods::{column, number};
use super::value::{Hash as _, damaged};
use super::{PostgresStore, failed};
use crate::namespace::{Chain, NamespaceId};
use crate::signed::SignedRow;
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
        .into_iter()
        .zip(tasks)
        .map(|(row, task)| row.zip(task.taskhash.to_column()))
        .collect();
    let known: Vec<&Named> = named.iter().flatten().collect();
    let names = store.names(known.iter().map(|(row, _)| row.namespace));
    let names = names.await?;
    let mut outputs = outputs(store, &known).await?.into_iter();
    let row = |(known, task): (&Option<Named>, &Task)| {
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

/// A task that has a unihash, and its taskhash as a column has it.
type Named = (lookup::Row, Vec<u8>);

/// That of each task, in order: of one that has none, nothing.
async fn outputs(store: &PostgresStore, named: &[&Named]) -> Result<Vec<SignedOutput>, StoreError> {
    let mut outputs = vec![SignedOutput::default(); named.len()];
    if outputs.is_empty() {
        return Ok(outputs);
    }
    let rows = || named.iter().map(|(row, _)| row);
    let namespaces: Vec<i32> = rows().map(|row| column(row.namespace.0)).collect();
    let methods: Vec<i32> = rows().map(|row| column(row.method.0)).collect();
    let taskhashes: Vec<&[u8]> = named.iter().map(|(_, taskhash)| &**taskhash).collect();
    let (namespaces, methods, taskhashes) = (&namespaces, &methods, &taskhashes);
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

#[cfg(test)]
mod tests;
