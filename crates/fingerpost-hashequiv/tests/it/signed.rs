//! Signatures of rows: kept, told with their row, and gone with it.

use std::sync::Arc;

use fingerpost_core::SystemClock;
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::signed::{Offered, Put, SignedRow};
use fingerpost_hashequiv::signing::{
    Revocation, SigningError, Walk, Which, revocation, revocation_in_file,
};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
use fingerpost_signatures::{KeyId, Row, Signature, SigningKey, UnixTime};

use crate::place::{Base, Place, on_each_store};
use crate::world::{World, hash, task};

on_each_store! {
    a_signature_is_told_with_its_row_and_kept_once_for_each_key,
    what_is_not_exactly_the_row_is_refused,
    snapshots_get_the_newest_signature_of_a_row,
    signatures_go_with_their_rows,
    the_namespace_of_a_row_is_where_it_lives,
    evidence_is_a_signed_row_if_there_is_one,
    what_is_there_is_signed_from_where_a_walk_was_stopped,
    what_a_key_signed_is_signed_anew_and_its_revocation_is_counted,
    a_row_that_goes_while_it_is_signed_gets_no_signature,
}

fn key(number: u8) -> SigningKey {
    SigningKey::hmac_sha256(KeyId::from_bytes([number; 8]), &[number; 32])
}

/// The row of (task, output, unihash), signed by key `number`.
fn offered(namespace: &str, row: [&str; 3], number: u8) -> Offered {
    let [name, output, unihash] = row;
    let row = Row {
        namespace: namespace.to_owned(),
        method: "m".into(),
        taskhash: hash(name).as_str().into(),
        outhash: hash(output).as_str().into(),
        unihash: hash(unihash).as_str().into(),
    };
    Offered {
        signature: key(number).sign(&row, UnixTime::MAX),
        namespace: row.namespace,
        task: task(name),
        outhash: row.outhash,
        unihash: row.unihash,
    }
}

impl World {
    async fn put(&self, row: [&str; 3], number: u8) -> Put {
        let offered = offered(self.service.namespace(), row, number);
        self.service.put_signatures(vec![offered]).await.unwrap()[0]
    }

    async fn signed(&self, name: &str) -> Option<SignedRow> {
        let mut rows = self.service.signed_rows(vec![task(name)]).await.unwrap();
        rows.pop().unwrap()
    }

    /// The numbers of the keys that signed what a task is told.
    async fn keys(&self, name: &str) -> Vec<u8> {
        let row = self.signed(name).await.unwrap();
        let keys = row.signatures.iter().map(|text| {
            let key: Signature = text.parse().unwrap();
            key.key().to_bytes()[0]
        });
        keys.collect()
    }

    async fn signatures(&self) -> i64 {
        let count = "SELECT count(*) || '' FROM signature";
        self.base.number(count, count).await
    }
}

async fn a_signature_is_told_with_its_row_and_kept_once_for_each_key(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    assert!(world.keys("1").await.is_empty());
    for number in [1, 2, 1] {
        assert_eq!(world.put(["1", "a", "d"], number).await, Put::Stored);
    }
    assert_eq!(world.keys("1").await, [1, 2]);
    // The oldest makes room.
    for number in 3..=6 {
        world.put(["1", "a", "d"], number).await;
    }
    assert_eq!(world.keys("1").await, [3, 4, 5, 6]);
    let row = world.signed("1").await.unwrap();
    assert_eq!(
        (row.namespace.as_str(), row.outhash, row.unihash.to_text()),
        ("default", Some(Outhash::parse(&hash("a"))), hash("d"))
    );
    assert_eq!(world.signed("2").await, None);
}

async fn what_is_not_exactly_the_row_is_refused(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    let check = async |row, expect| assert_eq!(world.put(row, 1).await, expect, "{row:?}");
    check(["1", "a", "e"], Put::Mismatch).await;
    check(["1", "b", "d"], Put::NoRow).await;
    check(["2", "a", "d"], Put::NoRow).await;
    let elsewhere = vec![offered("release", ["1", "a", "d"], 1)];
    let put = world.service.put_signatures(elsewhere).await.unwrap();
    assert_eq!((put, world.signatures().await), (vec![Put::Mismatch], 0));
}

async fn snapshots_get_the_newest_signature_of_a_row(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    world.report("2", "b", "e").await;
    let told = async || {
        let page = world.service.mappings(0, 10).await.unwrap();
        let signed = page.rows.into_iter().map(|row| row.signed);
        signed.collect::<Vec<_>>()
    };
    assert_eq!(told().await, [None, None]);
    for number in [1, 2] {
        world.put(["2", "b", "e"], number).await;
    }
    let newest = world.signed("2").await.unwrap().signatures.pop();
    let told = told().await;
    assert_eq!(told[0], None);
    let signed = told[1].as_ref().unwrap();
    assert_eq!(Some(&signed.signature), newest.as_ref());
    assert_eq!(Some(&signed.outhash), Outhash::parse(&hash("b")).as_bytes());
}

