//! Namespaces and their numbers.

use fingerpost_db::{DbError, Sqlite};
use rusqlite::{Connection, OptionalExtension as _};

use crate::namespace::{Chain, NameChain, NamespaceId};

/// The chains of named namespaces, in order. Who is new to the database is added;
/// nothing is written when nobody is.
pub(super) async fn chains(db: &Sqlite, names: &[NameChain]) -> Result<Vec<Chain>, DbError> {
    let wanted = names.to_vec();
    if let Some(chains) = db.read(move |conn| find(conn, &wanted)).await? {
        return Ok(chains);
    }
    let wanted = names.to_vec();
    let job = move |tx: &mut fingerpost_db::Tx<'_>| {
        let mut add = tx
            .conn()
            .prepare_cached("INSERT INTO namespace (name) VALUES (?1) ON CONFLICT DO NOTHING")?;
        for name in wanted.iter().flatten() {
            add.execute([name])?;
        }
        find(tx.conn(), &wanted)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
    };
    db.write(job).await
}

/// The number of a namespace; `None` when the database has none of this name.
pub(crate) fn namespace_number(
    conn: &Connection,
    name: &str,
) -> rusqlite::Result<Option<NamespaceId>> {
    conn.prepare_cached("SELECT id FROM namespace WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(NamespaceId))
        .optional()
}

/// The chains, if every name is known.
fn find(conn: &Connection, names: &[NameChain]) -> rusqlite::Result<Option<Vec<Chain>>> {
    let number = |name: &String| namespace_number(conn, name);
    let mut chains = Vec::with_capacity(names.len());
    for names in names {
        let numbers: rusqlite::Result<Option<Vec<_>>> = names.iter().map(number).collect();
        let Some(numbers) = numbers? else {
            return Ok(None);
        };
        if let Some((own, further)) = numbers.split_first() {
            chains.push(Chain::new(*own, further));
        }
    }
    Ok(Some(chains))
}
