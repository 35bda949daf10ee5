//! What is in the file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fingerpost_core::{Credential, ManualClock, Timestamp};
use serde_json::Value;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn start(file: &Path, reports: bool) -> Audit {
    let options = AuditOptions {
        file: file.to_owned(),
        reports,
    };
    let clock = ManualClock::new(Timestamp(1_700_000_000_000_000));
    Audit::start(&options, Arc::new(clock)).expect("a file")
}

fn event(command: &str, outcome: AuditOutcome) -> Event<'_> {
    Event {
        door: "native",
        request_id: "1-2",
        peer: "192.0.2.1:5",
        user: Some("ci\n"),
        credential: None,
        namespace: None,
        command,
        argument: None,
        outcome,
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a file");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn a_line_says_who_did_what_and_the_file_is_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("audit.jsonl");
    let audit = start(&file, false);
    audit.record(&event("remove", AuditOutcome::Done)).await;
    audit
        .record(&event("gc-mark", AuditOutcome::Denied("permission")))
        .await;
    assert!(audit.flush(PATIENCE).await);
    let lines = lines(&file);
    assert_eq!(lines[0]["time"], "2023-11-14T22:13:20Z");
    assert_eq!(lines[0]["user"], "ci\n");
    assert_eq!(lines[0]["outcome"], "done");
    assert_eq!(lines[0].get("credential"), None);
    assert_eq!(lines[1]["code"], "permission");
    assert_eq!(lines.len(), 2);
    let mode = std::fs::metadata(&file)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_credential_is_told_by_kind_and_public_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("audit.jsonl");
    let audit = start(&file, false);
    let shown = [
        (Credential::Password, "password"),
        (Credential::Token("0123".into()), "token:0123"),
        (Credential::Workload("https://ci".into()), "oidc:https://ci"),
        (Credential::Certificate, "certificate"),
    ];
    for (credential, _) in &shown {
        let event = Event {
            credential: Some(credential),
            ..event("remove", AuditOutcome::Done)
        };
        audit.record(&event).await;
    }
    assert!(audit.flush(PATIENCE).await);
    for (line, (_, text)) in lines(&file).iter().zip(shown) {
        assert_eq!(line["credential"], text);
    }
}

#[tokio::test]
async fn a_rotated_file_is_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, moved) = (directory.path().join("a"), directory.path().join("a.1"));
    let audit = start(&file, false);
    audit.record(&event("one", AuditOutcome::Done)).await;
    assert!(audit.flush(PATIENCE).await);
    std::fs::rename(&file, &moved).expect("one directory");
    audit.reopen();
    audit.record(&event("two", AuditOutcome::Done)).await;
    assert!(audit.flush(PATIENCE).await);
    assert_eq!(lines(&moved).len(), 1);
    assert_eq!(lines(&file)[0]["command"], "two");
    std::fs::rename(&file, &moved).expect("one directory");
    let noticed = async {
        while !file.exists() {
            audit.record(&event("three", AuditOutcome::Done)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, noticed)
        .await
        .expect("it is noticed without a signal");
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted() {
    let audit = start(Path::new("/dev/full"), false);
    audit.record(&event("one", AuditOutcome::Done)).await;
    assert!(audit.flush(PATIENCE).await);
    let shared = audit.0.as_ref().expect("it is on");
    assert_eq!(shared.counters.lost.get(), 1);
}

#[tokio::test]
async fn a_flood_of_denials_leaves_room_for_changes() {
    let (sender, _receiver) = mpsc::channel(QUEUE_MAX);
    let audit = Audit(Some(Arc::new(Shared {
        sender,
        reports: false,
        clock: Arc::new(ManualClock::default()),
        counters: Counters::default(),
    })));
    for _ in 0..QUEUE_MAX {
        audit
            .record(&event("gc-mark", AuditOutcome::Denied("permission")))
            .await;
    }
    let shared = audit.0.as_ref().expect("it is on");
    assert_eq!(shared.sender.capacity(), QUEUE_MAX / 2);
    for _ in 0..QUEUE_MAX / 2 {
        audit.record(&event("gc-mark", AuditOutcome::Done)).await;
    }
    let lost = shared.counters.lost.get();
    let started = tokio::time::Instant::now();
    audit.record(&event("remove", AuditOutcome::Done)).await;
    assert!(
        started.elapsed() < QUEUE_WAIT_MAX * 20,
        "the wait is bounded"
    );
    assert_eq!(shared.counters.lost.get(), lost + 1);
}

#[test]
fn changes_and_denials_are_in_it_and_reports_if_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let denied = Failure::Denied {
        caller: String::new(),
        needs: Vec::new(),
    };
    let refused = Failure::refused("wrong-mark", "");
    for (reports, file) in [(false, "a"), (true, "b")] {
        let audit = start(&directory.path().join(file), reports);
        let done = |effect| audit.outcome(effect, Ended::Stored).is_some();
        assert_eq!(
            [
                done(Effect::None),
                done(Effect::Report),
                done(Effect::Change)
            ],
            [false, reports, true]
        );
        for effect in [Effect::None, Effect::Report, Effect::Change] {
            let of = |failure| audit.outcome(effect, Ended::Failed(failure));
            assert_eq!(of(&denied), Some(AuditOutcome::Denied("permission")));
            for code in DENIALS {
                let wrong = Failure::refused(code, "");
                let told = audit.outcome(effect, Ended::Failed(&wrong));
                assert_eq!(told, Some(AuditOutcome::Denied(code)));
            }
            let is_unstored = audit.outcome(effect, Ended::Unstored).is_some();
            assert_eq!(is_unstored, done(effect));
            let is_refused = of(&refused) == Some(AuditOutcome::Refused("wrong-mark"));
            assert_eq!(is_refused, done(effect));
        }
    }
    assert_eq!(
        Audit::default().outcome(Effect::Change, Ended::Failed(&denied)),
        None
    );
}
