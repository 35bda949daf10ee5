//! Groups, failures and turns.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use rusqlite::ErrorCode;

use super::*;
use crate::Sqlite;
use crate::testing::{Gate, TestFile, count_items, insert, names};

#[tokio::test]
async fn what_waits_shares_a_commit() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let before = db.metrics().commits.load(Relaxed);
    let jobs: Vec<_> = (0..100)
        .map(|n| insert(&db, &format!("item {n}")))
        .collect();
    gate.open_when_waiting(100).await;
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(count_items(&db).await, 100);
    assert!(db.metrics().commits.load(Relaxed) - before <= 2);
}

#[tokio::test]
async fn a_failing_job_fails_alone() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let good = insert(&db, "a");
    gate.waiting(1).await;
    let bad = insert(&db, "a");
    gate.waiting(2).await;
    let also_good = insert(&db, "b");
    gate.open_when_waiting(3).await;
    good.await.unwrap().unwrap();
    also_good.await.unwrap().unwrap();
    let Err(DbError::Sqlite(error)) = bad.await.unwrap() else {
        panic!("the name is unique")
    };
    assert_eq!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation)
    );
    assert_eq!(names(&db).await, ["a", "b"]);
}

#[tokio::test]
async fn a_panicking_job_fails_alone() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let good = insert(&db, "a");
    let task = db.clone();
    let bad = tokio::spawn(async move {
        task.write(|tx| -> rusqlite::Result<()> {
            tx.conn()
                .execute("INSERT INTO item (name) VALUES ('lost')", [])?;
            panic!("on purpose")
        })
        .await
    });
    gate.open_when_waiting(2).await;
    good.await.unwrap().unwrap();
    assert!(matches!(bad.await.unwrap(), Err(DbError::Panicked(text)) if text == "on purpose"));
    insert(&db, "b").await.unwrap().unwrap();
    assert_eq!(names(&db).await, ["a", "b"]);
}

#[tokio::test]
async fn a_job_that_ends_its_transaction_is_an_error() {
    let file = TestFile::new();
    let db = file.open();
    let outcome = db.write(|tx| tx.conn().execute_batch("ROLLBACK")).await;
    assert!(matches!(outcome, Err(DbError::TransactionLost)));
    insert(&db, "a").await.unwrap().unwrap();
}

#[tokio::test]
async fn hooks_run_in_order_after_the_commit_and_before_the_answers() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let (sender, hooks) = mpsc::sync_channel(100);
    let mut jobs = Vec::new();
    for n in 0..10 {
        let (db, sender, other) = (db.clone(), sender.clone(), file.connect());
        let other = Arc::new(parking_lot::Mutex::new(other));
        jobs.push(tokio::spawn(async move {
            db.write(move |tx| {
                tx.conn()
                    .execute("INSERT INTO item (name) VALUES (?1)", [n])?;
                let (sender, other) = (sender.clone(), Arc::clone(&other));
                tx.after_commit(Box::new(move || {
                    let seen = "SELECT count(*) FROM item";
                    let seen: i64 = other.lock().query_row(seen, [], |row| row.get(0)).unwrap();
                    sender.send((n, seen)).unwrap();
                    assert!(n != 3, "a hook that panics harms nobody");
                }));
                if n == 5 {
                    return Err(rusqlite::Error::InvalidQuery);
                }
                Ok(())
            })
            .await
        }));
        gate.waiting(n + 1).await;
    }
    gate.open_when_waiting(10).await;
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.await.unwrap().is_ok(), n != 5);
    }
    // The failing job made those before it run alone, and hooks of the run that
    // was rolled back never ran. Those after it made the next group.
    let order: Vec<_> = hooks.try_iter().collect();
    let alone = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)];
    let together = [(6, 9), (7, 9), (8, 9), (9, 9)];
    assert_eq!(order, [&alone[..], &together[..]].concat());
}

