use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Method, Taskhash};
use fingerpost_snapshot::Change;

use super::super::testing::{Farm, Instance, hash};
use crate::changes::{ChangeFilter, ChangesSince};
use crate::store::Task;

impl Farm {
    /// Deletes a mapping as a deletion does: with its log, and the epoch's.
    fn delete(&self, name: &str) {
        let taskhash = hash(name);
        self.sql(&format!(
            "UPDATE namespace SET sequence = sequence + 2, deletion_epoch = deletion_epoch + 1
              WHERE id = 1;
             INSERT INTO deletion (namespace, sequence, method, taskhash)
             SELECT 1, namespace.sequence - 1, mapping.method, taskhash FROM namespace, mapping
              WHERE id = 1 AND taskhash = decode('{taskhash}', 'hex');
             INSERT INTO deletion (namespace, sequence, epoch)
             SELECT 1, sequence, deletion_epoch FROM namespace WHERE id = 1;
             DELETE FROM mapping WHERE taskhash = decode('{taskhash}', 'hex')"
        ));
    }
}

fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Adopted { taskhash, .. } => format!("+{:x}", taskhash[0] & 15),
        Change::Deleted { taskhash, .. } => format!("-{:x}", taskhash[0] & 15),
        Change::Epoch { epoch, .. } => format!("epoch {epoch}"),
    };
    changes.iter().map(word).collect()
}

#[tokio::test]
async fn changes_are_told_in_their_order_some_at_a_time() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    instance.report("1", "a", "d").await;
    instance.report("2", "b", "e").await;
    farm.delete("1");
    instance.report("1", "c", "f").await;
    farm.delete("2");
    // Of what came and went again only that it went.
    let all = ["-1", "epoch 1", "+1", "-2", "epoch 2"];
    assert_eq!(words(&instance.told(0, 10).await.changes), all);
    for limit in 1..=5 {
        let (mut position, mut changes, mut epoch) = (0, Vec::new(), 0);
        loop {
            let some = instance.told(position, limit).await;
            assert_eq!(some.epoch, epoch, "at {position}");
            if let Some(Change::Epoch { epoch: now, .. }) = some
                .changes
                .iter()
                .rfind(|change| matches!(change, Change::Epoch { .. }))
            {
                epoch = *now;
            }
            position = some.position;
            changes.extend(some.changes);
            if some.is_all {
                break;
            }
        }
        assert_eq!(words(&changes), all, "{limit} at a time");
        assert_eq!(position, instance.service.cut().await.unwrap().position);
    }
    assert!(instance.is_gone(100).await, "a position ahead");
}

/// The names of the tasks on all pages, and what was left out.
async fn pages(instance: &Instance, limit: usize) -> (Vec<String>, u64) {
    let (mut names, mut left_out, mut next) = (Vec::new(), 0, Some(0));
    while let Some(after) = next {
        let page = instance.service.mappings(after, limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        let of_page = page.rows.iter();
        names.extend(of_page.map(|row| format!("{} {:x}", row.method, row.taskhash[0] & 15)));
        (left_out, next) = (left_out + page.left_out, page.next);
    }
    (names, left_out)
}

#[tokio::test]
async fn pages_have_what_a_snapshot_takes_and_count_the_rest() {
    let farm = Farm::new();
    let instance = farm.instance_with_fix().await;
    instance.within("fix").report("9", "a", "d").await;
    instance.report("1", "a", "d").await;
    let odd = [("m", "odd".to_owned()), (&"n".repeat(300), hash("2"))];
    for (method, taskhash) in odd {
        let task = Task {
            method: Method::new(method),
            taskhash: Taskhash::parse(&taskhash),
        };
        instance.report_task(task, "b", "e").await;
    }
    instance.report("3", "c", "f").await;
    for limit in 1..=5 {
        let (names, left_out) = pages(&instance, limit).await;
        assert_eq!((names, left_out), (vec!["m 1".into(), "m 3".into()], 2));
    }
    let changes = instance.told(0, 10).await;
    assert_eq!(words(&changes.changes), ["+1", "+3"]);
    assert_eq!((changes.position, changes.is_all), (4, true));
    let cut = instance.told(1, 2).await;
    assert_eq!((cut.changes.len(), cut.position, cut.is_all), (0, 3, false));
}

#[tokio::test]
async fn old_deletions_are_forgotten_in_batches_and_young_ones_are_not() {
    let farm = Farm::new();
    let instance = farm.instance().await;
    farm.sql(
        "UPDATE namespace SET sequence = 2500;
         INSERT INTO deletion (namespace, sequence, epoch)
         SELECT 1, number, number FROM generate_series(1, 2500) AS number;
         INSERT INTO change_mark (namespace, position, at) VALUES (1, 500, 10), (1, 2400, 20)",
    );
    let forget = async |before| instance.service.forget_changes(Timestamp(before)).await;
    assert_eq!(forget(9).await.unwrap(), 0);
    assert_eq!(forget(15).await.unwrap(), 500);
    assert_eq!(forget(25).await.unwrap(), 1900);
    let left = "SELECT count(*), min(sequence) FROM deletion";
    assert_eq!(farm.sql(left), "100|2401");
    // That of today is kept, and the one of the floor.
    let marks = "SELECT string_agg(position::text, ' ' ORDER BY position) FROM change_mark";
    assert_eq!(farm.sql(marks), "2400 2500");
    assert!(instance.is_gone(2399).await);
    assert_eq!(instance.told(2400, 1000).await.changes.len(), 100);
    let known = ChangesSince::Gone {
        oldest: 2400,
        newest: 2500,
    };
    assert_eq!(
        instance
            .service
            .changes(0, 1, ChangeFilter::All)
            .await
            .unwrap(),
        known
    );
}
