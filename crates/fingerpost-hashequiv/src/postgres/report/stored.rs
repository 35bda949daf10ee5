//! Writing a group: every statement is on its way before the first is answered.

use fingerpost_db::postgres::{PostgresError, Session, Value};
use futures_util::future::join_all;

use super::super::methods::column;
use super::settled::{NewRow, Writes, created_columns};
use super::{NewOutput, settled::NewMapping};
use crate::namespace::NamespaceId;
use crate::siginfo::Digest;

/// Writes it, in the transaction that holds the lock of the namespace.
pub(super) async fn write(
    tx: &Session,
    at: NamespaceId,
    writes: &Writes,
) -> Result<(), PostgresError> {
    let Some(numbers) = writes.numbers else {
        return Ok(());
    };
    let at = column(at.0);
    let all = join_all([
        boxed(listings(tx, at, writes)),
        boxed(bases(tx, at, writes)),
        boxed(mappings(tx, at, writes, numbers.collection)),
        boxed(outputs(tx, at, writes)),
        boxed(uses(tx, at, writes, numbers.collection)),
        boxed(counters(tx, at, writes)),
    ]);
    first_cause(all.await)
}

/// The error that ended the transaction, and not one of those that follow from that. On
/// a new connection statements are prepared first, so that they may overtake each other.
fn first_cause(all: Vec<Result<(), PostgresError>>) -> Result<(), PostgresError> {
    let errors = all.into_iter().filter_map(Result::err);
    let follows = |error: &PostgresError| matches!(error, PostgresError::TransactionLost);
    errors.min_by_key(follows).map_or(Ok(()), Err)
}

type Writing<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), PostgresError>> + Send + 'a>>;

fn boxed<'a>(one: impl Future<Output = Result<(), PostgresError>> + Send + 'a) -> Writing<'a> {
    Box::pin(one)
}

async fn execute(tx: &Session, sql: &str, values: &[&dyn Value]) -> Result<(), PostgresError> {
    tx.execute(sql, values).await.map(drop)
}

async fn mappings(
    tx: &Session,
    at: i32,
    writes: &Writes,
    collection: i32,
) -> Result<(), PostgresError> {
    const SQL: &str = "
        INSERT INTO mapping (namespace, collection, used_day, method, taskhash, unihash,
                             sequence, created)
        SELECT $1, $2, $3, added.* FROM unnest($4, $5, $6, $7, $8) AS added";
    let rows = &writes.mappings;
    if rows.is_empty() {
        return Ok(());
    }
    let methods: Vec<i32> = rows.iter().map(|row| column(row.method.0)).collect();
    let of = |hash: fn(&NewMapping) -> &[u8]| rows.iter().map(hash).collect::<Vec<&[u8]>>();
    let (taskhashes, unihashes) = (of(|row| &row.taskhash), of(|row| &row.unihash));
    let sequences: Vec<i64> = rows.iter().map(|row| row.sequence).collect();
    let created: Vec<i64> = rows.iter().map(|row| row.created).collect();
    // A new row belongs to the running collection, so that a sweep keeps it.
    let values: &[&dyn Value] = &[
        &at,
        &collection,
        &writes.today,
        &methods,
        &taskhashes,
        &unihashes,
        &sequences,
        &created,
    ];
    execute(tx, SQL, values).await
}

