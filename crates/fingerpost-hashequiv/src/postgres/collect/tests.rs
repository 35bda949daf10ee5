use std::future::Future;
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::Taskhash;
use fingerpost_testkit::Relay;
use futures_util::FutureExt as _;

use super::testing::{
    World, add, eventually, hash, instance_at, look_up, of_task, remembers, report,
};
use crate::HashEquiv;
use crate::namespace::NamespaceId;
use crate::query::{Column, Conditions};
use crate::store::StoreError;

const AT: NamespaceId = NamespaceId::DEFAULT;
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn all_of(method: &str) -> Conditions {
    Conditions(vec![(Column::Method, method.to_owned())])
}

impl World {
    /// Puts mappings and outputs of `count` tasks into the default namespace.
    fn fill(&self, count: u32) {
        self.sql(&format!(
            "INSERT INTO method (name) VALUES ('many');
             INSERT INTO mapping SELECT one, 0, 1, method.id, 1, 0,
                    sha256(one::text::bytea), sha256(one::text::bytea)
               FROM generate_series(1, {count}) AS one, method WHERE name = 'many';
             INSERT INTO output (id, created, namespace, method, taskhash, outhash)
             SELECT one, one, 1, method.id, sha256(one::text::bytea), sha256(one::text::bytea)
               FROM generate_series(1, {count}) AS one, method WHERE name = 'many';
             UPDATE namespace SET sequence = {count}, output_id = {count},
                    mappings = {count}, outputs = {count} WHERE id = 1"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_is_logged_and_takes_with_it_what_only_it_needs() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    add(service, "a").await;
    add(service, "b").await;
    let mut odd = report("c");
    odd.task.taskhash = Taskhash::parse("no hash");
    service.store.report(&service.at, odd).await.unwrap();
    world.sql(
        "INSERT INTO signature
         SELECT namespace, id, 1, '\\x00', 'signed' FROM output",
    );
    let removed = service.store.remove(AT, of_task("a")).await.unwrap();
    assert_eq!(removed, 2);
    world.check_counts();
    let log = "SELECT namespace, sequence, octet_length(taskhash), epoch FROM deletion
                ORDER BY namespace, sequence";
    assert_eq!(world.sql(log), "1|4|32|\n1|5||1\n2|1||1");
    let rest = "SELECT (SELECT count(*) FROM listing), (SELECT count(*) FROM signature)";
    assert_eq!(world.sql(rest), "2|2");
    // A task without a hash is a number of the sequence all the same.
    let removed = service.store.remove(AT, all_of("m")).await.unwrap();
    assert_eq!(removed, 4);
    let rows = "1|4|32|\n1|5||1\n1|6|32|\n1|8||2\n2|1||1\n2|2||2";
    assert_eq!(world.sql(log), rows);
    assert_eq!(world.sql(rest), "0|0");
    let numbers = "SELECT sequence, deletion_epoch, mappings, outputs FROM namespace ORDER BY id";
    assert_eq!(world.sql(numbers), "8|2|0|0\n2|2|0|0");
    assert_eq!(service.deletion_epoch(), 2);
    // Nothing goes, nothing is written.
    let removed = service.store.remove(AT, all_of("m")).await.unwrap();
    assert_eq!((removed, world.sql(log)), (0, rows.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_goes_takes_the_signatures_of_its_outputs() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    add(service, "a").await;
    add(service, "b").await;
    world.sql("INSERT INTO signature SELECT namespace, id, 1, '\\x00', 'signed' FROM output");
    let by_unihash = Conditions(vec![(Column::Unihash, hash("ua"))]);
    assert_eq!(service.store.remove(AT, by_unihash).await.unwrap(), 1);
    world.check_counts();
    assert_eq!(world.sql("SELECT output FROM signature"), "2");
    // Its output has no unihash now, and is old enough.
    let later = Timestamp(NOW.0 + 1);
    assert_eq!(service.store.clean_unused(AT, NOW).await.unwrap(), 0);
    assert_eq!(service.store.clean_unused(AT, later).await.unwrap(), 1);
    assert_eq!(world.sql("SELECT id FROM output"), "2");
    world.check_counts();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_condition_finds_its_rows() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    let check = async |column: Column, value: &str, wanted: u64| {
        let mut one = report("a");
        one.metadata.pn = Some("recipe".to_owned());
        service.store.report(&service.at, one).await.unwrap();
        let conditions = Conditions(vec![(column, value.to_owned())]);
        let removed = service.store.remove(AT, conditions).await.unwrap();
        assert_eq!(removed, wanted, "{column:?}");
        world.check_counts();
    };
    check(Column::Taskhash, &hash("a"), 2).await;
    check(Column::Taskhash, &hash("b"), 0).await;
    check(Column::Taskhash, &"x".repeat(2000), 0).await;
    check(Column::Method, "nobody's", 0).await;
    check(Column::Method, "m", 2).await;
    check(Column::Outhash, &hash("oa"), 1).await;
    check(Column::Unihash, &hash("ua"), 1).await;
    check(Column::GcMark, "nobody's", 0).await;
    check(Column::GcMark, "", 1).await;
    check(Column::Siginfo, "listing of a", 1).await;
    check(Column::Pn, "other", 0).await;
    check(Column::Pn, "recipe", 1).await;
    check(Column::Created, "yesterday", 0).await;
    check(Column::Created, &NOW.to_python_iso(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_instances_forget_what_went_and_nothing_else() {
    let world = World::new();
    let (here, there) = (world.instance().await, world.instance().await);
    add(here.default(), "a").await;
    add(here.default(), "b").await;
    let branch = there.find("branch").unwrap();
    for service in [here.default(), there.default(), branch] {
        assert!(look_up(service, "a").await && look_up(service, "b").await);
    }
    let removed = here.default().store.remove(AT, of_task("a")).await;
    assert_eq!(removed.unwrap(), 2);
    assert!(!remembers(here.default(), "a"));
    eventually("it is forgotten there", || {
        !remembers(there.default(), "a") && !remembers(branch, "a")
    })
    .await;
    for service in [here.default(), there.default(), branch] {
        assert!(remembers(service, "b"));
        assert!(!look_up(service, "a").await);
    }
    eventually("the epoch is known", || branch.deletion_epoch() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_goes_over_any_number_of_rows() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    let store = &service.store;
    world.fill(12_000);
    let mark = |conditions| store.gc_mark(AT, "keep".to_owned(), conditions, NOW);
    assert_eq!(mark(all_of("many")).await.unwrap(), 12_000);
    // A gap that is longer than a stretch.
    world.sql(
        "UPDATE mapping SET collection = 0 WHERE sequence BETWEEN 500 AND 11000;
         DELETE FROM mapping WHERE sequence BETWEEN 600 AND 10900;
         UPDATE namespace SET mappings = 12000 - 10301 WHERE id = 1",
    );
    add(service, "new").await;
    let status = store.gc_status(AT).await.unwrap();
    assert_eq!((status.keep, status.remove), (1500, 200));
    assert_eq!(status.mark.as_deref(), Some("keep"));
    let wrong = store.gc_sweep(AT, "other".to_owned()).await;
    assert!(matches!(wrong, Err(StoreError::WrongMark(_))), "{wrong:?}");
    assert_eq!(store.gc_sweep(AT, "keep".to_owned()).await.unwrap(), 200);
    world.check_counts();
    assert_eq!(store.gc_status(AT).await.unwrap().mark, None);
    assert!(look_up(service, "new").await);
    assert_eq!(world.sql("SELECT count(*) FROM lease"), "0");
    let before = Timestamp(12_000_000);
    assert_eq!(store.clean_unused(AT, before).await.unwrap(), 10_501);
    world.check_counts();
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.unihashes, usage.outputs), (1500, 1500));
    assert_eq!((usage.users, usage.config), (0, 1));
}

/// An instance whose database is reached through a relay that can cut.
struct Far {
    world: World,
    relay: Relay,
    service: Arc<HashEquiv>,
}

impl Far {
    async fn new() -> Self {
        let world = World::new();
        let relay = Relay::start(world.cluster.port()).await.unwrap();
        let url = format!("postgresql://postgres@{}/test_1", relay.host_and_port());
        let service = Arc::clone(instance_at(&url).await.default());
        Self {
            world,
            relay,
            service,
        }
    }

    /// Does it with a commit that takes effect and is never answered.
    async fn unanswered<T: Send + 'static>(
        &mut self,
        commit_of: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.world.sql(&format!(
            "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               PERFORM pg_sleep(0.5); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER slow AFTER {commit_of}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
        ));
        let work = tokio::spawn(work);
        eventually("it is committed", || {
            self.world.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'
                    AND application_name = 'fingerpost' AND query LIKE '%COMMIT'",
            ) != "0"
        })
        .await;
        self.relay.lose().await;
        self.relay.go_on().await.unwrap();
        work.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_commit_is_not_answered_leaves_no_cache_wrong() {
    let mut far = Far::new().await;
    let service = Arc::clone(&far.service);
    add(&service, "a").await;
    add(&service, "b").await;
    assert!(look_up(&service, "a").await && look_up(&service, "b").await);
    let store = Arc::clone(&service.store);
    let remove = async move { store.remove(AT, of_task("a")).await };
    let outcome = far.unanswered("INSERT ON deletion", remove).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(!remembers(&service, "a") && remembers(&service, "b"));
    // Here the server never heard of the cut.
    let counts = "SELECT mappings, outputs FROM namespace WHERE id = 1";
    eventually("it is stored", || far.world.sql(counts) == "1|1").await;
    eventually("the epoch is known", || service.deletion_epoch() == 1).await;
    far.world.check_counts();
    assert!(!remembers(&service, "a") && remembers(&service, "b"));
    far.world.sql("DROP TRIGGER slow ON deletion");
    assert_eq!(service.store.remove(AT, of_task("b")).await.unwrap(), 2);
    assert_eq!(service.deletion_epoch(), 2);
    far.world.check_counts();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_whose_commit_is_not_answered_is_set_again_and_counted_once() {
    let mut far = Far::new().await;
    add(&far.service, "a").await;
    let store = Arc::clone(&far.service.store);
    let mark = async move { store.gc_mark(AT, "keep".to_owned(), all_of("m"), NOW).await };
    let outcome = far.unanswered("INSERT ON collection", mark).await;
    assert_eq!(outcome.unwrap(), 1);
    let status = far.service.store.gc_status(AT).await.unwrap();
    assert_eq!((status.keep, status.remove), (1, 0));
    assert_eq!(far.world.sql("SELECT count(*) FROM collection"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_leaves_no_cache_wrong() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    add(service, "a").await;
    assert!(look_up(service, "a").await);
    let mut removing = service.store.remove(AT, of_task("a"));
    // The first batch is under way then.
    assert!((&mut removing).now_or_never().is_none());
    drop(removing);
    eventually("it is done all the same", || !remembers(service, "a")).await;
    eventually("the epoch is known", || service.deletion_epoch() == 1).await;
    world.check_counts();
}
