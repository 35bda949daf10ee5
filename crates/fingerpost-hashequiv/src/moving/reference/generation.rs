//! The schema versions. No number is stored: the table names are the version.

use std::fmt;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// The reference's current tables, and their indexes for after the rows.
pub(in crate::moving) const CURRENT_SCHEMA: [&str; 2] = [
    include_str!("current.sql"),
    include_str!("current_indexes.sql"),
];

/// A schema version of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Generation {
    /// September 2019: one table, `tasks_v2`.
    TasksV2,
    /// October 2021: `unihashes_v2` and `outhashes_v2`; users came later.
    UnihashesV2,
    /// February 2024 and current: marks and `config`.
    UnihashesV3,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TasksV2 => "tasks_v2 (2019)",
            Self::UnihashesV2 => "unihashes_v2 (2021)",
            Self::UnihashesV3 => "unihashes_v3 (2024)",
        })
    }
}

/// What a database holds, and the statements that read it.
#[derive(Clone, Copy, Debug)]
pub(in crate::moving) struct Tables {
    pub(in crate::moving) generation: Generation,
    pub(in crate::moving) has_users: bool,
    pub(in crate::moving) has_config: bool,
    /// `unihashes_v2` beside `unihashes_v3`: an old server ran on the file
    /// after a new one. The next start of the reference would take its rows.
    pub(in crate::moving) has_older_mappings: bool,
    /// `tasks_v2` beside newer tables: the next start of the reference would
    /// drop it.
    pub(in crate::moving) has_older_tasks: bool,
}

impl Tables {
    /// Looks at the names of the tables; `None` when they are not the reference's.
    pub(super) fn find(conn: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut statement = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
        let names: Vec<String> = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let has = |name: &str| names.iter().any(|known| known == name);
        let generation = if has("unihashes_v3") && has("outhashes_v2") {
            Generation::UnihashesV3
        } else if has("unihashes_v2") && has("outhashes_v2") {
            Generation::UnihashesV2
        } else if has("tasks_v2") {
            Generation::TasksV2
        } else {
            return Ok(None);
        };
        Ok(Some(Self {
            generation,
            has_users: has("users"),
            has_config: has("config"),
            has_older_mappings: generation == Generation::UnihashesV3 && has("unihashes_v2"),
            has_older_tasks: generation != Generation::TasksV2 && has("tasks_v2"),
        }))
    }

    /// The table of the relation U.
    pub(in crate::moving) const fn mapping_table(&self) -> &'static str {
        match self.generation {
            Generation::TasksV2 => "tasks_v2",
            Generation::UnihashesV2 => "unihashes_v2",
            Generation::UnihashesV3 => "unihashes_v3",
        }
    }

    /// The table of the relation O.
    pub(in crate::moving) const fn output_table(&self) -> &'static str {
        match self.generation {
            Generation::TasksV2 => "tasks_v2",
            Generation::UnihashesV2 | Generation::UnihashesV3 => "outhashes_v2",
        }
    }

    /// The same database with the older table's mappings in place of the newer's.
    pub(in crate::moving) const fn older_mappings(self) -> Self {
        Self {
            generation: Generation::UnihashesV2,
            ..self
        }
    }

    /// Selects `id, method, taskhash, unihash, gc_mark` of the relation U for
    /// `?1 < id <= ?2`, by id.
    pub(super) const fn mappings(&self) -> &'static str {
        match self.generation {
            // One row for each output: the oldest of a task has its unihash.
            Generation::TasksV2 => {
                "SELECT id, method, taskhash, unihash, ''
                   FROM (SELECT id, method, taskhash, unihash, row_number()
                           OVER (PARTITION BY method, taskhash ORDER BY created, id) AS age
                           FROM tasks_v2 WHERE id <= ?2)
                  WHERE age = 1 AND id > ?1 ORDER BY id"
            }
            Generation::UnihashesV2 => {
                "SELECT id, method, taskhash, unihash, ''
                   FROM unihashes_v2 WHERE id > ?1 AND id <= ?2 ORDER BY id"
            }
            Generation::UnihashesV3 => {
                "SELECT id, method, taskhash, unihash, gc_mark
                   FROM unihashes_v3 WHERE id > ?1 AND id <= ?2 ORDER BY id"
            }
        }
    }
}