async fn outputs(tx: &Session, at: i32, writes: &Writes) -> Result<(), PostgresError> {
    const SQL: &str = "
        INSERT INTO output (namespace, id, method, taskhash, outhash, created, created_text,
                            owner, pn, pv, pr, task, listing)
        SELECT $1, added.*
          FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) AS added";
    let rows: Vec<(&NewRow, &NewOutput)> = writes
        .outputs
        .iter()
        .filter_map(|row| Some((row, row.entry.output.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id).collect();
    let methods: Vec<i32> = rows
        .iter()
        .map(|(row, _)| column(row.entry.method.0))
        .collect();
    let taskhashes: Vec<&[u8]> = rows.iter().map(|(row, _)| &*row.entry.taskhash).collect();
    let outhashes: Vec<&[u8]> = rows.iter().map(|(_, output)| &*output.outhash).collect();
    let created = rows
        .iter()
        .map(|(_, output)| created_columns(&output.created));
    let (created, created_texts): (Vec<Option<i64>>, Vec<Option<&[u8]>>) = created.unzip();
    let text = |field: fn(&NewOutput) -> &Option<String>| -> Vec<Option<&[u8]>> {
        let texts = rows.iter().map(|(_, output)| field(output).as_deref());
        texts.map(|text| text.map(str::as_bytes)).collect()
    };
    let owners = text(|output| &output.metadata.owner);
    let (pns, pvs) = (
        text(|output| &output.metadata.pn),
        text(|output| &output.metadata.pv),
    );
    let (prs, tasks) = (
        text(|output| &output.metadata.pr),
        text(|output| &output.metadata.task),
    );
    let listings: Vec<Option<&[u8]>> = rows.iter().map(|(_, output)| output.digest()).collect();
    let values: &[&dyn Value] = &[
        &at,
        &ids,
        &methods,
        &taskhashes,
        &outhashes,
        &created,
        &created_texts,
        &owners,
        &pns,
        &pvs,
        &prs,
        &tasks,
        &listings,
    ];
    execute(tx, SQL, values).await
}

async fn listings(tx: &Session, at: i32, writes: &Writes) -> Result<(), PostgresError> {
    const SQL: &str = "
        INSERT INTO listing (namespace, digest, base, length, data)
        SELECT $1, added.* FROM unnest($2, $3, $4, $5) AS added";
    let rows = &writes.listings;
    if rows.is_empty() {
        return Ok(());
    }
    let digests: Vec<&[u8]> = rows.iter().map(|row| &row.digest.0[..]).collect();
    let base = |base: &Option<Digest>| base.map(|base| base.0.to_vec());
    let bases: Vec<Option<Vec<u8>>> = rows.iter().map(|row| base(&row.base)).collect();
    let lengths: Vec<i32> = rows.iter().map(|row| row.length).collect();
    let data: Vec<&[u8]> = rows.iter().map(|row| &*row.data).collect();
    let values: &[&dyn Value] = &[&at, &digests, &&bases[..], &lengths, &data];
    execute(tx, SQL, values).await
}

async fn bases(tx: &Session, at: i32, writes: &Writes) -> Result<(), PostgresError> {
    const SQL: &str = "
        INSERT INTO listing_base (namespace, method, pn, task, digest)
        SELECT $1, added.* FROM unnest($2, $3, $4, $5) AS added
        ON CONFLICT (namespace, method, pn, task) DO UPDATE SET digest = excluded.digest";
    // Of two of one family the last one counts; a statement sets a row once.
    let mut last = std::collections::HashMap::new();
    for ((family, base), method) in writes.bases.iter().zip(&writes.base_methods) {
        last.insert((method.0, &family.pn, &family.task), base);
    }
    if last.is_empty() {
        return Ok(());
    }
    let methods: Vec<i32> = last.keys().map(|(method, _, _)| column(*method)).collect();
    let pns: Vec<&[u8]> = last.keys().map(|(_, pn, _)| pn.as_bytes()).collect();
    let tasks: Vec<&[u8]> = last.keys().map(|(_, _, task)| task.as_bytes()).collect();
    let digests: Vec<&[u8]> = last.values().map(|base| &base.digest.0[..]).collect();
    execute(tx, SQL, &[&at, &methods, &pns, &tasks, &digests]).await
}

async fn uses(
    tx: &Session,
    at: i32,
    writes: &Writes,
    collection: i32,
) -> Result<(), PostgresError> {
    const USED: &str = "
        UPDATE mapping SET used_day = $2
         WHERE namespace = $1 AND sequence = ANY($3) AND used_day < $2";
    const MARKED: &str = "
        UPDATE mapping SET collection = $2
         WHERE namespace = $1 AND sequence = ANY($3) AND collection <> $2";
    if !writes.used.is_empty() {
        execute(tx, USED, &[&at, &writes.today, &writes.used]).await?;
    }
    if !writes.remarked.is_empty() && collection > 0 {
        execute(tx, MARKED, &[&at, &collection, &writes.remarked]).await?;
    }
    Ok(())
}

async fn counters(tx: &Session, at: i32, writes: &Writes) -> Result<(), PostgresError> {
    const SQL: &str = "
        UPDATE namespace SET sequence = $2, output_id = $3, mappings = mappings + $4,
                             outputs = outputs + $5
         WHERE id = $1";
    let Some(numbers) = writes.numbers else {
        return Ok(());
    };
    let (mappings, outputs) = (writes.mappings.len() as i64, writes.outputs.len() as i64);
    if mappings == 0 && outputs == 0 {
        return Ok(());
    }
    let values: &[&dyn Value] = &[
        &at,
        &numbers.sequence,
        &numbers.output_id,
        &mappings,
        &outputs,
    ];
    execute(tx, SQL, values).await
}
