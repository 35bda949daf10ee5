//! Looking tasks up: those of all connections that miss the cache together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_db::postgres::{Postgres, PostgresError, Session, Value};
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use tokio::time::timeout;

use super::grouped::Limits;
use super::methods::{column, number};
use super::value::Hash as _;
use super::{PostgresStore, Shared, failed};
use crate::cache::MethodId;
use crate::namespace::{Chain, NamespaceId};
use crate::store::{Found, StoreError, Task};

/// A look-up that the database does not answer within this time is a miss: the build
/// goes on.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Two groups at once: while the database works for one, the other one's bytes travel.
pub(super) const LIMITS: Limits<Asked> = Limits {
    groups: 2,
    weight: |asked| asked.keys.len(),
    group_weight: 2_000,
    waiting_weight: 500_000,
};

/// Look-ups of one caller.
pub(super) struct Asked {
    /// Which task, in which namespace.
    keys: Vec<Key>,
}

struct Key {
    /// The place of the task among those of the caller.
    task: usize,
    /// The place of the namespace in its chain.
    nearness: usize,
    namespace: NamespaceId,
    method: MethodId,
    taskhash: Vec<u8>,
}

/// What a row says.
#[derive(Clone, Debug)]
pub(super) struct Row {
    task: usize,
    nearness: usize,
    pub(super) namespace: NamespaceId,
    pub(super) sequence: i64,
    pub(super) used_day: i32,
    pub(super) method: MethodId,
    pub(super) unihash: Vec<u8>,
}

impl PostgresStore {
    /// The unihashes of tasks, in order. What the database does not say in time is a
    /// miss, and counted.
    pub(super) async fn look_up(
        &self,
        at: &Chain,
        tasks: &[Task],
    ) -> Result<Vec<Option<Found>>, StoreError> {
        if self.is_in_trouble() {
            // The poller finds out when it is over; a build that asks for one task after
            // the other must not wait for each.
            return Ok(self.given_up(tasks.len()));
        }
        match timeout(ANSWER_MAX, self.nearest(at, tasks)).await {
            Ok(Ok(rows)) => self.found(rows),
            Ok(Err(error @ (StoreError::Database(_) | StoreError::Unavailable(_)))) => {
                tracing::debug!(%error, "look-ups are answered with a miss");
                Ok(self.given_up(tasks.len()))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(self.given_up(tasks.len())),
        }
    }

    fn given_up(&self, tasks: usize) -> Vec<Option<Found>> {
        self.shared.metrics.lookups_given_up.inc_by(tasks as u64);
        vec![None; tasks]
    }

    /// The row of each task in the nearest namespace that has one, in order.
    pub(super) async fn nearest(
        &self,
        at: &Chain,
        tasks: &[Task],
    ) -> Result<Vec<Option<Row>>, StoreError> {
        let keys = self.keys(at, tasks).await?;
        let mut nearest: Vec<Option<Row>> = vec![None; tasks.len()];
        if keys.is_empty() {
            return Ok(nearest);
        }
        let rows = self.lookups.ask(Asked { keys }).await.map_err(failed)?;
        for row in rows {
            let known = &mut nearest[row.task];
            if known
                .as_ref()
                .is_none_or(|known| row.nearness < known.nearness)
            {
                *known = Some(row);
            }
        }
        Ok(nearest)
    }

    async fn keys(&self, at: &Chain, tasks: &[Task]) -> Result<Vec<Key>, StoreError> {
        let mut methods: HashMap<&str, Option<MethodId>> = HashMap::new();
        let mut keys = Vec::with_capacity(tasks.len());
        for (place, task) in tasks.iter().enumerate() {
            let name = task.method.as_str();
            let method = match methods.get(name) {
                Some(known) => *known,
                None => {
                    let find = self.shared.find_method(&self.shared.db, &task.method);
                    let found = find.await.map_err(failed)?;
                    methods.insert(name, found);
                    found
                }
            };
            let (Some(method), Some(taskhash)) = (method, task.taskhash.to_column()) else {
                continue;
            };
            keys.extend(at.iter().enumerate().map(|(nearness, namespace)| Key {
                task: place,
                nearness,
                namespace,
                method,
                taskhash: taskhash.clone(),
            }));
        }
        Ok(keys)
    }

    /// The unihashes; notes rows whose use today is not noted yet.
    fn found(&self, rows: Vec<Option<Row>>) -> Result<Vec<Option<Found>>, StoreError> {
        if self.shared.options.note_uses {
            let today = self.shared.today();
            let known = rows.iter().flatten();
            let unused = known.filter(|row| row.used_day < today);
            let used: Vec<i64> = unused
                .map(|row| super::place::of(row.namespace, row.sequence))
                .collect();
            self.uses.note(&used);
        }
        let found = |row: Row| {
            Ok(Found {
                method: row.method,
                unihash: Unihash::of_column(&row.unihash)?,
            })
        };
        rows.into_iter()
            .map(|row| row.map(found).transpose())
            .collect()
    }
}

/// Answers a group: a replica does if it has heard of every deletion that we have, else
/// the primary.
pub(super) async fn answer(
    shared: &Shared,
    asked: &[Arc<Asked>],
) -> Result<Vec<Vec<Row>>, PostgresError> {
    if let Some(replica) = shared.next_replica() {
        match on(shared, replica, asked, true).await {
            Ok(Some(rows)) => {
                shared.answered();
                return Ok(rows);
            }
            Ok(None) => shared.metrics.replica_behind.inc(),
            Err(error) => {
                tracing::debug!(%error, "a replica does not answer");
                shared.metrics.replica_failures.inc()
            }
        };
    }
    let rows = on(shared, &shared.db, asked, false).await?;
    shared.answered();
    Ok(rows.unwrap_or_default())
}

const SQL: &str = "
    SELECT asked.place, found.unihash, found.sequence, found.used_day
      FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (namespace, method, taskhash, place)
     CROSS JOIN LATERAL (
           SELECT unihash, sequence, used_day FROM mapping
            WHERE mapping.namespace = asked.namespace AND mapping.method = asked.method
              AND mapping.taskhash = asked.taskhash
            LIMIT 1) AS found";

/// Asks one database; `None` if it has not heard of every deletion that we have.
async fn on(
    shared: &Shared,
    db: &Postgres,
    asked: &[Arc<Asked>],
    is_replica: bool,
) -> Result<Option<Vec<Vec<Row>>>, PostgresError> {
    let keys: Vec<(usize, &Key)> = asked
        .iter()
        .enumerate()
        .flat_map(|(caller, asked)| asked.keys.iter().map(move |key| (caller, key)))
        .collect();
    let namespaces: Vec<i32> = keys
        .iter()
        .map(|(_, key)| column(key.namespace.0))
        .collect();
    let methods: Vec<i32> = keys.iter().map(|(_, key)| column(key.method.0)).collect();
    let taskhashes: Vec<&[u8]> = keys.iter().map(|(_, key)| &*key.taskhash).collect();
    let (namespaces, methods, taskhashes) = (&namespaces, &methods, &taskhashes);
    let rows = db
        .read("look_up", |session| async move {
            // Before the rows: they are as new as this, or newer.
            if is_replica && is_behind(shared, &session).await? {
                return Ok(None);
            }
            let values: &[&dyn Value] = &[namespaces, methods, taskhashes];
            session.query(SQL, values).await.map(Some)
        })
        .await?;
    let Some(rows) = rows else {
        return Ok(None);
    };
    let mut answers: Vec<Vec<Row>> = asked.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let place: i64 = row.get(0);
        let place = usize::try_from(place).unwrap_or_default();
        let Some((caller, key)) = place.checked_sub(1).and_then(|place| keys.get(place)) else {
            continue;
        };
        answers[*caller].push(Row {
            task: key.task,
            nearness: key.nearness,
            namespace: key.namespace,
            unihash: row.get(1),
            sequence: row.get(2),
            used_day: row.get(3),
            method: key.method,
        });
    }
    Ok(Some(answers))
}

