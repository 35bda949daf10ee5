//! Giving and taking rows as they are.

use std::collections::HashMap;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Job, PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use super::deleting::Deletion;
use super::methods::column;
use super::rows::OutputKeyColumns;
use super::value::{Hash as _, text};
use super::{PostgresStore, failed};
use crate::cache::MethodId;
use crate::copying::{
    Collection, Collections, CopyPage, CopyStore, MappingCopy, OutputCopy, RowCounts,
};
use crate::namespace::NamespaceId;
use crate::paging::OutputKey;
use crate::store::{StoreError, Stored, Task};

impl CopyStore for PostgresStore {
    fn mapping_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<MappingCopy>> {
        Box::pin(self.mapping_page(at, after, limit))
    }

    fn mapping_copies_of(
        &self,
        at: NamespaceId,
        tasks: Vec<Task>,
    ) -> Stored<'_, Vec<Option<MappingCopy>>> {
        Box::pin(self.mappings_of(at, tasks))
    }

    fn output_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputCopy>> {
        Box::pin(self.output_copy_page(at, after, limit))
    }

    fn output_keys(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputKey>> {
        Box::pin(self.output_key_page(at, after, limit))
    }

    fn signatures_of(
        &self,
        at: NamespaceId,
        keys: Vec<OutputKey>,
    ) -> Stored<'_, Vec<Option<Vec<String>>>> {
        Box::pin(async move {
            let found = self.outputs_of(at, &keys).await?;
            let ids: Vec<i64> = found.iter().flatten().copied().collect();
            let mut texts = self.signature_texts(at, ids).await?;
            let mut of = |id: i64| texts.remove(&id).unwrap_or_default();
            Ok(found.into_iter().map(|id| id.map(&mut of)).collect())
        })
    }

    fn newest_output(&self, at: NamespaceId) -> Stored<'_, i64> {
        const SQL: &str = "SELECT coalesce(max(id), 0) FROM output WHERE namespace = $1";
        Box::pin(async move {
            let read = self.shared.db.read("newest_output", |session| async move {
                session.query_one(SQL, &[&column(at.0)]).await
            });
            Ok(read.await.map_err(failed)?.get(0))
        })
    }

    fn collections(&self, at: NamespaceId) -> Stored<'_, Collections> {
        Box::pin(self.collections_of(at))
    }

    fn row_counts(&self, at: NamespaceId) -> Stored<'_, RowCounts> {
        const SQL: &str = "
            SELECT (SELECT count(*) FROM mapping WHERE namespace = $1),
                   (SELECT count(*) FROM output WHERE namespace = $1),
                   (SELECT count(*) FROM output WHERE namespace = $1 AND listing IS NOT NULL),
                   (SELECT count(*) FROM signature WHERE namespace = $1)";
        Box::pin(async move {
            let read = self.shared.db.read("row_counts", |session| async move {
                session.query_one(SQL, &[&column(at.0)]).await
            });
            let row = read.await.map_err(failed)?;
            let count = |place: usize| row.get::<_, i64>(place).unsigned_abs();
            Ok(RowCounts {
                mappings: count(0),
                outputs: count(1),
                listings: count(2),
                signatures: count(3),
            })
        })
    }

    fn put_mappings(&self, at: NamespaceId, rows: Vec<MappingCopy>) -> Stored<'_, ()> {
        Box::pin(self.replace_mappings(at, rows))
    }

    fn put_outputs(&self, at: NamespaceId, rows: Vec<OutputCopy>) -> Stored<'_, ()> {
        Box::pin(async move {
            let is_signed = |copy: &&OutputCopy| !copy.signatures.is_empty();
            let signed: Vec<(OutputKey, Vec<String>)> = rows
                .iter()
                .filter(is_signed)
                .map(|copy| (copy.key(), copy.signatures.clone()))
                .collect();
            self.add_output_copies(at, rows).await?;
            self.replace_signatures(at, signed).await
        })
    }

    fn put_signature_texts(
        &self,
        at: NamespaceId,
        signed: Vec<(OutputKey, Vec<String>)>,
    ) -> Stored<'_, ()> {
        Box::pin(self.replace_signatures(at, signed))
    }

    fn drop_mappings(&self, at: NamespaceId, tasks: Vec<Task>) -> Stored<'_, ()> {
        Box::pin(async move {
            let places = self.places_of(at, tasks).await?;
            self.drop_rows(at, places, Vec::new()).await
        })
    }

    fn drop_outputs(&self, at: NamespaceId, keys: Vec<OutputKey>) -> Stored<'_, ()> {
        Box::pin(async move {
            let found = self.outputs_of(at, &keys).await?;
            let ids = found.into_iter().flatten().collect();
            self.drop_rows(at, Vec::new(), ids).await
        })
    }

    fn put_collections(
        &self,
        at: NamespaceId,
        collections: Collections,
    ) -> Stored<'_, HashMap<i64, i64>> {
        Box::pin(self.replace_collections(at, collections))
    }

    fn copy_state(&self) -> Stored<'_, Option<String>> {
        const IS_THERE: &str = "
            SELECT EXISTS (SELECT 1 FROM information_schema.tables
                            WHERE table_schema = current_schema() AND table_name = 'copy_state')";
        Box::pin(async move {
            let read = self.shared.db.read("copy_state", |session| async move {
                let is_there = session.query_one(IS_THERE, &[]).await?;
                match is_there.get(0) {
                    true => session.query_opt("SELECT state FROM copy_state", &[]).await,
                    false => Ok(None),
                }
            });
            Ok(read.await.map_err(failed)?.map(|row| row.get(0)))
        })
    }

    /// The table is there while a copy is under way, and no part of the schema.
    fn put_copy_state(&self, state: Option<String>) -> Stored<'_, ()> {
        const TABLE: &str = "CREATE TABLE IF NOT EXISTS copy_state
                                    (id INTEGER PRIMARY KEY, state TEXT NOT NULL)";
        const PUT: &str = "INSERT INTO copy_state (id, state) VALUES (1, $1)
                           ON CONFLICT (id) DO UPDATE SET state = excluded.state";
        Box::pin(async move {
            let job = Job::new("put_copy_state").idempotent();
            let (db, state) = (&self.shared.db, &state);
            let put = db.transaction(job, |tx| async move {
                match state {
                    Some(state) => {
                        tx.batch(TABLE).await?;
                        tx.execute(PUT, &[state]).await.map(drop)
                    }
                    None => tx.batch("DROP TABLE IF EXISTS copy_state").await,
                }
            });
            put.await.map_err(failed)
        })
    }
}

