//! Stream modes.

use fingerpost_hashequiv_front::DoorOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{HANDSHAKE, PATIENCE, Wire, World, taskhash, unihash};

async fn enter(world: &World, stream: &str) -> Wire {
    let mut wire = world.open().await;
    assert_eq!(wire.ask(&format!("{{\"{stream}\": null}}")).await, "\"ok\"");
    wire
}

#[tokio::test]
async fn hits_and_misses_come_back_in_order() {
    let world = World::new().await;
    world.fill(3).await;
    let mut wire = enter(&world, "get-stream").await;
    // Twice: the second time what exists is in memory.
    for _ in 0..2 {
        let tasks = [0, 7, 1, 8, 9, 2, 0];
        let lines: String = tasks
            .iter()
            .map(|task| format!("m {}\n", taskhash(*task)))
            .collect();
        wire.send(&format!("{lines}other {}\nm 5\n", taskhash(0)))
            .await;
        for task in tasks {
            let expected = if task < 3 {
                unihash(task)
            } else {
                String::new()
            };
            assert_eq!(wire.line().await, expected, "{task}");
        }
        assert_eq!(wire.line().await, "");
        assert_eq!(wire.line().await, "");
    }
    assert_eq!(wire.ask("END").await, "ok");
    assert_eq!(wire.ask("{\"ping\": {}}").await, "{\"alive\": true}");
}

#[tokio::test]
async fn lines_may_arrive_in_any_pieces() {
    let world = World::new().await;
    world.fill(2).await;
    let mut wire = enter(&world, "get-stream").await;
    let text = format!("m {}\n  m \t {} \r\nEND\n", taskhash(0), taskhash(1));
    for byte in text.as_bytes() {
        wire.io.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(wire.line().await, unihash(0));
    assert_eq!(wire.line().await, unihash(1));
    assert_eq!(wire.line().await, "ok");
}

#[tokio::test]
async fn a_wrong_line_closes_after_the_answers_before_it() {
    let world = World::new().await;
    world.fill(1).await;
    for wrong in ["one-word", "three words here", "m \u{7f}\u{a0}x\u{a0}y"] {
        let mut wire = enter(&world, "get-stream").await;
        wire.send(&format!(
            "m {}\nm {}\n{wrong}\nm {}\n",
            taskhash(0),
            taskhash(5),
            taskhash(0)
        ))
        .await;
        assert_eq!(wire.rest().await, format!("{}\n\n", unihash(0)), "{wrong}");
    }
}

#[tokio::test]
async fn existing_unihashes_are_told() {
    let world = World::new().await;
    world.fill(2).await;
    let mut wire = enter(&world, "exists-stream").await;
    wire.send(&format!(
        "{}\n{}\nany text\n{}\n\n",
        unihash(0),
        unihash(5),
        unihash(1)
    ))
    .await;
    for expected in ["true", "false", "false", "true", "ok"] {
        assert_eq!(wire.line().await, expected);
    }
}

#[tokio::test]
async fn a_wrong_mark_is_told() {
    let world = World::new().await;
    let mut wire = enter(&world, "gc-mark-stream").await;
    wire.send("{\"mark\": \"K\", \"where\": {\"method\": \"m\"}}\nunihash abc\n")
        .await;
    let told =
        "{\"invoke-error\": {\"message\": \"Could not decode JSONL input 'unihash abc'\"}}\n";
    assert_eq!(wire.rest().await, format!("{{\"count\": 0}}\n{told}"));
}

#[tokio::test]
async fn a_whole_batch_may_be_written_before_the_first_answer_is_read() {
    const LINES: usize = 20_000;
    let world = World::new().await;
    world.fill(100).await;
    // A connection that itself holds nearly nothing.
    let mut wire = world.connect(4096);
    wire.send(HANDSHAKE).await;
    wire.send("{\"get-stream\": null}\n").await;
    for task in 0..LINES {
        wire.send(&format!("m {}\n", taskhash(task % 200))).await;
    }
    wire.send("END\n").await;
    assert_eq!(wire.line().await, "\"ok\"");
    for task in 0..LINES {
        let expected = if task % 200 < 100 {
            unihash(task % 200)
        } else {
            String::new()
        };
        assert_eq!(wire.line().await, expected);
    }
    assert_eq!(wire.line().await, "ok");
}

#[tokio::test]
async fn a_client_that_never_reads_is_left_unread() {
    let options = DoorOptions {
        pending_bytes: 100_000,
        ..DoorOptions::default()
    };
    let world = World::with(options, Default::default(), None).await;
    world.fill(1).await;
    let mut wire = world.connect(4096);
    wire.send(HANDSHAKE).await;
    wire.send("{\"get-stream\": null}\n").await;
    let lines = format!("m {}\n", taskhash(0)).repeat(1000);
    let mut written = 0;
    // The server stops taking lines: 66 bytes each that it reads are 65 it holds.
    while tokio::time::timeout(
        std::time::Duration::from_millis(500),
        wire.io.write_all(lines.as_bytes()),
    )
    .await
    .is_ok()
    {
        written += lines.len();
        assert!(written < 1_000_000, "the server reads without end");
    }
    assert!(written >= 66_000, "{written}");
    // And goes on when answers are read. What was cut in the middle of a
    // write is made whole first.
    let (mut reader, mut writer) = tokio::io::split(wire.io);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        let done = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut all)).await;
        done.unwrap().unwrap();
        String::from_utf8(all).unwrap()
    });
    writer.write_all(b"\n").await.unwrap();
    writer.shutdown().await.unwrap();
    let all = reading.await.unwrap();
    assert!(
        all.lines()
            .skip(1)
            .filter(|line| *line == unihash(0))
            .count()
            >= 1000
    );
}
