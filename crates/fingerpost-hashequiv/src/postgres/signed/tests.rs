use std::sync::Arc;
use std::time::Instant;

use fingerpost_core::SystemClock;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_signatures::{KeyId, Row, Signature, SigningKey, UnixTime};

use super::super::PostgresStore;
use super::super::testing::{Farm, Instance, hash, task};
use crate::cache::UnihashCache;
use crate::database::Surroundings;
use crate::metrics::SharedMetrics;
use crate::namespace::DEFAULT_NAMESPACE;
use crate::signed::{Offered, Put, SIGNATURES_MAX, SignedRow};
use crate::store::{Store as _, StoreOptions, Task};

/// The row of (task, output, unihash), signed by key `number` for some other `time`.
fn offered(namespace: &str, row: [&str; 3], number: u8, time: u64) -> Offered {
    let [name, output, unihash] = row;
    let row = Row {
        namespace: namespace.to_owned(),
        method: "m".into(),
        taskhash: hash(name).as_str().into(),
        outhash: hash(output).as_str().into(),
        unihash: hash(unihash).as_str().into(),
    };
    let key = SigningKey::hmac_sha256(KeyId::from_bytes([number; 8]), &[number; 32]);
    Offered {
        signature: key.sign(&row, UnixTime::new(time).unwrap()),
        namespace: row.namespace,
        task: task(name),
        outhash: row.outhash,
        unihash: row.unihash,
    }
}

impl Instance {
    async fn put(&self, row: [&str; 3], numbers: &[u8]) -> Vec<Put> {
        let namespace = self.service.namespace();
        let all = numbers
            .iter()
            .map(|number| offered(namespace, row, *number, 1));
        self.service.put_signatures(all.collect()).await.unwrap()
    }

    async fn signed(&self, name: &str) -> Option<SignedRow> {
        let mut rows = self.service.signed_rows(vec![task(name)]).await.unwrap();
        rows.pop().unwrap()
    }

    async fn evidence(&self, row: [&str; 3]) -> Option<SignedRow> {
        let [name, output, unihash] = row.map(hash);
        let task = Task {
            method: Method::new("m"),
            taskhash: Taskhash::parse(&name),
        };
        let (output, unihash) = (Outhash::parse(&output), Unihash::parse(&unihash));
        let evidence = self.service.evidence(task, output, unihash);
        evidence.await.unwrap()
    }
}

/// The numbers of the keys, in order.
fn keys(row: &SignedRow) -> Vec<u8> {
    let key = |text: &String| text.parse::<Signature>().unwrap().key().to_bytes()[0];
    row.signatures.iter().map(key).collect()
}

const NUMBERS: &str = "SELECT string_agg(number::text, ' ' ORDER BY number) FROM signature";

#[tokio::test]
async fn the_newest_of_each_key_are_kept_however_many_come_at_once() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    instance.report("1", "a", "d").await;
    let row = ["1", "a", "d"];
    let stored = instance.put(row, &[1, 2, 1, 3]).await;
    assert_eq!(stored, [Put::Stored; 4]);
    assert_eq!(keys(&instance.signed("1").await.unwrap()), [1, 2, 3]);
    // Nothing is written for what is there.
    let before = farm.sql("SELECT string_agg(xmin::text, ' ') FROM signature");
    instance.put(row, &[3, 2, 1]).await;
    assert_eq!(
        farm.sql("SELECT string_agg(xmin::text, ' ') FROM signature"),
        before
    );
    // Another one of the same key is a newer one.
    let newer = vec![offered("default", row, 1, 2)];
    instance.service.put_signatures(newer).await.unwrap();
    assert_eq!(keys(&instance.signed("1").await.unwrap()), [2, 3, 1]);
    assert_eq!(farm.sql(NUMBERS), "2 3 4");
    instance.put(row, &[4, 5, 6, 7, 8]).await;
    assert_eq!(keys(&instance.signed("1").await.unwrap()), [5, 6, 7, 8]);
    assert_eq!(farm.sql(NUMBERS), "6 7 8 9");
}

#[tokio::test]
async fn each_of_many_offers_gets_its_own_answer() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    instance.report("1", "a", "d").await;
    let mut all = vec![
        offered("default", ["1", "a", "e"], 1, 1),
        offered("default", ["1", "a", "d"], 1, 1),
        offered("default", ["1", "b", "d"], 1, 1),
        offered("elsewhere", ["1", "a", "d"], 1, 1),
        offered("default", ["2", "a", "d"], 1, 1),
        offered("default", ["1", "a", "d"], 2, 1),
    ];
    all[4].task.method = Method::new("unknown");
    let mut long = all[1].clone();
    long.outhash = Outhash::parse(&"g".repeat(2000));
    all.insert(0, long);
    let put = instance.service.put_signatures(all).await.unwrap();
    use Put::{Mismatch, NoRow, Stored};
    let expected = [NoRow, Mismatch, Stored, NoRow, Mismatch, NoRow, Stored];
    assert_eq!(put, expected);
    assert_eq!(farm.sql("SELECT count(*) FROM signature"), "2");
}

#[tokio::test]
async fn instances_that_sign_one_row_at_once_keep_the_newest_together() {
    let farm = Farm::new();
    let (one, other) = (farm.instance().await, farm.instance().await);
    one.report("1", "a", "d").await;
    let (one, other) = (&one, &other);
    let puts = (1..=12).map(|number| async move {
        let instance = if number % 2 == 0 { one } else { other };
        instance.put(["1", "a", "d"], &[number]).await
    });
    for put in futures_util::future::join_all(puts).await {
        assert_eq!(put, [Put::Stored]);
    }
    assert_eq!(
        one.signed("1").await.unwrap().signatures.len(),
        SIGNATURES_MAX
    );
    assert_eq!(farm.sql(NUMBERS), "9 10 11 12");
}