/// Whether a deletion that we have heard of has not reached this database.
async fn is_behind(shared: &Shared, session: &Session) -> Result<bool, PostgresError> {
    let sql = "SELECT id, deletion_epoch FROM namespace";
    let rows = session.query(sql, &[]).await?;
    let there: HashMap<NamespaceId, i64> = rows
        .iter()
        .map(|row| (NamespaceId(number(row.get(0))), row.get(1)))
        .collect();
    let mut ours = shared.epoch.all();
    Ok(ours.any(|(at, epoch)| there.get(&at).is_none_or(|there| *there < epoch)))
}

/// Whether any task has the unihash, in order.
pub(super) async fn exist(
    shared: &Shared,
    at: &Chain,
    unihashes: &[Unihash],
) -> Result<Vec<bool>, PostgresError> {
    const SQL: &str = "
        SELECT EXISTS (SELECT 1 FROM unnest($1) AS chain (namespace)
                        CROSS JOIN LATERAL (
                              SELECT 1 FROM mapping
                               WHERE mapping.namespace = chain.namespace
                                 AND mapping.unihash = asked.unihash LIMIT 1) AS found)
          FROM unnest($2) WITH ORDINALITY AS asked (unihash, place) ORDER BY asked.place";
    let chain: Vec<i32> = at.iter().map(|at| column(at.0)).collect();
    // What is too long to be stored is not there; nothing is stored as ''.
    let asked: Vec<Vec<u8>> = unihashes
        .iter()
        .map(|unihash| unihash.to_column().unwrap_or_default())
        .collect();
    let (chain, asked) = (&chain, &asked);
    let rows = shared.db.read("exist", |session| async move {
        session.query(SQL, &[chain, asked]).await
    });
    Ok(rows.await?.iter().map(|row| row.get(0)).collect())
}

/// A task as columns name it.
pub(super) struct TaskColumns {
    pub(super) method: MethodId,
    pub(super) taskhash: Vec<u8>,
}

impl PostgresStore {
    /// A task as columns name it; `None` if no row can be of it.
    pub(super) async fn columns(&self, task: &Task) -> Result<Option<TaskColumns>, StoreError> {
        let find = self.shared.find_method(&self.shared.db, &task.method);
        let method = find.await.map_err(failed)?;
        let columns = method.zip(Taskhash::to_column(&task.taskhash));
        Ok(columns.map(|(method, taskhash)| TaskColumns { method, taskhash }))
    }
}
