use super::super::testing::{Farm, Instance, hash, until};

const JUMP: u64 = super::JUMP.unsigned_abs();

/// Nothing of the old life is gone on from, and the new one works.
async fn check_another_life(instance: &Instance, told_before: u64) {
    for position in [0, told_before] {
        assert!(instance.is_gone(position).await, "{position}");
    }
    let cut = instance.service.cut().await.unwrap();
    instance.report("e", "e", "e").await;
    let since = instance.told(cut.position, 10).await;
    assert_eq!((since.changes.len(), since.epoch), (1, cut.epoch));
}

#[tokio::test]
async fn a_database_elsewhere_begins_another_life_once() {
    let farm = Farm::new();
    let first = farm.instance().await;
    first.report("1", "a", "d").await;
    let (life, cut) = (first.life(), first.service.cut().await.unwrap());
    assert_eq!(farm.instance().await.life(), life, "for each start");
    drop(first);
    farm.sql("UPDATE change_history SET place = 'elsewhere'");
    let (one, other) = tokio::join!(farm.instance(), farm.instance());
    assert_ne!(one.life(), life);
    assert_eq!(one.life(), other.life());
    let now = other.service.cut().await.unwrap();
    assert_eq!(
        (now.position, now.epoch),
        (cut.position + JUMP, cut.epoch + JUMP)
    );
    check_another_life(&one, cut.position).await;
    assert_eq!(farm.instance().await.life(), one.life());
}

#[tokio::test]
async fn tables_that_were_made_anew_are_elsewhere() {
    let farm = Farm::new();
    let first = farm.instance().await;
    first.report("1", "a", "d").await;
    let life = first.life();
    drop(first);
    // As a dump does that is put back into the database that it came from.
    farm.sql(
        "CREATE TABLE copy (LIKE namespace INCLUDING ALL);
         INSERT INTO copy SELECT * FROM namespace;
         DROP TABLE namespace; ALTER TABLE copy RENAME TO namespace",
    );
    let again = farm.instance().await;
    assert_ne!(again.life(), life);
    check_another_life(&again, 1).await;
}

#[tokio::test]
async fn running_instances_forget_the_old_life() {
    let farm = Farm::new();
    let (one, other) = (farm.instance().await, farm.instance().await);
    let life = one.life();
    let told = one.service.epoch_in_history();
    assert_eq!(other.service.epoch_in_history(), told);
    for instance in [&one, &other] {
        instance.report("1", "a", "d").await;
        assert_eq!(instance.look_up("1").await, Some(hash("d")));
    }
    // What a replica that is promoted had not heard of.
    farm.sql(
        "DELETE FROM mapping; DELETE FROM output; DELETE FROM method;
         UPDATE namespace SET sequence = 0;
         UPDATE change_history SET place = 'elsewhere'",
    );
    for instance in [&one, &other] {
        until("another life", async || instance.life() != life).await;
        until("forgotten", async || instance.look_up("1").await.is_none()).await;
    }
    assert_eq!(one.life(), other.life());
    for instance in [&one, &other] {
        assert_ne!(instance.service.epoch_in_history().history, told.history);
    }
    let cut = one.service.cut().await.unwrap();
    assert_eq!((cut.position, cut.epoch), (JUMP, JUMP), "once");
    // With a method that has another number by now.
    one.report("2", "b", "e").await;
    assert_eq!(other.look_up("2").await, Some(hash("e")));
    assert_eq!(other.told(JUMP, 10).await.changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_begins_another_life_under_running_instances() {
    let mut farm = Farm::new();
    let running = farm.instance().await;
    running.report("1", "a", "d").await;
    let (life, cut) = (running.life(), running.service.cut().await.unwrap());
    farm.cluster.be_replica().unwrap();
    let on_replica = farm.instance().await;
    assert_eq!(on_replica.life(), life);
    farm.cluster.promote().unwrap();
    for instance in [&running, &on_replica] {
        until("another life", async || instance.life() != life).await;
    }
    assert_eq!(running.life(), on_replica.life());
    check_another_life(&running, cut.position).await;
    assert_eq!(farm.instance().await.life(), running.life());
}

#[tokio::test]
async fn where_the_server_does_not_say_where_it_is_only_the_incarnation_counts() {
    let mut farm = Farm::new();
    farm.sql(
        "CREATE ROLE plain LOGIN; ALTER DATABASE test_1 OWNER TO plain;
         REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
    );
    farm.url = farm.url.replace("postgres@", "plain@");
    let first = farm.instance().await;
    let life = first.life();
    first.report("1", "a", "d").await;
    until("polled", async || first.service.store.cache_is_fresh()).await;
    assert_eq!(farm.sql("SELECT place LIKE '% ' FROM change_history"), "t");
    assert_eq!(farm.instance().await.life(), life);
    drop(first);
    farm.sql("UPDATE fingerpost SET incarnation = decode(repeat('ab', 16), 'hex')");
    let again = farm.instance().await;
    assert_ne!(again.life(), life);
    check_another_life(&again, 1).await;
}