const MAPPING: &str = "
    SELECT mapping.sequence, method.name, mapping.taskhash, mapping.unihash, mapping.created,
           mapping.used_day, mapping.collection";

fn mapping(row: &Row) -> Result<MappingCopy, StoreError> {
    Ok(MappingCopy {
        place: row.get(0),
        task: Task {
            method: Method::new(text(row.get(1))?),
            taskhash: Taskhash::of_column(row.get(2))?,
        },
        unihash: Unihash::of_column(row.get(3))?,
        created: Timestamp(row.get(4)),
        used_day: row.get::<_, i32>(5).into(),
        collection: row.get::<_, i32>(6).into(),
    })
}

/// A full page says that there may be another.
fn page<T>(rows: Vec<T>, limit: usize, place: impl Fn(&T) -> i64) -> CopyPage<T> {
    let next = (rows.len() >= limit).then(|| rows.last().map(place));
    CopyPage {
        next: next.flatten(),
        rows,
    }
}

impl PostgresStore {
    async fn mapping_page(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Result<CopyPage<MappingCopy>, StoreError> {
        let sql = format!(
            "{MAPPING} FROM mapping JOIN method ON method.id = mapping.method
              WHERE mapping.namespace = $1 AND mapping.sequence > $2
              ORDER BY mapping.sequence LIMIT $3"
        );
        let (sql, rows) = (&sql, limit as i64);
        let read = self.shared.db.read("mapping_copies", |session| async move {
            session.query(sql, &[&column(at.0), &after, &rows]).await
        });
        let rows = read.await.map_err(failed)?;
        let rows: Vec<MappingCopy> = rows.iter().map(mapping).collect::<Result<_, _>>()?;
        Ok(page(rows, limit, |row| row.place))
    }

    async fn mappings_of(
        &self,
        at: NamespaceId,
        tasks: Vec<Task>,
    ) -> Result<Vec<Option<MappingCopy>>, StoreError> {
        let (methods, taskhashes) = self.task_columns(&tasks).await?;
        let sql = format!(
            "{MAPPING} FROM unnest($2, $3) AS asked (method, taskhash)
              CROSS JOIN LATERAL (
                    SELECT * FROM mapping
                     WHERE mapping.namespace = $1 AND mapping.method = asked.method
                       AND mapping.taskhash = asked.taskhash LIMIT 1) AS mapping
               JOIN method ON method.id = mapping.method"
        );
        let (sql, methods, taskhashes) = (&sql, &methods, &taskhashes);
        let read = self
            .shared
            .db
            .read("mapping_copies_of", |session| async move {
                let values: &[&dyn Value] = &[&column(at.0), methods, taskhashes];
                session.query(sql, values).await
            });
        let rows = read.await.map_err(failed)?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let mapping = mapping(row)?;
            found.insert(mapping.task.clone(), mapping);
        }
        Ok(tasks.iter().map(|task| found.remove(task)).collect())
    }

