//! Reference databases in PostgreSQL, made by our own SQL.

use std::ops::ControlFlow;

use fingerpost_db::postgres::PostgresSettings;
use fingerpost_testkit::PostgresCluster;
use tokio::runtime::Runtime;

use super::fixture::{Farm, OPTIONS, StopAfter, hash, mappings, outputs, rows};
use crate::moving::{
    Generation, ImportError, ImportOptions, ImportReport, Manner, Progress, Silent, Stage,
    import_postgres,
};

/// The tables as the reference has SQLAlchemy make them; serials count in 32 bits.
const UNIHASHES_V3: &str = "CREATE TABLE unihashes_v3 (id SERIAL PRIMARY KEY,
    method TEXT NOT NULL, taskhash TEXT NOT NULL, unihash TEXT NOT NULL, gc_mark TEXT NOT NULL,
    UNIQUE (method, taskhash));
CREATE TABLE config (id SERIAL PRIMARY KEY, name TEXT NOT NULL, value TEXT, UNIQUE (name));";
const UNIHASHES_V2: &str = "CREATE TABLE unihashes_v2 (id SERIAL PRIMARY KEY,
    method TEXT NOT NULL, taskhash TEXT NOT NULL, unihash TEXT NOT NULL,
    UNIQUE (method, taskhash));";
const OUTHASHES_V2: &str = "CREATE TABLE outhashes_v2 (id SERIAL PRIMARY KEY,
    method TEXT NOT NULL, taskhash TEXT NOT NULL, outhash TEXT NOT NULL,
    created TIMESTAMP WITHOUT TIME ZONE, owner TEXT, \"PN\" TEXT, \"PV\" TEXT, \"PR\" TEXT,
    task TEXT, outhash_siginfo TEXT, UNIQUE (method, taskhash, outhash));
CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT NOT NULL, token TEXT NOT NULL,
    permissions TEXT, UNIQUE (username));";
/// As `hash` of the fixture.
const HASH: &str = "CREATE FUNCTION hash(text, int) RETURNS text LANGUAGE sql IMMUTABLE AS
    'SELECT encode(sha256(convert_to($1 || $2, ''UTF8'')), ''hex'')';";

/// A reference database in PostgreSQL, and beside it a farm whose files are
/// compared.
pub(super) struct World {
    cluster: PostgresCluster,
    database: String,
    pub(super) farm: Farm,
    pub(super) runtime: Runtime,
}

impl World {
    /// With what this SQL makes.
    fn with(sql: &str) -> Self {
        let cluster = PostgresCluster::start().unwrap();
        cluster.fresh_database().unwrap();
        let world = Self {
            cluster,
            database: "test_1".to_owned(),
            farm: Farm::current(),
            runtime: Runtime::new().unwrap(),
        };
        world.sql(sql);
        world
    }

    /// With the current tables.
    pub(super) fn current() -> Self {
        Self::with(&[UNIHASHES_V3, OUTHASHES_V2, HASH].concat())
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }

    pub(super) fn url(&self) -> String {
        self.cluster.url(&self.database)
    }

    pub(super) fn import(&self) -> ImportReport {
        self.import_with(&OPTIONS, &mut Silent).unwrap()
    }

    fn import_with(
        &self,
        options: &ImportOptions<'_>,
        progress: &mut dyn Progress,
    ) -> Result<ImportReport, ImportError> {
        let source = PostgresSettings::from_url(&self.url()).unwrap();
        let target = self.farm.target();
        import_postgres(self.runtime.handle(), source, &target, options, progress)
    }

    /// Adds tasks with outputs from 1 to this number.
    pub(super) fn fill(&self, until: u32) {
        self.sql(&format!(
            "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             SELECT 'm' || n % 3, hash('t', n), hash('u', n), CASE n % 4 WHEN 0 THEN 'K' ELSE '' END
               FROM generate_series(1, {until}) n;
             INSERT INTO outhashes_v2 (method, taskhash, outhash, created, \"PN\", task,
                 outhash_siginfo)
             SELECT 'm' || n % 3, hash('t', n), hash('o', n / 2),
                    timestamp '2026-01-01 12:00:00.5' + n * interval '1 second', 'zlib-' || n % 5,
                    'package', CASE WHEN n % 3 > 0 THEN 'é' || repeat(hash('s', n % 7), 100) END
               FROM generate_series(1, {until}) n;
             INSERT INTO users (username, token, permissions)
             VALUES ('alice', 'sha256:00:11', '@read @report'), ('bob', 'sha256:22:33', NULL);
             INSERT INTO config (name, value) VALUES ('gc-mark', 'K');"
        ));
    }
}

