//! Opening, requests, failures, ends.

use crate::world::{HANDSHAKE, World, taskhash, unihash};

const PING: &str = "{\"ping\": {}}";
const ALIVE: &str = "{\"alive\": true}";

#[tokio::test]
async fn requests_are_answered_in_order() {
    let world = World::new().await;
    let mut wire = world.open().await;
    assert_eq!(wire.ask(PING).await, ALIVE);
    wire.send(&format!("{PING}\n{{\"get-user\": {{}}}}\n{PING}\n"))
        .await;
    assert_eq!(wire.line().await, ALIVE);
    // An anonymous caller may not look at users: told, then closed.
    assert!(
        wire.rest()
            .await
            .starts_with("{\"invoke-error\": {\"message\": \"Anonymous user is")
    );
}

#[tokio::test]
async fn headers_are_answered_only_when_wanted() {
    let world = World::new().await;
    let mut wire = world.connect(4096);
    wire.send(&format!("OEHASHEQUIV 1.1\nneeds-headers: true\n\n{PING}\n"))
        .await;
    assert_eq!(wire.line().await, "");
    assert_eq!(wire.line().await, ALIVE);
}

#[tokio::test]
async fn what_breaks_the_protocol_closes_without_a_word() {
    let world = World::new().await;
    let wrong = [
        "OEHASHEQUIV 1.2\n\n",
        "GARBAGE\n",
        "OEHASHEQUIV 1.1\n\nnonsense\n",
        "OEHASHEQUIV 1.1\n\n\n",
        "OEHASHEQUIV 1.1\n\n[]\n",
        "OEHASHEQUIV 1.1\n\n{\"frobnicate\": 1}\n",
        "OEHASHEQUIV 1.1\n\n{\"get\": {}}\n",
        "OEHASHEQUIV 1.1\n\nnull\n",
    ];
    for text in wrong {
        let mut wire = world.connect(4096);
        wire.send(text).await;
        assert_eq!(wire.rest().await, "", "{text}");
        drop(wire.io);
        wire.served.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_asked_before_is_answered_before_the_close() {
    let world = World::new().await;
    let mut wire = world.open().await;
    wire.send(&format!("{PING}\n{PING}\nnonsense\n{PING}\n"))
        .await;
    assert_eq!(wire.rest().await, format!("{ALIVE}\n{ALIVE}\n"));
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    let world = World::new().await;
    world.fill(1).await;
    let mut wire = world.connect(1 << 16);
    let get = format!("m {}\n", taskhash(0));
    wire.send(&format!(
        "{HANDSHAKE}{PING}\n{{\"get-stream\": null}}\n{get}{get}m half"
    ))
    .await;
    wire.shut().await;
    let hit = unihash(0);
    assert_eq!(
        wire.rest().await,
        format!("{ALIVE}\n\"ok\"\n{hit}\n{hit}\n")
    );
}

#[tokio::test]
async fn a_login_lasts_for_the_session() {
    let world = World::new().await;
    let mut wire = world.open().await;
    let login = "{\"auth\": {\"username\": \"admin\", \"token\": \"secret\"}}";
    let answer = "{\"result\": true, \"username\": \"admin\", \"permissions\": [\"@all\"]}";
    assert_eq!(wire.ask(login).await, answer);
    assert!(
        wire.ask("{\"get-all-users\": {}}")
            .await
            .starts_with("{\"users\": [")
    );
    let mut other = world.open().await;
    let wrong = "{\"auth\": {\"username\": \"admin\", \"token\": \"wrong\"}}\n";
    other.send(wrong).await;
    let told = "{\"invoke-error\": {\"message\": \"Unable to authenticate as admin\"}}\n";
    assert_eq!(other.rest().await, told);
}

#[tokio::test]
async fn the_answers_of_a_long_message_are_chunked() {
    let world = World::new().await;
    let mut wire = world.connect(1 << 22);
    let siginfo = "0123456789abcde ".repeat(20_000);
    let report = format!(
        "{{\"report\": {{\"method\": \"m\", \"taskhash\": \"{0}\", \"outhash\": \"{0}\", \"unihash\": \"{1}\", \"outhash_siginfo\": \"{siginfo}\"}}}}",
        taskhash(1),
        unihash(1)
    );
    wire.send(HANDSHAKE).await;
    wire.send_line("{\"chunk-stream\": null}").await;
    for piece in report.as_bytes().chunks(30_000) {
        wire.send_line(std::str::from_utf8(piece).unwrap()).await;
    }
    wire.send_line("").await;
    assert!(wire.line().await.contains(&unihash(1)));
    let get = format!(
        "{{\"get\": {{\"method\": \"m\", \"taskhash\": \"{}\", \"all\": true}}}}",
        taskhash(1)
    );
    assert_eq!(wire.ask(&get).await, "{\"chunk-stream\": null}");
    let mut answer = String::new();
    loop {
        let line = wire.line().await;
        if line.is_empty() {
            break;
        }
        assert!(line.len() <= 32_767 && !line.ends_with(' '));
        answer.push_str(&line);
    }
    assert!(answer.contains(&siginfo));
    assert_eq!(wire.ask(PING).await, ALIVE);
}

#[tokio::test]
async fn a_stopping_server_answers_what_is_here_and_closes() {
    let world = World::new().await;
    let mut idle = world.open().await;
    assert_eq!(idle.ask(PING).await, ALIVE);
    let mut wire = world.open().await;
    wire.send(&format!("{PING}\n{PING}\n{{\"pi")).await;
    assert_eq!(wire.line().await, ALIVE);
    world.shutdown.start();
    assert_eq!(wire.rest().await, format!("{ALIVE}\n"));
    assert_eq!(idle.rest().await, "");
    idle.served.await.unwrap();
}

#[tokio::test]
async fn statistics_count_what_ended() {
    let world = World::new().await;
    let mut wire = world.open().await;
    let number = |answer: &str| {
        let at = answer.find("\"num\": ").unwrap() + 7;
        answer[at..]
            .split(',')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(number(&wire.ask("{\"get-stats\": null}").await), 0);
    assert_eq!(number(&wire.ask("{\"get-stats\": null}").await), 1);
    // Opening a stream does not count; its three lines and its end do.
    wire.send(&format!(
        "{{\"get-stream\": null}}\nm {0}\nm {0}\nm x\nEND\n",
        taskhash(0)
    ))
    .await;
    for expected in ["\"ok\"", "", "", "", "ok"] {
        assert_eq!(wire.line().await, expected);
    }
    wire.send("{\"gc-mark-stream\": null}\n{\"mark\": \"K\", \"where\": {}}\nEND\n")
        .await;
    for expected in ["\"ok\"", "{\"count\": 0}", "ok"] {
        assert_eq!(wire.line().await, expected);
    }
    assert_eq!(number(&wire.ask("{\"get-stats\": null}").await), 2 + 4 + 2);
    // Failures of known commands count, others do not.
    for failing in ["{\"get\": {}}", "{\"frobnicate\": {}}", "nonsense"] {
        let mut wire = world.open().await;
        wire.send_line(failing).await;
        assert_eq!(wire.rest().await, "");
    }
    assert_eq!(number(&wire.ask("{\"get-stats\": null}").await), 8 + 1 + 1);
}

#[tokio::test]
async fn a_read_only_server_does_not_know_writing_commands() {
    let config = fingerpost_hashequiv::Config {
        read_only: true,
        ..Default::default()
    };
    let world = World::with(Default::default(), config, None).await;
    let mut wire = world.open().await;
    wire.send(&format!(
        "{PING}\n{{\"remove\": {{\"where\": {{}}}}, \"get-stats\": null}}\n"
    ))
    .await;
    assert_eq!(wire.line().await, ALIVE);
    // Of the two keys only the other one is a command here.
    assert!(wire.line().await.starts_with("{\"requests\""));
    wire.send_line("{\"gc-mark-stream\": null}").await;
    assert_eq!(wire.rest().await, "");
}

#[tokio::test]
async fn every_counter_is_shown_by_its_name() {
    let world = World::new().await;
    let metrics = fingerpost_net::Metrics::new();
    metrics.register(|registry| world.door.register_metrics(registry));
    let mut wire = world.open().await;
    wire.send(&format!(
        "{PING}\n{{\"get-stream\": null}}\nm t\nEND\n{{\"get-user\": {{}}}}\n"
    ))
    .await;
    wire.rest().await;
    let mut wire = world.open().await;
    wire.send("nonsense\n").await;
    wire.rest().await;
    let text = metrics.encode();
    for line in [
        "fingerpost_hashequiv_requests_total{command=\"ping\",outcome=\"ok\",namespace=\"default\"} 1",
        "fingerpost_hashequiv_requests_total{command=\"get-stream\",outcome=\"ok\",namespace=\"default\"} 1",
        "fingerpost_hashequiv_requests_total{command=\"get-user\",outcome=\"denied\",namespace=\"default\"} 1",
        "fingerpost_hashequiv_stream_lines_total{stream=\"get-stream\",namespace=\"default\"} 2",
        "fingerpost_hashequiv_misbehaved_total{reason=\"not-json\"} 1",
        "fingerpost_hashequiv_over_limit_total{limit=\"write_stall\"} 0",
        "fingerpost_hashequiv_received_bytes_total ",
        "fingerpost_hashequiv_sent_bytes_total ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