#[tokio::test]
async fn the_oldest_signed_output_is_told_else_the_oldest() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    for output in ["a", "b", "c"] {
        instance.report("1", output, "d").await;
    }
    let outhash = |row: &SignedRow| row.outhash.as_ref().unwrap().to_text();
    let row = instance.signed("1").await.unwrap();
    assert_eq!((outhash(&row), keys(&row)), (hash("a"), vec![]));
    instance.put(["1", "c", "d"], &[1]).await;
    instance.put(["1", "b", "d"], &[2, 3]).await;
    let row = instance.signed("1").await.unwrap();
    assert_eq!((outhash(&row), keys(&row)), (hash("b"), vec![2, 3]));
    assert_eq!(row.namespace, "default");
    let page = instance.service.mappings(0, 10).await.unwrap();
    let signed = page.rows[0].signed.clone().unwrap();
    assert_eq!(
        Some(&signed.signature),
        row.signatures.last(),
        "the newest one"
    );
    assert_eq!(Some(&signed.outhash), row.outhash.unwrap().as_bytes());
}

#[tokio::test]
async fn thousands_are_told_at_once() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    instance.report("f", "f", "f").await;
    // 10,000 tasks with two outputs each, the second of every other one signed.
    farm.sql(
        "INSERT INTO mapping (sequence, created, namespace, method, used_day, taskhash, unihash)
         SELECT 9 + number, 0, 1, (SELECT id FROM method), 0, sha256(number::text::bytea),
                sha256('u') FROM generate_series(1, 10000) AS number;
         INSERT INTO output (id, namespace, method, taskhash, outhash)
         SELECT 9 + number, 1, (SELECT id FROM method),
                sha256((1 + number % 10000)::text::bytea), sha256((number / 10000)::text::bytea)
           FROM generate_series(0, 19999) AS number;
         INSERT INTO signature (namespace, output, number, key, text)
         SELECT 1, 9 + number, 1, '12345678', number::text
           FROM generate_series(10000, 19999, 2) AS number;
         ANALYZE",
    );
    let taskhash = |number: u32| {
        let sql = format!("SELECT encode(sha256('{number}'), 'hex')");
        Taskhash::parse(&farm.sql(&sql))
    };
    let known: Vec<Task> = [1, 2, 10_000, 9_999]
        .map(|number| Task {
            method: Method::new("m"),
            taskhash: taskhash(number),
        })
        .to_vec();
    let mut tasks: Vec<Task> = known.iter().cycle().take(5000).cloned().collect();
    tasks[4999] = task("0");
    let started = Instant::now();
    let rows = instance.service.signed_rows(tasks).await.unwrap();
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    let signatures = |at: usize| rows[at].as_ref().unwrap().signatures.clone();
    assert_eq!(signatures(0), ["10000"]);
    assert_eq!(signatures(1), Vec::<String>::new());
    assert_eq!(signatures(2), Vec::<String>::new());
    assert_eq!(signatures(4995), ["19998"]);
    assert_eq!(rows[4999], None);
}

#[tokio::test]
async fn evidence_is_the_own_signed_row_then_a_signed_one_then_the_nearest() {
    let farm = Farm::new();
    let default = farm.instance_with_fix().await;
    let fix = default.within("fix");
    assert_eq!(default.evidence(["1", "a", "d"]).await, None);
    default.report("1", "a", "d").await;
    fix.report("2", "a", "e").await;
    fix.report("3", "a", "e").await;
    let row = ["3", "a", "d"];
    let check = async |name: &str, namespace: &str, signed: &[u8]| {
        let evidence = fix.evidence(row).await.unwrap();
        assert_eq!(evidence.task, task(name));
        assert_eq!(
            (&*evidence.namespace, keys(&evidence)),
            (namespace, signed.to_vec())
        );
        assert_eq!(evidence.unihash.to_text(), hash("d"));
        assert_eq!(evidence.outhash, Some(Outhash::parse(&hash("a"))));
    };
    check("2", "fix", &[]).await;
    default.put(["1", "a", "d"], &[1, 2]).await;
    check("1", "default", &[1, 2]).await;
    fix.put(["2", "a", "d"], &[3]).await;
    check("2", "fix", &[3]).await;
    fix.put(["3", "a", "d"], &[4, 5]).await;
    check("3", "fix", &[4, 5]).await;
    assert_eq!(fix.evidence(["3", "a", "f"]).await, None);
    assert_eq!(
        fix.evidence(["3", "b", "d"]).await.map(|row| keys(&row)),
        Some(vec![4, 5])
    );
}

#[tokio::test]
async fn a_namespace_that_is_not_served_here_has_its_name() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    instance.report("1", "a", "d").await;
    let around = Surroundings {
        cache: Arc::new(UnihashCache::new(1 << 20)),
        options: StoreOptions::default(),
        clock: Arc::new(SystemClock),
        metrics: SharedMetrics::default(),
    };
    let names = [vec!["fix".to_owned(), DEFAULT_NAMESPACE.to_owned()]];
    let opened = PostgresStore::open(instance.db.clone(), vec![], around, &names);
    let (store, chains) = opened.await.unwrap();
    let rows = store
        .signed_rows(&chains[0], vec![task("1")])
        .await
        .unwrap();
    assert_eq!(rows[0].as_ref().unwrap().namespace, DEFAULT_NAMESPACE);
}
