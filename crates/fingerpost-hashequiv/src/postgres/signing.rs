//! Rows to sign, and what a key signed: a page at a time, so that no statement is long.

use fingerpost_db::postgres::{Postgres, PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_signatures::KeyId;

use super::methods::column;
use super::value::{Hash as _, text};
use super::{PostgresStore, failed};
use crate::copying::CopyPage;
use crate::namespace::NamespaceId;
use crate::signing::{Revocation, Signable, SigningStore, Which};
use crate::store::{StoreError, Stored, Task};

/// Signatures that are counted at once.
const COUNTED_ROWS: i64 = 10_000;

impl SigningStore for PostgresStore {
    fn signable(
        &self,
        at: NamespaceId,
        which: Which,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<Signable>> {
        Box::pin(self.signable_page(at, which, after, limit))
    }
}

/// All rows; with the namespace, the row before and how many are looked at as `$1` to `$3`.
const ALL: &str = "
    SELECT id, method, taskhash, outhash, NULL AS text FROM output
     WHERE namespace = $1 AND id > $2 ORDER BY id LIMIT $3";
/// Those that the key `$5` signed.
const SIGNED: &str = "
    SELECT output.id, output.method, output.taskhash, output.outhash, kept.text
      FROM (SELECT namespace, output, text FROM signature
             WHERE key = $5 AND namespace = $1 AND output > $2
             ORDER BY output LIMIT $3) AS kept
      JOIN output ON output.namespace = kept.namespace AND output.id = kept.output";

impl PostgresStore {
    async fn signable_page(
        &self,
        at: NamespaceId,
        which: Which,
        after: i64,
        limit: usize,
    ) -> Result<CopyPage<Signable>, StoreError> {
        let signer = which.signer().to_bytes().to_vec();
        let (looked_at, from) = match which {
            Which::Existing { .. } => (ALL, None),
            Which::SignedBy { from, .. } => (SIGNED, Some(from.to_bytes().to_vec())),
        };
        // Without a unihash, or signed by the signer: looked at, and passed over. The limit
        // within keeps it to look-ups by whole keys, as in `rows.rs`.
        let sql = format!(
            "SELECT looked_at.id, method.name, looked_at.taskhash, looked_at.outhash,
                    mapped.unihash, looked_at.text
               FROM ({looked_at}) AS looked_at
               JOIN method ON method.id = looked_at.method
               LEFT JOIN LATERAL (
                    SELECT unihash FROM mapping
                     WHERE mapping.namespace = $1 AND mapping.method = looked_at.method
                       AND mapping.taskhash = looked_at.taskhash
                       AND octet_length(unihash) = 32
                       AND NOT EXISTS (SELECT 1 FROM signature
                                        WHERE signature.namespace = $1 AND key = $4
                                          AND signature.output = looked_at.id)
                     LIMIT 1) AS mapped ON true
              ORDER BY looked_at.id"
        );
        let (sql, signer, from) = (&sql, &signer, &from);
        let (at, limit) = (column(at.0), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.shared.db.read("signable", |session| async move {
            let values: [&dyn Value; 4] = [&at, &after, &limit, signer];
            match from {
                None => session.query(sql, &values).await,
                Some(from) => {
                    let [at, after, limit, signer] = values;
                    session.query(sql, &[at, after, limit, signer, from]).await
                }
            }
        });
        let rows = rows.await.map_err(failed)?;
        let is_full = rows.len() as i64 >= limit;
        let last = rows.last().map(|row| row.get(0));
        let signable = rows.iter().filter_map(|row| signable(row).transpose());
        Ok(CopyPage {
            next: last.filter(|_| is_full),
            rows: signable.collect::<Result<_, _>>()?,
        })
    }
}

fn signable(row: &Row) -> Result<Option<Signable>, StoreError> {
    let Some(unihash) = row.get::<_, Option<&[u8]>>(4) else {
        return Ok(None);
    };
    Ok(Some(Signable {
        task: Task {
            method: Method::new(text(row.get(1))?),
            taskhash: Taskhash::of_column(row.get(2))?,
        },
        outhash: Outhash::of_column(row.get(3))?,
        unihash: Unihash::of_column(unihash)?,
        signature: row.get(5),
    }))
}

/// Counts the rows that a key signed, and those of them that no other of these keys signed.
pub(crate) async fn revocation(
    db: &Postgres,
    key: KeyId,
    believed: &[KeyId],
) -> Result<Revocation, StoreError> {
    let key = key.to_bytes().to_vec();
    let believed: Vec<Vec<u8>> = believed.iter().map(|key| key.to_bytes().to_vec()).collect();
    let (key, believed) = (&key, &believed);
    let mut counted = Revocation::default();
    let mut after = Some((i32::MIN, 0_i64));
    while let Some(start) = after {
        let read = db.read("revocation", |session| async move {
            count(&session, key, believed, start).await
        });
        let row = read.await.map_err(failed)?;
        let number = |place: usize| row.get::<_, i64>(place).unsigned_abs();
        counted.signed += number(0);
        counted.misses += number(1);
        let last = row.get::<_, Option<i32>>(2).zip(row.get(3));
        after = last.filter(|_| number(0) >= COUNTED_ROWS.unsigned_abs());
    }
    Ok(counted)
}

/// How many of the next signatures there are, how many of them stand alone, and the last one.
async fn count(
    session: &Session,
    key: &Vec<u8>,
    believed: &Vec<Vec<u8>>,
    (namespace, output): (i32, i64),
) -> Result<Row, PostgresError> {
    const SQL: &str = "
        WITH kept AS (SELECT namespace, output FROM signature
                       WHERE key = $1 AND (namespace, output) > ($3, $4)
                       ORDER BY namespace, output LIMIT $5),
             last AS (SELECT namespace, output FROM kept
                       ORDER BY namespace DESC, output DESC LIMIT 1)
        SELECT (SELECT count(*) FROM kept),
               (SELECT count(*) FROM kept
                 WHERE NOT EXISTS (SELECT 1 FROM signature AS other
                                    WHERE other.namespace = kept.namespace
                                      AND other.output = kept.output
                                      AND other.key = ANY($2))),
               (SELECT namespace FROM last), (SELECT output FROM last)";
    let values: &[&dyn Value] = &[key, believed, &namespace, &output, &COUNTED_ROWS];
    session.query_one(SQL, values).await
}
