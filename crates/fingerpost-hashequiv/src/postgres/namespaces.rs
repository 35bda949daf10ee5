//! Namespaces and their numbers.

use std::collections::HashMap;

use fingerpost_db::postgres::{Job, Postgres, PostgresError};

use super::methods::number;
use super::place;
use crate::namespace::{Chain, NameChain, NamespaceId};

/// The chains of named namespaces, in order. Who is new to the database is added;
/// nothing is written when nobody is.
pub(super) async fn chains(
    db: &Postgres,
    names: &[NameChain],
) -> Result<Vec<Chain>, PostgresError> {
    let mut wanted: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut numbers = find(db, &wanted).await?;
    if numbers.len() < wanted.len() {
        let add = db.transaction(Job::new("add_namespaces").idempotent(), |tx| {
            let missing: Vec<&str> = wanted
                .iter()
                .copied()
                .filter(|name| !numbers.contains_key(*name))
                .collect();
            async move {
                let add = "INSERT INTO namespace (name) SELECT * FROM unnest($1)
                           ON CONFLICT (name) DO NOTHING";
                tx.execute(add, &[&missing]).await
            }
        });
        add.await?;
        numbers = find(db, &wanted).await?;
    }
    names
        .iter()
        .map(|chain| chain_of(chain, &numbers))
        .collect()
}

fn chain_of(
    names: &NameChain,
    numbers: &HashMap<String, NamespaceId>,
) -> Result<Chain, PostgresError> {
    let number = |name: &String| numbers.get(name).copied();
    let chain: Option<Vec<NamespaceId>> = names.iter().map(number).collect();
    // Numbers of rows have no room for more of them.
    let has_room = |at: &NamespaceId| at.0 < place::NAMESPACES_MAX;
    let chain = chain.filter(|chain| chain.iter().all(has_room));
    match chain.as_deref() {
        Some([own, further @ ..]) => Ok(Chain::new(*own, further)),
        _ => Err(PostgresError::Rows(0)),
    }
}

async fn find(
    db: &Postgres,
    names: &[&str],
) -> Result<HashMap<String, NamespaceId>, PostgresError> {
    let rows = db.read("find_namespaces", |session| async move {
        let find = "SELECT name, id FROM namespace WHERE name = ANY($1)";
        session.query(find, &[&names]).await
    });
    let rows = rows.await?;
    let known = rows
        .iter()
        .map(|row| (row.get(0), NamespaceId(number(row.get(1)))));
    Ok(known.collect())
}