/// Adds the rows of [`World::fill`] to a file.
fn fill_file(farm: &Farm, until: u32) {
    farm.conn.execute_batch("BEGIN").unwrap();
    for number in 1..=until {
        let method = format!("m{}", number % 3);
        let mark = if number % 4 == 0 { "K" } else { "" };
        farm.mapping(&method, &hash("t", number), &hash("u", number), mark);
        let created = format!("2026-01-01 12:{:02}:{:02}.500000", number / 60, number % 60);
        let listing = format!("é{}", hash("s", number % 7).repeat(100));
        farm.run(
            "INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, task,
                 outhash_siginfo) VALUES (?, ?, ?, ?, ?, 'package', ?)",
            &[
                &method,
                &hash("t", number),
                &hash("o", number / 2),
                &created,
                &format!("zlib-{}", number % 5),
                &(number % 3 > 0).then_some(listing),
            ],
        );
    }
    farm.conn
        .execute_batch(
            "INSERT INTO users (username, token, permissions)
             VALUES ('alice', 'sha256:00:11', '@read @report'), ('bob', 'sha256:22:33', '');
             INSERT INTO config (name, value) VALUES ('gc-mark', 'K'); COMMIT",
        )
        .unwrap();
}

/// Everything that an import makes, but for the numbers of listings: several threads store
/// those.
fn everything(farm: &Farm) -> [Vec<String>; 4] {
    let conn = farm.imported();
    [
        "SELECT outhash.id, outhash.namespace, outhash.method, outhash.task, outhash.outhash,
                outhash.created, metadata.*, siginfo.digest
           FROM outhash
           LEFT JOIN metadata ON metadata.id = outhash.metadata
           LEFT JOIN siginfo ON siginfo.id = outhash.siginfo ORDER BY outhash.id",
        "SELECT * FROM task ORDER BY id",
        "SELECT * FROM unihash JOIN collection ON collection.id = collection ORDER BY 1",
        "SELECT * FROM user ORDER BY id",
    ]
    .map(|sql| rows(&conn, sql))
}

#[test]
fn the_outcome_is_that_of_a_file_with_the_same_rows() {
    let (world, file) = (World::current(), Farm::current());
    world.fill(2500);
    fill_file(&file, 2500);
    let report = world.import();
    assert_eq!(report.mark.as_deref(), Some("K"));
    assert_eq!(report, file.import());
    assert_eq!(everything(&world.farm), everything(&file));
}

/// Looks at the directory as often as it can, and counts.
struct Watch<'a>(&'a Farm, u32);

impl Progress for Watch<'_> {
    fn begin(&mut self, _: Stage, _: u64) {}

    fn advance(&mut self, _: u64) -> ControlFlow<()> {
        self.1 += 1;
        let files = self.0.files();
        let is_known = files.iter().all(|name| name.starts_with("hashserv.db"));
        assert!(is_known, "{files:?}");
        ControlFlow::Continue(())
    }

    fn note(&mut self, _: &str) {}
}

#[test]
fn the_copy_has_no_name_so_nothing_can_stay() {
    let world = World::current();
    world.fill(1500);
    let options = ImportOptions {
        dry_run: true,
        ..OPTIONS
    };
    let before = world.farm.files();
    let mut watch = Watch(&world.farm, 0);
    let report = world.import_with(&options, &mut watch).unwrap();
    assert_eq!(report.manner, Manner::DryRun);
    assert!(watch.1 > 2, "{}", watch.1);
    assert_eq!(world.farm.files(), before);
    let mut stop = StopAfter::calls(1);
    let stopped = world.import_with(&OPTIONS, &mut stop);
    assert!(matches!(stopped, Err(ImportError::Interrupted)));
    assert_eq!(stop.stages, [Stage::Copying]);
    assert_eq!(world.farm.files(), before);
}

#[test]
fn wherever_it_is_stopped_it_goes_on() {
    let world = World::current();
    world.fill(2500);
    world.import();
    let expected = everything(&world.farm);
    let mut stop = 0;
    loop {
        std::fs::remove_file(world.farm.target()).unwrap();
        match world.import_with(&OPTIONS, &mut StopAfter::calls(stop)) {
            Ok(_) => break,
            Err(ImportError::Interrupted) => {}
            Err(error) => panic!("{error:?}"),
        }
        // Four calls are made while the tables are copied.
        assert_eq!(world.import().resumed, stop >= 5, "stopped after {stop}");
        assert_eq!(everything(&world.farm), expected);
        stop += 8;
    }
    assert!(stop > 20, "{stop}");
}

#[test]
fn what_was_added_comes_with_the_next_run() {
    let world = World::current();
    world.fill(100);
    world.import();
    world.sql(
        "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
         VALUES ('m', hash('t', 7000), hash('u', 7000), '');
         UPDATE unihashes_v3 SET unihash = hash('x', 1) WHERE id = 1",
    );
    let report = world.import();
    assert_eq!(report.manner, Manner::Merged);
    assert_eq!((report.mappings.added, report.mappings.present), (1, 100));
    let texts = mappings(&world.farm.imported());
    assert!(!texts.iter().any(|row| row[2] == hash("x", 1)));
}