async fn signatures_go_with_their_rows(place: Place) {
    let world = World::new(&place).await;
    for (name, column) in [("1", "taskhash"), ("2", "unihash"), ("3", "outhash")] {
        world.report(name, name, name).await;
        world.put([name, name, name], 1).await;
        assert_eq!(world.signatures().await, 1);
        let rows = format!("{{\"where\": {{\"{column}\": \"{}\"}}}}", hash(name));
        world.command("remove", &rows).await.unwrap();
        assert_eq!(world.signatures().await, 0, "{column}");
    }
    world.report("4", "4", "4").await;
    world.put(["4", "4", "4"], 1).await;
    let mark = "{\"mark\": \"k\", \"where\": {\"method\": \"other\"}}";
    world.command("gc-mark", mark).await.unwrap();
    world
        .command("gc-sweep", "{\"mark\": \"k\"}")
        .await
        .unwrap();
    assert_eq!(world.signatures().await, 0);
}

async fn the_namespace_of_a_row_is_where_it_lives(place: Place) {
    let release = NamespaceConfig {
        fallback: Some("default".to_owned()),
        ..NamespaceConfig::named("release")
    };
    let config = Config {
        namespaces: vec![release],
        ..Config::default()
    };
    let worlds = World::of_namespaces(&place, config, &["default", "release"]).await;
    let [default, release] = &worlds[..] else {
        panic!("two worlds")
    };
    default.report("1", "a", "d").await;
    default.put(["1", "a", "d"], 1).await;
    let row = release.signed("1").await.unwrap();
    assert_eq!(
        (row.namespace.as_str(), row.signatures.len()),
        ("default", 1)
    );
    assert_eq!(release.put(["1", "a", "d"], 2).await, Put::NoRow);
    assert_eq!(release.report("2", "a", "e").await, "d");
    let evidence = evidence(release, "2", "a", "d").await.unwrap();
    assert_eq!(
        (evidence.namespace.as_str(), evidence.task),
        ("default", task("1"))
    );
    assert_eq!(release.put(["2", "a", "d"], 1).await, Put::Stored);
}

async fn evidence(world: &World, name: &str, output: &str, unihash: &str) -> Option<SignedRow> {
    let output = Outhash::parse(&hash(output));
    let unihash = Unihash::parse(&hash(unihash));
    world
        .service
        .evidence(task(name), output, unihash)
        .await
        .unwrap()
}

async fn evidence_is_a_signed_row_if_there_is_one(place: Place) {
    let world = World::new(&place).await;
    for name in ["1", "2", "3"] {
        world.report(name, "a", "d").await;
    }
    let of_third = async || evidence(&world, "3", "a", "d").await.unwrap();
    let oldest = of_third().await;
    assert_eq!((oldest.task, oldest.signatures.len()), (task("1"), 0));
    world.put(["2", "a", "d"], 1).await;
    assert_eq!(of_third().await.task, task("2"));
    world.put(["3", "a", "d"], 1).await;
    assert_eq!(of_third().await.task, task("3"));
    assert_eq!(evidence(&world, "3", "b", "e").await, None);
}

/// Some rows of two namespaces, of which other programs may sign one.
async fn two_namespaces(place: &Place) -> Vec<World> {
    let config = Config {
        namespaces: vec![NamespaceConfig::named("release")],
        ..Config::default()
    };
    let worlds = World::of_namespaces(place, config, &["default", "release"]).await;
    for (world, rows) in worlds.iter().zip([1250, 30]) {
        for number in 0..rows {
            let name = format!("{number:032x}");
            world.report(&name, &name, "d").await;
        }
    }
    worlds
}

async fn begin(world: &World, which: Which, namespace: Option<&str>) -> Walk {
    let database = world.base.again().await.database();
    let walk = Walk::begin(database, which, namespace, Arc::new(SystemClock));
    walk.await.unwrap()
}

/// Takes so many steps at most; how many rows were signed.
async fn go(walk: &mut Walk, key: &SigningKey, steps: usize) -> u64 {
    let mut signed = 0;
    for _ in 0..steps {
        let step = walk.step(|row, _| Some(key.sign(row, UnixTime::MAX)));
        match step.await.unwrap() {
            Some(step) => signed += step.signed,
            None => break,
        }
    }
    signed
}