    /// The places of the mappings of tasks.
    async fn places_of(&self, at: NamespaceId, tasks: Vec<Task>) -> Result<Vec<i64>, StoreError> {
        let rows = self.mappings_of(at, tasks).await?;
        Ok(rows.into_iter().flatten().map(|row| row.place).collect())
    }

    /// Tasks as columns; of what was never stored the columns match nothing.
    async fn task_columns(&self, tasks: &[Task]) -> Result<(Vec<i32>, Vec<Vec<u8>>), StoreError> {
        let mut methods = Vec::with_capacity(tasks.len());
        let mut taskhashes = Vec::with_capacity(tasks.len());
        for task in tasks {
            let find = self.shared.find_method(&self.shared.db, &task.method);
            let method = find.await.map_err(failed)?;
            methods.push(column(method.map_or(0, |method| method.0)));
            taskhashes.push(task.taskhash.to_column().unwrap_or_default());
        }
        Ok((methods, taskhashes))
    }

    async fn output_copy_page(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Result<CopyPage<OutputCopy>, StoreError> {
        let rows = self.complete_outputs(at, after, limit).await?;
        let ids = rows.iter().map(|row| row.id).collect();
        let mut texts = self.signature_texts(at, ids).await?;
        let copies = rows.into_iter().map(|row| OutputCopy {
            signatures: texts.remove(&row.id).unwrap_or_default(),
            row,
        });
        Ok(page(copies.collect(), limit, |copy| copy.row.id))
    }

    async fn output_key_page(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Result<CopyPage<OutputKey>, StoreError> {
        const SQL: &str = "
            SELECT output.id, method.name, output.taskhash, output.outhash
              FROM output JOIN method ON method.id = output.method
             WHERE output.namespace = $1 AND output.id > $2 ORDER BY output.id LIMIT $3";
        let count = limit as i64;
        let read = self.shared.db.read("output_keys", |session| async move {
            session.query(SQL, &[&column(at.0), &after, &count]).await
        });
        let rows = read.await.map_err(failed)?;
        let next = page(rows.iter().map(|row| row.get(0)).collect(), limit, |id| *id).next;
        let key = |row: &Row| {
            Ok::<_, StoreError>(OutputKey {
                task: Task {
                    method: Method::new(text(row.get(1))?),
                    taskhash: Taskhash::of_column(row.get(2))?,
                },
                outhash: Outhash::of_column(row.get(3))?,
            })
        };
        Ok(CopyPage {
            rows: rows.iter().map(key).collect::<Result<_, _>>()?,
            next,
        })
    }

    /// The numbers of outputs, in order; `None` of one that is not there.
    async fn outputs_of(
        &self,
        at: NamespaceId,
        keys: &[OutputKey],
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let tasks: Vec<Task> = keys.iter().map(|key| key.task.clone()).collect();
        let (methods, taskhashes) = self.task_columns(&tasks).await?;
        let outhashes = keys.iter().map(|key| key.outhash.to_column());
        let columns = OutputKeyColumns {
            methods,
            taskhashes,
            outhashes: outhashes.map(Option::unwrap_or_default).collect(),
        };
        let columns = &columns;
        let read = self.shared.db.read("outputs_of", |session| async move {
            output_ids(&session, at, columns).await
        });
        read.await.map_err(failed)
    }

    /// The texts of the signatures of outputs, the oldest first.
    async fn signature_texts(
        &self,
        at: NamespaceId,
        outputs: Vec<i64>,
    ) -> Result<HashMap<i64, Vec<String>>, StoreError> {
        const SQL: &str = "
            SELECT output, text FROM signature
             WHERE namespace = $1 AND output = ANY($2) ORDER BY output, number";
        let outputs = &outputs;
        let read = self
            .shared
            .db
            .read("signature_texts", |session| async move {
                session.query(SQL, &[&column(at.0), outputs]).await
            });
        let mut texts: HashMap<i64, Vec<String>> = HashMap::new();
        for row in read.await.map_err(failed)? {
            texts.entry(row.get(0)).or_default().push(row.get(1));
        }
        Ok(texts)
    }

    async fn replace_mappings(
        &self,
        at: NamespaceId,
        rows: Vec<MappingCopy>,
    ) -> Result<(), StoreError> {
        let mut methods = Vec::with_capacity(rows.len());
        for row in &rows {
            methods.push(self.shared.intern_method(&row.task.method).await?);
        }
        let columns = MappingColumns::of(&rows, &methods)?;
        let columns = &columns;
        let job = Job::new("put_mappings").idempotent();
        let put =
            self.shared.db.transaction(
                job,
                |tx| async move { put_mappings(&tx, at, columns).await },
            );
        put.await.map_err(failed)?;
        self.shared.grew(rows.len());
        Ok(())
    }

    async fn replace_signatures(
        &self,
        at: NamespaceId,
        signed: Vec<(OutputKey, Vec<String>)>,
    ) -> Result<(), StoreError> {
        if signed.is_empty() {
            return Ok(());
        }
        let keys: Vec<OutputKey> = signed.iter().map(|(key, _)| key.clone()).collect();
        let found = self.outputs_of(at, &keys).await?;
        let texts = found
            .into_iter()
            .zip(&signed)
            .filter_map(|(output, (_, texts))| Some((output?, texts)));
        let columns = SignatureColumns::of(texts);
        let columns = &columns;
        let job = Job::new("put_signatures").idempotent();
        let put =
            self.shared.db.transaction(
                job,
                |tx| async move { put_signatures(&tx, at, columns).await },
            );
        put.await.map_err(failed)
    }

    /// Removes mappings by their places, and outputs by their numbers.
    async fn drop_rows(
        &self,
        at: NamespaceId,
        mappings: Vec<i64>,
        outputs: Vec<i64>,
    ) -> Result<(), StoreError> {
        let (shared, mappings, outputs) = (&self.shared, &mappings, &outputs);
        let work = |tx: Session| async move {
            let deletion = Deletion::begin(&tx, &shared.epoch, at).await?;
            Ok(((), deletion.delete(mappings, outputs).await?))
        };
        shared.deleting("drop_rows", at, work).await.map_err(failed)
    }

    async fn collections_of(&self, at: NamespaceId) -> Result<Collections, StoreError> {
        const ALL: &str = "SELECT id, mark, started FROM collection
                            WHERE namespace = $1 AND id > 0 ORDER BY id";
        const RUNNING: &str = "SELECT collection FROM namespace WHERE id = $1";
        let read = self.shared.db.read("collections", |session| async move {
            let all = session.query(ALL, &[&column(at.0)]).await?;
            let running = session.query_one(RUNNING, &[&column(at.0)]).await?;
            Ok((all, running.get::<_, Option<i32>>(0)))
        });
        let (all, running) = read.await.map_err(failed)?;
        let collection = |row: &Row| {
            Ok::<_, StoreError>(Collection {
                id: row.get::<_, i32>(0).into(),
                mark: text(row.get(1))?,
                started: Timestamp(row.get(2)),
            })
        };
        Ok(Collections {
            all: all.iter().map(collection).collect::<Result<_, _>>()?,
            running: running.map(i64::from),
        })
    }

    async fn replace_collections(
        &self,
        at: NamespaceId,
        collections: Collections,
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let (collections, job) = (&collections, Job::new("put_collections").idempotent());
        let put = self.shared.db.transaction(job, |tx| async move {
            put_collections(&tx, at, collections).await
        });
        put.await.map_err(failed)
    }
}

/// Rows of `mapping` as columns.
struct MappingColumns {
    methods: Vec<i32>,
    taskhashes: Vec<Vec<u8>>,
    unihashes: Vec<Vec<u8>>,
    created: Vec<i64>,
    used_days: Vec<i32>,
    collections: Vec<i32>,
}

impl MappingColumns {
    fn of(rows: &[MappingCopy], methods: &[MethodId]) -> Result<Self, StoreError> {
        let mut columns = Self {
            methods: methods.iter().map(|method| column(method.0)).collect(),
            taskhashes: Vec::with_capacity(rows.len()),
            unihashes: Vec::with_capacity(rows.len()),
            created: rows.iter().map(|row| row.created.0).collect(),
            used_days: Vec::with_capacity(rows.len()),
            collections: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            let taskhash = row.task.taskhash.to_column();
            let unihash = row.unihash.to_column();
            columns
                .taskhashes
                .push(taskhash.ok_or(StoreError::TooLong)?);
            columns.unihashes.push(unihash.ok_or(StoreError::TooLong)?);
            let day = i32::try_from(row.used_day).unwrap_or(i32::MAX);
            columns.used_days.push(day);
            columns
                .collections
                .push(i32::try_from(row.collection).unwrap_or(0));
        }
        Ok(columns)
    }
}

/// Stores mappings under the lock of the namespace; new ones get numbers in their order.
async fn put_mappings(
    tx: &Session,
    at: NamespaceId,
    columns: &MappingColumns,
) -> Result<(), PostgresError> {
    const LOCK: &str = "SELECT sequence FROM namespace WHERE id = $1 FOR UPDATE";
    const KNOWN: &str = "
        SELECT count(*) FROM unnest($2, $3) AS asked (method, taskhash)
         CROSS JOIN LATERAL (
               SELECT true FROM mapping
                WHERE mapping.namespace = $1 AND mapping.method = asked.method
                  AND mapping.taskhash = asked.taskhash LIMIT 1) AS own";
    const PUT: &str = "
        INSERT INTO mapping (namespace, sequence, method, taskhash, unihash, created, used_day,
                             collection)
        SELECT $1, $2 + put.place, put.method, put.taskhash, put.unihash, put.created,
               put.used_day, put.collection
          FROM unnest($3, $4, $5, $6, $7, $8) WITH ORDINALITY
               AS put (method, taskhash, unihash, created, used_day, collection, place)
        ON CONFLICT (namespace, method, taskhash) DO UPDATE
           SET unihash = excluded.unihash, created = excluded.created,
               used_day = excluded.used_day, collection = excluded.collection";
    const COUNT: &str =
        "UPDATE namespace SET sequence = sequence + $2, mappings = mappings + $3 WHERE id = $1";
    let at = column(at.0);
    let rows = columns.methods.len() as i64;
    let sequence: i64 = tx.query_one(LOCK, &[&at]).await?.get(0);
    let known = tx
        .query_one(KNOWN, &[&at, &columns.methods, &columns.taskhashes])
        .await?;
    let known: i64 = known.get(0);
    let values: &[&dyn Value] = &[
        &at,
        &sequence,
        &columns.methods,
        &columns.taskhashes,
        &columns.unihashes,
        &columns.created,
        &columns.used_days,
        &columns.collections,
    ];
    tx.execute(PUT, values).await?;
    tx.execute(COUNT, &[&at, &rows, &(rows - known)]).await?;
    Ok(())
}

/// Rows of `signature` as columns.
struct SignatureColumns {
    outputs: Vec<i64>,
    numbers: Vec<i64>,
    keys: Vec<Vec<u8>>,
    texts: Vec<String>,
}

impl SignatureColumns {
    fn of<'a>(signed: impl Iterator<Item = (i64, &'a Vec<String>)>) -> Self {
        let mut columns = Self {
            outputs: Vec::new(),
            numbers: Vec::new(),
            keys: Vec::new(),
            texts: Vec::new(),
        };
        for (output, texts) in signed {
            for (number, text) in (1..).zip(texts) {
                // What is none was damaged in the source, and no reader could use it.
                let Ok(signature) = text.parse::<fingerpost_signatures::Signature>() else {
                    continue;
                };
                columns.outputs.push(output);
                columns.numbers.push(number);
                columns.keys.push(signature.key().to_bytes().to_vec());
                columns.texts.push(text.clone());
            }
        }
        columns
    }
}

