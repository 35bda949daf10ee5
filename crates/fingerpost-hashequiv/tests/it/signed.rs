//! Signatures of rows: kept, told with their row, and gone with it.

use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::signed::{Offered, Put, SignedRow};
use fingerpost_hashequiv::signing::{Rows, Which, revocation};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
use fingerpost_signatures::{KeyId, Row, SigningKey, UnixTime};

use crate::place::{Place, on_each_store};
use crate::world::{World, hash, task};

on_each_store! {
    a_signature_is_told_with_its_row_and_kept_once_for_each_key,
    what_is_not_exactly_the_row_is_refused,
    snapshots_get_the_newest_signature_of_a_row,
    signatures_go_with_their_rows,
    the_namespace_of_a_row_is_where_it_lives,
    evidence_is_a_signed_row_if_there_is_one,
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
            let key: fingerpost_signatures::Signature = text.parse().unwrap();
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

/// The commands of operators for this work on a file.
#[tokio::test]
async fn what_a_database_has_is_signed_and_signed_anew_and_a_revocation_is_counted() {
    let world = World::new(&Place::Files).await;
    for number in 0..450 {
        let name = format!("{number:032x}");
        world.report(&name, &name, "d").await;
    }
    world.put([&"0".repeat(32), &"0".repeat(32), "d"], 1).await;
    let (_, directory) = world.base.sqlite();
    let path = directory.path().join("test.fingerpost");
    let (first, second) = (key(1), key(2));
    let walk = |which: Which, key: &SigningKey, mut steps: usize| {
        let mut rows = Rows::open(&path, which).unwrap();
        let (mut after, mut signed) = (Some(0), 0);
        while let Some(start) = after.filter(|_| steps > 0) {
            let step = rows.step(start, |row, _| Some(key.sign(row, UnixTime::MAX)));
            let step = step.unwrap();
            (after, signed, steps) = (step.next, signed + step.signed, steps - 1);
        }
        signed
    };
    let existing = || Which::Existing {
        key: first.id(),
        namespace: Some("default".to_owned()),
    };
    assert_eq!(walk(existing(), &first, 1), 199);
    assert_eq!(
        walk(existing(), &first, 99),
        250,
        "it goes on where it was stopped"
    );
    assert_eq!(walk(existing(), &first, 99), 0);
    let anew = || Which::SignedBy {
        from: first.id(),
        to: second.id(),
    };
    assert_eq!(walk(anew(), &second, 2), 400);
    let told = revocation(&path, first.id(), &[second.id(), key(9).id()]).unwrap();
    assert_eq!((told.signed, told.misses), (450, 50));
    assert_eq!(walk(anew(), &second, 99), 50);
    let told = revocation(&path, first.id(), &[]).unwrap();
    assert_eq!((told.signed, told.misses), (450, 450));
    assert_eq!(world.keys(&"0".repeat(32)).await, [1, 2]);
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