#[tokio::test]
async fn groups_and_background_jobs_take_turns() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut jobs = Vec::new();
    for n in 0..3 {
        let (db, order) = (db.clone(), Arc::clone(&order));
        jobs.push(tokio::spawn(async move {
            let noted = Arc::clone(&order);
            db.write_background(move |_| {
                noted.lock().push(format!("background {n}"));
                Ok(())
            })
            .await
        }));
        gate.waiting(n + 1).await;
    }
    for n in 0..3 {
        let (db, order) = (db.clone(), Arc::clone(&order));
        jobs.push(tokio::spawn(async move {
            db.write(move |_| {
                order.lock().push(format!("group {n}"));
                Ok(())
            })
            .await
        }));
        gate.waiting(n + 4).await;
    }
    gate.open_when_waiting(6).await;
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    let order = order.lock().join(", ");
    assert_eq!(
        order,
        "group 0, group 1, group 2, background 0, background 1, background 2"
    );
    assert_eq!(db.metrics().groups.load(Relaxed), 1);
    // The gate was one, too. The last one is counted after it was answered.
    let started = Instant::now();
    while db.metrics().background_batches.load(Relaxed) < 4 {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn constant_groups_do_not_starve_background_jobs() {
    let file = TestFile::new();
    let db = file.open();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let (db, stop) = (db.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    db.write(|tx| tx.conn().execute("INSERT INTO item DEFAULT VALUES", []))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        let job = db.write_background(|_| Ok(()));
        tokio::time::timeout(Duration::from_secs(5), job)
            .await
            .unwrap()
            .unwrap();
    }
    stop.store(true, Relaxed);
    for task in busy {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_cancel_its_job() {
    let file = TestFile::new();
    let db = file.open();
    let gate = Gate::close(&db).await;
    let job = insert(&db, "a");
    gate.waiting(1).await;
    job.abort();
    assert!(job.await.unwrap_err().is_cancelled());
    gate.open_when_waiting(1).await;
    insert(&db, "b").await.unwrap().unwrap();
    assert_eq!(names(&db).await, ["a", "b"]);
}

#[tokio::test]
async fn a_full_disk_fails_writes_cleanly_until_there_is_room() {
    let file = TestFile::new();
    let db = Sqlite::open(
        crate::Settings {
            page_count_max: Some(64),
            ..file.settings()
        },
        crate::testing::MIGRATIONS,
    )
    .unwrap();
    let fill = |db: &Sqlite| {
        let db = db.clone();
        tokio::spawn(async move {
            db.write(|tx| {
                tx.conn()
                    .execute("INSERT INTO item (data) VALUES (zeroblob(20000))", [])
            })
            .await
        })
    };
    let jobs: Vec<_> = (0..64).map(|_| fill(&db)).collect();
    let mut failed = 0;
    for job in jobs {
        match job.await.unwrap() {
            Ok(_) => {}
            Err(DbError::Full) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let stored = count_items(&db).await;
    assert_eq!(stored + failed, 64);
    assert!(stored > 0 && failed > 0, "{stored} stored, {failed} failed");
    // Small rows still fit or fail by themselves; reads go on.
    assert!(matches!(fill(&db).await.unwrap(), Err(DbError::Full)));
    db.write(|tx| tx.conn().execute("DELETE FROM item", []))
        .await
        .unwrap();
    fill(&db).await.unwrap().unwrap();
    assert_eq!(count_items(&db).await, 1);
}

#[tokio::test]
async fn a_locked_file_fails_what_waits_and_is_used_again() {
    let file = TestFile::new();
    let db = Sqlite::open(
        crate::Settings {
            busy_timeout: Duration::from_millis(50),
            ..file.settings()
        },
        crate::testing::MIGRATIONS,
    )
    .unwrap();
    let other = file.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let jobs: Vec<_> = (0..4).map(|n| insert(&db, &n.to_string())).collect();
    for job in jobs {
        assert!(matches!(job.await.unwrap(), Err(DbError::Locked)));
    }
    other.execute_batch("COMMIT").unwrap();
    insert(&db, "a").await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_for_a_lock_that_is_given_back_succeeds() {
    let file = TestFile::new();
    let db = file.open();
    let other = file.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let job = insert(&db, "a");
    tokio::time::sleep(Duration::from_millis(50)).await;
    other.execute_batch("COMMIT").unwrap();
    job.await.unwrap().unwrap();
}

const CHILD: &str = "FINGERPOST_DB_TEST_CHILD";

/// What the test below does when it runs as the process that it kills.
async fn write_until_killed(path: std::ffi::OsString) {
    use std::io::Write as _;
    let db = Sqlite::open(crate::Settings::new(path), crate::testing::MIGRATIONS).unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("{}-{task}-{n}", std::process::id());
                    insert(&db, &name).await.unwrap().unwrap();
                    // One write, so that no line is cut or mixed.
                    let line = format!("answered {name}\n");
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn answered_writes_survive_a_killed_process() {
    use std::io::{BufRead as _, BufReader};
    if let Some(path) = std::env::var_os(CHILD) {
        return write_until_killed(path).await;
    }
    let file = TestFile::new();
    let ours = file.open();
    let mut answered = Vec::new();
    let mut own = 0;
    for round in 0..5 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "writer::tests::answered_writes_survive_a_killed_process",
            ])
            .args(["--nocapture"])
            .env(CHILD, file.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let enough = answered.len() + 100 + 37 * round;
        while let Some(Ok(line)) = lines.next() {
            answered.extend(line.strip_prefix("answered ").map(str::to_owned));
            // The file is written from two processes meanwhile.
            if answered.len() % 40 == 0 {
                own += 1;
                insert(&ours, &format!("ours {own}"))
                    .await
                    .unwrap()
                    .unwrap();
            }
            if answered.len() >= enough {
                break;
            }
        }
        assert!(answered.len() >= enough, "the child wrote");
        child.kill().unwrap();
        answered.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("answered ").map(str::to_owned)),
        );
        child.wait().unwrap();
    }
    let stored = names(&ours).await;
    let lost: Vec<_> = answered
        .iter()
        .filter(|name| stored.binary_search(name).is_err())
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let check = ours
        .read(|conn| Ok(crate::testing::value(conn, "PRAGMA quick_check")))
        .await;
    assert_eq!(check.unwrap().as_deref(), Some("ok"));
}

/// A job whose runs are scripted.
struct Scripted {
    outcomes: Vec<Result<(), DbError>>,
    runs: Arc<parking_lot::Mutex<Vec<&'static str>>>,
    name: &'static str,
}

impl WriteJob for Scripted {
    fn run(&mut self, _: &mut Tx<'_>) -> Result<(), DbError> {
        self.runs.lock().push(self.name);
        self.outcomes.remove(0)
    }

    fn answer(self: Box<Self>, outcome: Result<(), DbError>) {
        let text = if outcome.is_ok() { "stored" } else { "failed" };
        self.runs.lock().push(text);
    }
}

#[tokio::test]
async fn when_the_storage_fails_a_lone_job_the_rest_is_not_tried() {
    let file = TestFile::new();
    let db = file.open();
    let metrics = Arc::new(Metrics::default());
    let idle = Duration::from_secs(1);
    let timeout = Duration::from_secs(1);
    let queue = Arc::new(Queue::new(8, timeout, Arc::clone(&metrics), |metrics| {
        &metrics.write_queue_depth
    }));
    let runs = Arc::default();
    let job = |name, outcomes: Vec<Result<(), DbError>>| -> Boxed {
        let runs = Arc::clone(&runs);
        Box::new(Scripted {
            outcomes,
            runs,
            name,
        })
    };
    for scripted in [
        job("a", vec![Ok(()), Ok(())]),
        job("b", vec![Ok(()), Err(DbError::Full)]),
        job("c", vec![Err(DbError::Full)]),
        job("d", vec![Ok(())]),
    ] {
        queue.push(Lane::Foreground, scripted).await.unwrap();
    }
    queue.close();
    let writer = Writer {
        conn: file.connect(),
        queue,
        checkpoints: Arc::new(Checkpoints::new(1 << 20, idle, Arc::clone(&metrics))),
        metrics,
        busy_timeout: timeout,
        schema: Schema::new(1),
    };
    drop(writer.run());
    drop(db);
    let order = runs.lock().join(" ");
    assert_eq!(order, "a b c a stored b failed failed d stored");
}