async fn put_signatures(
    tx: &Session,
    at: NamespaceId,
    columns: &SignatureColumns,
) -> Result<(), PostgresError> {
    const LOCK: &str = "SELECT 1 FROM namespace WHERE id = $1 FOR UPDATE";
    const DELETE: &str = "DELETE FROM signature WHERE namespace = $1 AND output = ANY($2)";
    const INSERT: &str = "
        INSERT INTO signature (namespace, output, number, key, text)
        SELECT $1, put.* FROM unnest($2, $3, $4, $5) AS put
        ON CONFLICT (namespace, output, key) DO NOTHING";
    let at = column(at.0);
    tx.query(LOCK, &[&at]).await?;
    tx.execute(DELETE, &[&at, &columns.outputs]).await?;
    let values: &[&dyn Value] = &[
        &at,
        &columns.outputs,
        &columns.numbers,
        &columns.keys,
        &columns.texts,
    ];
    tx.execute(INSERT, values).await?;
    Ok(())
}

async fn output_ids(
    session: &Session,
    at: NamespaceId,
    columns: &OutputKeyColumns,
) -> Result<Vec<Option<i64>>, PostgresError> {
    const SQL: &str = "
        SELECT output.id
          FROM unnest($2, $3, $4) WITH ORDINALITY AS asked (method, taskhash, outhash, place)
          LEFT JOIN output ON output.namespace = $1 AND output.method = asked.method
               AND output.taskhash = asked.taskhash AND output.outhash = asked.outhash
         ORDER BY asked.place";
    let values: &[&dyn Value] = &[
        &column(at.0),
        &columns.methods,
        &columns.taskhashes,
        &columns.outhashes,
    ];
    let rows = session.query(SQL, values).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn put_collections(
    tx: &Session,
    at: NamespaceId,
    collections: &Collections,
) -> Result<HashMap<i64, i64>, PostgresError> {
    const LOCK: &str = "SELECT 1 FROM namespace WHERE id = $1 FOR UPDATE";
    const FIND: &str =
        "SELECT id FROM collection WHERE namespace = $1 AND mark = $2 AND started = $3";
    const ADD: &str = "INSERT INTO collection (namespace, mark, started) VALUES ($1, $2, $3)
                       RETURNING id";
    const RUN: &str = "UPDATE namespace SET collection = $2 WHERE id = $1";
    let at = column(at.0);
    tx.query(LOCK, &[&at]).await?;
    let mut numbers: HashMap<i64, i64> = HashMap::new();
    for collection in &collections.all {
        let mark = collection.mark.as_bytes();
        let values: &[&dyn Value] = &[&at, &mark, &collection.started.0];
        let known = tx.query_opt(FIND, values).await?;
        let row = match known {
            Some(row) => row,
            None => tx.query_one(ADD, values).await?,
        };
        numbers.insert(collection.id, row.get::<_, i32>(0).into());
    }
    let running = collections.running.map(|running| {
        let number = numbers.get(&running).copied().unwrap_or(0);
        i32::try_from(number).unwrap_or(0)
    });
    tx.execute(RUN, &[&at, &running]).await?;
    Ok(numbers)
}