async fn what_is_there_is_signed_from_where_a_walk_was_stopped(place: Place) {
    let worlds = two_namespaces(&place).await;
    let first = key(1);
    let row = [&*"0".repeat(32), &*"0".repeat(32), "d"];
    worlds[0].put(row, 1).await;
    let existing = Which::Existing { key: first.id() };
    let mut walk = begin(&worlds[0], existing, None).await;
    assert_eq!(go(&mut walk, &first, 1).await, 999);
    let stopped = walk.place().unwrap();
    assert_eq!(stopped.namespace, "default");
    let (done, total) = walk.progress();
    assert!(0 < done && done < total, "{done} of {total}");
    // At the place that was told, and from the beginning, it is the same.
    let mut walk = begin(&worlds[0], existing, Some("default")).await;
    walk.go_on_after(&stopped).unwrap();
    assert_eq!(go(&mut walk, &first, 1).await, 250);
    assert_eq!(walk.place(), None);
    let mut walk = begin(&worlds[0], existing, None).await;
    assert_eq!(go(&mut walk, &first, 99).await, 30);
    assert_eq!(worlds[0].signatures().await, 1280);
    assert_eq!(worlds[1].keys(&"0".repeat(32)).await, [1]);

    let nowhere = Walk::begin(
        worlds[0].base.database(),
        existing,
        Some("no"),
        Arc::new(SystemClock),
    );
    assert!(matches!(nowhere.await, Err(SigningError::NoNamespace(_))));
}

async fn what_a_key_signed_is_signed_anew_and_its_revocation_is_counted(place: Place) {
    let worlds = two_namespaces(&place).await;
    let (first, second) = (key(1), key(2));
    let existing = Which::Existing { key: first.id() };
    let mut walk = begin(&worlds[0], existing, None).await;
    assert_eq!(go(&mut walk, &first, 99).await, 1280);
    let anew = Which::SignedBy {
        from: first.id(),
        to: second.id(),
    };
    let mut walk = begin(&worlds[0], anew, None).await;
    let mut left_out = 0;
    while let Some(step) = walk
        .step(|row, signature| {
            let signature: Signature = signature?.parse().ok()?;
            assert_eq!(signature.key(), first.id());
            // The last digit of the number.
            let is_odd = row.taskhash.to_text().ends_with(['1', '3', '5', '7', '9']);
            (!is_odd).then(|| second.sign(row, UnixTime::MAX))
        })
        .await
        .unwrap()
    {
        left_out += step.left_out;
    }
    let database = worlds[0].base.database();
    let believed = [second.id(), key(9).id()];
    let told = revocation(&database, first.id(), &believed);
    let told = told.await.unwrap();
    assert_eq!((told.signed, told.misses), (1280, left_out));
    assert!(0 < left_out && left_out < 1280);
    let told = revocation(&database, first.id(), &[]).await.unwrap();
    assert_eq!((told.signed, told.misses), (1280, 1280));
    let told = revocation(&database, key(9).id(), &[first.id()]).await;
    assert_eq!(told.unwrap(), Revocation::default());
    assert_eq!(worlds[0].keys(&"0".repeat(32)).await, [1, 2]);
}

/// Servers go on meanwhile: what they made of a row after it was read is no row that
/// anybody signed.
async fn a_row_that_goes_while_it_is_signed_gets_no_signature(place: Place) {
    let world = World::new(&place).await;
    for name in ["1", "2", "3"] {
        world.report(name, name, "d").await;
    }
    let first = key(1);
    let mut walk = begin(&world, Which::Existing { key: first.id() }, None).await;
    let runtime = tokio::runtime::Handle::current();
    let mut is_first = true;
    let step = walk.step(|row, _| {
        if std::mem::take(&mut is_first) {
            let rows = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("2"));
            std::thread::scope(|scope| {
                let remove = || runtime.block_on(world.command("remove", &rows)).unwrap();
                scope.spawn(remove).join().unwrap();
            });
        }
        Some(first.sign(row, UnixTime::MAX))
    });
    let step = step.await.unwrap().unwrap();
    assert_eq!((step.signed, step.left_out), (2, 0));
    assert_eq!(world.signatures().await, 2);
}

/// Who counts need not be able to write, and no server has to be younger.
#[tokio::test]
async fn a_revocation_is_counted_in_a_file_of_an_older_version() {
    let world = World::new(&Place::Files).await;
    world.report("1", "a", "d").await;
    world.put(["1", "a", "d"], 1).await;
    let (_, directory) = world.base.sqlite();
    let count = |name| revocation_in_file(&directory.path().join(name), key(1).id(), &[]);
    assert_eq!(count("test.fingerpost").unwrap().misses, 1);
    let older = Base::of_file(Arc::clone(directory), "older", 2);
    assert_eq!(count("older").unwrap(), Revocation::default());
    drop(older);
    assert!(count("missing").is_err());
}

/// PostgreSQL had signatures from the beginning.
#[tokio::test]
async fn a_program_that_does_not_know_signatures_removes_them_with_their_rows() {
    let world = World::new(&Place::Files).await;
    for name in ["1", "2"] {
        world.report(name, name, name).await;
        world.put([name, name, name], 1).await;
    }
    let older = world.older_neighbour(2).await;
    assert_eq!(older.report("3", "1", "e").await, "1");
    let rows = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    older.command("remove", &rows).await.unwrap();
    assert_eq!(world.signatures().await, 1);
    assert_eq!(world.keys("2").await, [1]);
}
