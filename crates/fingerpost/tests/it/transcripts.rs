//! Every recorded session of the reference server, against the real program.

use std::collections::BTreeMap;

use anyhow::Result;
use fingerpost_testkit::transcript::{Inexpressible, Manner, Transcript, replay_all};
use fingerpost_testkit::{ServerOptions, Transport};

use crate::world::farm;

const RECORDED: &str = include_str!("../../../../tests/fixtures/hashserv-transcripts.jsonl");
const RECORDED_COUNT: usize = 285;
/// The sessions in which we do better, with the better answers.
const BETTER: &str = include_str!("../../../../tests/fixtures/differences.jsonl");
/// Servers that run at the same time. Each is busy for moments only.
const AT_ONCE: usize = 6;

fn by_name(file: &str) -> BTreeMap<String, Transcript> {
    let transcripts = Transcript::read_all(file).expect("the file is ours");
    transcripts
        .into_iter()
        .map(|transcript| (transcript.name.clone(), transcript))
        .collect()
}

/// All sessions, the better ones in place of those they replace, over one
/// transport; and those that cannot be said over it.
fn sessions(transport: Transport) -> (Vec<Transcript>, Vec<(String, Inexpressible)>) {
    let mut all = by_name(RECORDED);
    all.extend(by_name(BETTER));
    let mut sessions = Vec::new();
    let mut left_out = Vec::new();
    for (name, transcript) in all {
        match transcript.over(transport) {
            Ok(session) => sessions.push(session),
            Err(reason) => left_out.push((name, reason)),
        }
    }
    (sessions, left_out)
}

/// The recorded defaults are the reference's.
fn as_reference(_: &str, options: ServerOptions) -> ServerOptions {
    options.set("hashequiv.serve_invalid_unihashes", "true")
}

const AS_RECORDED: Manner = Manner {
    adjust: as_reference,
    at_once: AT_ONCE,
    in_pieces: false,
};

async fn replay_over(transport: Transport, expected: usize) {
    let (sessions, left_out) = sessions(transport);
    for (name, reason) in &left_out {
        println!("not over {transport:?}: {name}: {reason}");
    }
    assert_eq!(sessions.len(), expected, "left out: {left_out:?}");
    assert_eq!(sessions.len() + left_out.len(), RECORDED_COUNT);
    replay(sessions, AS_RECORDED).await;
}

async fn replay(sessions: Vec<Transcript>, manner: Manner) {
    let count = sessions.len();
    let failed = replay_all(sessions, || Ok(farm()), manner)
        .await
        .expect("no replay panics");
    for failure in &failed {
        println!("{}: {}", failure.name, failure.reason);
    }
    let names: Vec<_> = failed.iter().map(|failure| &failure.name).collect();
    assert!(
        failed.is_empty(),
        "{} of {count} failed: {names:?}",
        failed.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_sessions_replay_over_tcp() {
    replay_over(Transport::Tcp, 280).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_sessions_replay_over_unix_sockets() {
    replay_over(Transport::Unix, 280).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_sessions_replay_over_websocket() {
    replay_over(Transport::WebSocket, 261).await;
}

/// Neither borders between packets nor requests that do not wait for answers
/// change what is answered.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_sessions_replay_pipelined_and_in_pieces() {
    let (sessions, _) = sessions(Transport::Tcp);
    let sessions = sessions.iter().map(Transcript::pipelined).collect();
    let in_pieces = Manner {
        in_pieces: true,
        ..AS_RECORDED
    };
    replay(sessions, in_pieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_unused_ignores_its_age_on_request_as_the_reference_does() {
    let recorded = by_name(RECORDED);
    let sessions =
        ["clean-unused-3600", "clean-unused-fraction"].map(|name| recorded[name].clone());
    let ignoring = Manner {
        adjust: |name, options| {
            as_reference(name, options).set("hashequiv.clean_unused_ignores_age", "true")
        },
        ..AS_RECORDED
    };
    replay(sessions.into(), ignoring).await;
}

#[test]
fn every_difference_replaces_a_recorded_session() {
    let recorded = by_name(RECORDED);
    assert_eq!(recorded.len(), RECORDED_COUNT);
    for (name, better) in by_name(BETTER) {
        let same = recorded
            .get(&name)
            .is_some_and(|recorded| recorded.steps == better.steps);
        assert!(recorded.contains_key(&name), "{name} was not recorded");
        assert!(!same, "{name} is no difference");
    }
}

/// The table of `docs/differences.md` that names transcripts, a row each that
/// begins with the name.
#[test]
fn the_documented_differences_are_the_tested_ones() -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/differences.md");
    let text = std::fs::read_to_string(path)?;
    let recorded = by_name(RECORDED);
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| recorded.contains_key(*name))
        .collect();
    let tested = by_name(BETTER);
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    assert!(
        sorted.iter().eq(tested.keys()),
        "documented: {documented:?}"
    );
    Ok(())
}
