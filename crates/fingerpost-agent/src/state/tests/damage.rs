use std::fs;
use std::os::unix::fs::FileExt as _;

use super::*;

/// A host whose agent has closed its state, with so many reports in it.
async fn host_with(reports: u64) -> Host {
    let host = Host::new();
    let state = host.open().await;
    for number in 0..reports {
        settle(&state, report(number, number)).await;
    }
    assert!(state.close().await);
    host
}

/// The state opens, empty, works, and what was there is beside it.
async fn is_moved_aside(host: &Host, what: &[u8]) {
    let state = host.open().await;
    assert_eq!(state.figures(), StateFigures::default());
    assert_eq!(settle(&state, report(1, 1)).await, unihash(1));
    let aside = fs::read(host.options.directory.join("agent.db.aside")).unwrap();
    assert!(aside == what, "another file is aside");
    assert!(state.close().await);
    drop(state);
    assert_eq!(host.open().await.figures().spooled_reports, 1);
}

#[tokio::test]
async fn a_foreign_file_is_moved_aside() {
    let host = Host::new();
    fs::create_dir(&host.options.directory).unwrap();
    let path = host.options.directory.join("agent.db");
    let text = b"These are notes of somebody, and no database at all.\n".repeat(100);
    fs::write(&path, &text).unwrap();
    is_moved_aside(&host, &text).await;
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    for first_damaged in [0, 1, 3] {
        let host = host_with(200).await;
        let path = host.options.directory.join("agent.db");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let pages = file.metadata().unwrap().len() / 4096;
        for page in first_damaged..pages {
            file.write_all_at(&[0xa5; 2048], page * 4096 + 1024)
                .unwrap();
        }
        let damaged = fs::read(&path).unwrap();
        is_moved_aside(&host, &damaged).await;
    }
}

#[tokio::test]
async fn a_cut_file_is_moved_aside() {
    let host = host_with(200).await;
    let path = host.options.directory.join("agent.db");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(3 * 4096).unwrap();
    let cut = fs::read(&path).unwrap();
    is_moved_aside(&host, &cut).await;
}

#[tokio::test]
async fn a_file_of_a_newer_agent_is_moved_aside() {
    let host = host_with(1).await;
    let path = host.options.directory.join("agent.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute("UPDATE fingerpost SET version = 99, min_reader = 99", [])
        .unwrap();
    conn.close().unwrap();
    let newer = fs::read(&path).unwrap();
    is_moved_aside(&host, &newer).await;
}

#[tokio::test]
async fn damage_that_shows_later_is_noted_for_the_next_start() {
    let host = Host::new();
    let state = host.open().await;
    let epoch = DeletionEpoch {
        history: [0; 16],
        epoch: 0,
    };
    state.set_epoch("", epoch, Vec::new()).await.unwrap();
    let many = (0..20_000).map(|number| (task(number), unihash(number)));
    state.remember("", epoch, many);
    assert!(state.close().await);
    drop(state);
    // The last pages have rows of the server's answers, and an index of them.
    let path = host.options.directory.join("agent.db");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in pages / 4..pages {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    let state = host.open().await;
    assert!(!host.has("agent.db.aside"));
    let recalled = state.recall("", (0..20_000).map(task).collect()).await;
    assert!(matches!(recalled, Err(StateError::Database(_))));
    assert!(state.figures().damaged);
    drop(state);
    let state = host.open().await;
    assert!(host.has("agent.db.aside"));
    assert_eq!(state.figures(), StateFigures::default());
    assert!(!host.has("agent.db.damaged"));
}

#[tokio::test]
async fn a_report_that_is_no_text_any_more_is_damage() {
    let host = host_with(1).await;
    let path = host.options.directory.join("agent.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute("UPDATE spool SET request = CAST(X'ff' AS TEXT)", [])
        .unwrap();
    conn.close().unwrap();
    let state = host.open().await;
    let outcome = try_replay(&state, &Server::new(seven)).await;
    assert!(matches!(outcome, Err(StateError::Database(_))));
    assert!(state.figures().damaged);
}

#[tokio::test]
async fn an_older_file_that_was_aside_is_replaced_with_its_log() {
    let host = host_with(1).await;
    let path = |name: &str| host.options.directory.join(name);
    fs::write(path("agent.db.aside"), "old").unwrap();
    fs::write(path("agent.db.aside-wal"), "old").unwrap();
    fs::write(path("agent.db.damaged"), "").unwrap();
    drop(host.open().await);
    assert!(fs::read(path("agent.db.aside")).unwrap().len() > 4096);
    assert!(!path("agent.db.aside-wal").exists());
}

#[tokio::test]
async fn a_second_agent_is_told_who_is_there() {
    let host = Host::new();
    let state = host.open().await;
    let Err(error) = host.try_open().await else {
        panic!("two agents on one directory");
    };
    assert!(matches!(error, StateError::InUse { .. }));
    assert!(
        error
            .to_string()
            .starts_with("another agent is using the state directory /")
    );
    settle(&state, report(1, 1)).await;
    drop(state);
    assert_eq!(host.open().await.figures().spooled_reports, 1);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error() {
    let mut host = Host::new();
    host.options.directory = host.directory.path().join("file/state");
    fs::write(host.directory.path().join("file"), "").unwrap();
    assert!(matches!(host.try_open().await, Err(StateError::Io { .. })));
}
