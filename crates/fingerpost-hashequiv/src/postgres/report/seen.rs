//! What decides about a group, read in one statement: all of it is of one moment.

use std::sync::Arc;

use fingerpost_db::postgres::{PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::Unihash;

use super::super::methods::column;
use super::super::value::Hash as _;
use super::Entry;
use crate::namespace::Chain;
use crate::store::StoreOptions;

/// What is known of an entry before the group.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The mapping of its task here.
    pub(super) own: Option<OwnMapping>,
    /// Whether its row of the relation O is there.
    pub(super) has_output: bool,
    /// Whether its task has any row there.
    pub(super) has_outputs: bool,
    /// Whether its listing is there, and the base that it needs.
    pub(super) has_listing: bool,
    pub(super) has_base: bool,
    /// The unihash of the oldest row of the same output whose task has one, here and in
    /// the nearest further namespace that has such a row.
    pub(super) own_match: Option<Unihash>,
    pub(super) further_match: Option<Unihash>,
    /// The unihash of the task in the nearest further namespace that has one.
    pub(super) inherited: Option<Unihash>,
}

#[derive(Clone, Debug)]
pub(super) struct OwnMapping {
    pub(super) unihash: Unihash,
    pub(super) sequence: i64,
    pub(super) used_day: i32,
}

// Each subquery has a limit of its own, so that it is looked up by its whole key for each
// entry: of tables that nobody has analysed yet the planner believes that they are small,
// and would read all of a namespace for each group, or for each match.
const SQL: &str = "
    SELECT asked.place, own.unihash, own.sequence, own.used_day,
           (SELECT true FROM output
             WHERE output.namespace = $1 AND output.method = asked.method
               AND output.taskhash = asked.taskhash AND output.outhash = asked.outhash
             LIMIT 1) IS NOT NULL,
           (SELECT true FROM output
             WHERE output.namespace = $1 AND output.method = asked.method
               AND output.taskhash = asked.taskhash
             LIMIT 1) IS NOT NULL,
           (SELECT true FROM listing
             WHERE listing.namespace = $1 AND listing.digest = asked.digest
             LIMIT 1) IS NOT NULL,
           (SELECT true FROM listing
             WHERE listing.namespace = $1 AND listing.digest = asked.base
               AND listing.base IS NULL
             LIMIT 1) IS NOT NULL,
           (SELECT matched.unihash FROM output
             CROSS JOIN LATERAL (
                   SELECT mapping.unihash FROM mapping
                    WHERE mapping.namespace = $1 AND mapping.method = asked.method
                      AND mapping.taskhash = output.taskhash
                    LIMIT 1) AS matched
             WHERE output.namespace = $1 AND output.method = asked.method
               AND output.outhash = asked.outhash
               AND (NOT $2 OR octet_length(matched.unihash) = 32)
             ORDER BY output.id LIMIT 1),
           (SELECT oldest.unihash
              FROM unnest($3) WITH ORDINALITY AS further (namespace, place)
             CROSS JOIN LATERAL (
                   SELECT matched.unihash FROM output
                    CROSS JOIN LATERAL (
                          SELECT mapping.unihash FROM mapping
                           WHERE mapping.namespace = further.namespace
                             AND mapping.method = asked.method
                             AND mapping.taskhash = output.taskhash
                           LIMIT 1) AS matched
                    WHERE output.namespace = further.namespace
                      AND output.method = asked.method AND output.outhash = asked.outhash
                      AND (NOT $2 OR octet_length(matched.unihash) = 32)
                    ORDER BY output.id LIMIT 1) AS oldest
             ORDER BY further.place LIMIT 1),
           (SELECT mapping.unihash
              FROM unnest($3) WITH ORDINALITY AS further (namespace, place)
              JOIN mapping ON mapping.namespace = further.namespace
                   AND mapping.method = asked.method AND mapping.taskhash = asked.taskhash
             ORDER BY further.place LIMIT 1)
      FROM unnest($4, $5, $6, $7, $8)
           WITH ORDINALITY AS asked (method, taskhash, outhash, digest, base, place)
      LEFT JOIN LATERAL (
           SELECT unihash, sequence, used_day FROM mapping
            WHERE mapping.namespace = $1 AND mapping.method = asked.method
              AND mapping.taskhash = asked.taskhash
            LIMIT 1) AS own ON true";

/// What is asked about a group.
pub(super) struct Question<'a> {
    own: i32,
    further: Vec<i32>,
    valid_only: bool,
    methods: Vec<i32>,
    taskhashes: Vec<&'a [u8]>,
    outhashes: Vec<Option<&'a [u8]>>,
    digests: Vec<Option<&'a [u8]>>,
    bases: Vec<Option<&'a [u8]>>,
}

impl<'a> Question<'a> {
    pub(super) fn of(chain: &Chain, entries: &'a [Arc<Entry>], options: &StoreOptions) -> Self {
        let outputs = || entries.iter().map(|one| one.output.as_ref());
        Self {
            own: column(chain.own().0),
            further: chain.further().iter().map(|at| column(at.0)).collect(),
            valid_only: !options.match_invalid_unihashes,
            methods: entries.iter().map(|one| column(one.method.0)).collect(),
            taskhashes: entries.iter().map(|one| &*one.taskhash).collect(),
            outhashes: outputs()
                .map(|output| output.map(|output| &*output.outhash))
                .collect(),
            digests: outputs().map(|output| output?.digest()).collect(),
            bases: outputs().map(|output| output?.base()).collect(),
        }
    }

    fn values(&self) -> [&dyn Value; 8] {
        [
            &self.own,
            &self.valid_only,
            &self.further,
            &self.methods,
            &self.taskhashes,
            &self.outhashes,
            &self.digests,
            &self.bases,
        ]
    }

    pub(super) async fn prepare(&self, tx: &Session) -> Result<(), PostgresError> {
        tx.prepare(SQL, &self.values()).await
    }

    /// Reads it, in the order of the entries.
    pub(super) async fn ask(&self, tx: &Session) -> Result<Vec<Seen>, PostgresError> {
        let rows = tx.query(SQL, &self.values()).await?;
        let mut all: Vec<Seen> = self.methods.iter().map(|_| Seen::default()).collect();
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            if let Some(seen) = place.checked_sub(1).and_then(|place| all.get_mut(place)) {
                *seen = read_row(&row, self.valid_only)?;
            }
        }
        Ok(all)
    }
}

fn read_row(row: &Row, valid_only: bool) -> Result<Seen, PostgresError> {
    let unihash = |column: usize| {
        let bytes: Option<&[u8]> = row.get(column);
        // Nobody but us writes them: damage is met as a statement that gave no row.
        let decoded = bytes.map(Unihash::of_column).transpose();
        decoded.map_err(|_| PostgresError::Rows(0))
    };
    let own = unihash(1)?.map(|unihash| OwnMapping {
        unihash,
        sequence: row.get(2),
        used_day: row.get(3),
    });
    // The nearest one decides, also when it does not count.
    let inherited = unihash(10)?.filter(|unihash| unihash.is_valid() || !valid_only);
    Ok(Seen {
        own,
        has_output: row.get(4),
        has_outputs: row.get(5),
        has_listing: row.get(6),
        has_base: row.get(7),
        own_match: unihash(8)?,
        further_match: unihash(9)?,
        inherited,
    })
}