#[test]
fn times_become_the_texts_of_files_and_the_oldest_stays_the_oldest() {
    let world = World::current();
    let times = [
        (
            "'2024-05-01 12:30:00.1'",
            Some("2024-05-01 12:30:00.100000"),
        ),
        ("'infinity'", Some("infinity")),
        ("'2024-05-01 12:30:00'", Some("2024-05-01 12:30:00.000000")),
        ("'2024-05-01 12:30'", Some("2024-05-01 12:30:00.000000")),
        ("'0044-03-15 BC'", Some("0044-03-15 00:00:00 BC")),
        ("NULL", None),
    ];
    for (number, (time, _)) in times.iter().enumerate() {
        world.sql(&format!(
            "INSERT INTO outhashes_v2 (method, taskhash, outhash, created)
             VALUES ('m', '{number}', 'o', {time})"
        ));
    }
    world.import();
    let expected = [5, 4, 2, 3, 0, 1].map(|number| {
        let text: Option<&str> = times[number].1;
        (number.to_string(), text.map(str::to_owned))
    });
    let taken = outputs(&world.farm.imported()).into_iter();
    let taken: Vec<_> = taken.map(|row| (row.2, row.4)).collect();
    assert_eq!(taken, expected);
}

#[test]
fn odd_texts_come_as_they_are_or_are_reported() {
    let mut world = World::current();
    world.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    world.database = "bytes".to_owned();
    world.sql(&[UNIHASHES_V3, OUTHASHES_V2].concat());
    world.sql(
        r"INSERT INTO unihashes_v3 (id, method, taskhash, unihash, gc_mark)
          VALUES (-3, 'm', 'ä ö', 'with' || chr(10) || 'line', ''), (7, E'\xff', '2', '2', ''),
                 (2147483647, 'it''s', '', '', '');
          INSERT INTO outhashes_v2 (method, taskhash, outhash, created, \PN\)
          VALUES ('m', 'ä ö', '', NULL, E'\xfe')"
            .replace(r"\PN\", "\"PN\"")
            .as_str(),
    );
    let report = world.import();
    let oddities: Vec<String> = report.oddities().iter().map(ToString::to_string).collect();
    assert_eq!(
        oddities,
        [
            "unihashes_v3.method is not UTF-8: 1 row(s) left out (id 7)",
            "outhashes_v2.PN is not UTF-8: 1 row(s) taken without the field (id 1)",
        ]
    );
    let conn = world.farm.imported();
    let expected = [["it's", "", "", ""], ["m", "ä ö", "with\nline", ""]];
    assert_eq!(mappings(&conn), expected);
    assert_eq!(outputs(&conn).len(), 1);
}

#[test]
fn older_tables_are_taken_alone_and_beside_newer_ones() {
    let world = World::with(&[UNIHASHES_V2, OUTHASHES_V2].concat());
    world.sql("INSERT INTO unihashes_v2 (method, taskhash, unihash) VALUES ('m', 'a', 'x')");
    assert_eq!(world.import().generation, Generation::UnihashesV2);
    world.sql(UNIHASHES_V3);
    world.sql(
        "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES ('m', 'b', 'y', '')",
    );
    let report = world.import();
    assert_eq!(report.generation, Generation::UnihashesV3);
    assert_eq!((report.mappings.read, report.mappings.added), (2, 1));
}

#[test]
fn what_cannot_be_read_is_named_by_its_url() {
    let world = World::with("CREATE TABLE outhashes_v2 (id int)");
    let check = |words: &str| {
        let error = world.import_with(&OPTIONS, &mut Silent).unwrap_err();
        let text = error.to_string();
        let name = PostgresSettings::from_url(&world.url()).unwrap().target();
        assert!(text.contains(&name) && text.contains(words), "{text}");
        assert_eq!(world.farm.files().len(), 3, "{:?}", world.farm.files());
        error
    };
    check("is no bitbake-hashserv database");
    world.sql(UNIHASHES_V3);
    let error = check("cannot read");
    let is_of_column = matches!(
        error,
        ImportError::Postgres { source, .. } if source.code() == Some("42703")
    );
    assert!(is_of_column);
    world.sql("ALTER TABLE unihashes_v3 DROP CONSTRAINT unihashes_v3_pkey");
    world.sql("INSERT INTO unihashes_v3 VALUES (1, 'm', 'a', 'x', ''), (1, 'm', 'b', 'x', '')");
    check("two rows of unihashes_v3 have the id 1");
}
