//! The plan of a clone: what it asks for is what stock clients ask for, so
//! that they find it made.

use std::process::Command;

use fingerpost_hg_front::client::{Asking, ClonePlan, HgClient};
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::{Args, CommandRequest, ContentEncoding};
use serde_json::Value as Json;

use crate::elsewhere::serve;
use crate::remembered::{counted, remembering, stored, written};
use crate::world::{World, examples, hg, run};

/// A value in the notation of the recordings.
fn value(json: &Json) -> Value {
    match json {
        Json::Bool(truth) => (*truth).into(),
        Json::String(text) => match text.strip_prefix("hex:") {
            Some(hex) => Value::Bytes(
                hex.as_bytes()
                    .chunks(2)
                    .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
                    .collect(),
            ),
            None => Value::bytes(text.as_bytes()),
        },
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(map) => match map.get("SET") {
            Some(Json::Array(members)) => Value::set(members.iter().map(value)),
            _ => Value::record(map.iter().map(|(key, item)| (key.as_bytes(), value(item)))),
        },
        other => panic!("{other} in a recording"),
    }
}

/// The commands that a recorded client asked for, in order.
fn recorded(trace: &str) -> Vec<CommandRequest> {
    let text = std::fs::read_to_string(examples().join("client-traces").join(trace)).unwrap();
    let requests = text
        .lines()
        .filter(|line| line.contains("type=command-request"));
    let request = |line: &str| {
        let (_, payload) = line.split_once("payload=").unwrap();
        let payload: Json = serde_json::from_str(payload).unwrap();
        let args = payload[0]["args"].as_object();
        let args = args.into_iter().flatten();
        let args: Args = args
            .map(|(name, item)| (name.as_bytes(), value(item)))
            .collect();
        CommandRequest::new(payload[0]["name"].as_str().unwrap(), args)
    };
    requests.map(request).collect()
}

async fn plan(client: &HgClient) -> (ClonePlan, Vec<CommandRequest>) {
    let plan = client.plan_clone(&Asking::default()).await.unwrap();
    let requests = (0..plan.requests()).map(|at| plan.request(at).unwrap());
    let requests = requests.collect();
    (plan, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_what_a_recorded_client_asked_for() {
    let world = World::recorded("sample-dothg", "[phases]\npublish = no\n");
    let client = HgClient::new(&serve(world.door()).await).unwrap();
    let (_, mut planned) = plan(&client).await;
    // A client sends `known` with the first one.
    planned.swap(1, 2);
    assert_eq!(planned, recorded("l-v2-clone.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_has_a_plan() {
    let world = World::empty();
    std::fs::create_dir_all(world.root()).unwrap();
    run(Command::new(hg()).arg("init").arg(world.root()));
    let client = HgClient::new(&serve(world.door()).await).unwrap();
    let (plan, requests) = plan(&client).await;
    assert_eq!((plan.changesets().len(), requests.len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_by_a_stock_client_finds_everything_made() {
    let (world, shelf, cache) = remembering(written());
    let url = serve(world.door()).await;
    let client = HgClient::new(&url).unwrap();
    let asking = Asking {
        encodings: vec![ContentEncoding::Zstd8mb],
        ..Asking::default()
    };
    let (_, requests) = plan(&client).await;
    for request in &requests {
        client.require(request, &asking, |_| {}).await.unwrap();
    }
    let [_, made, _] = counted(&cache);
    assert!(made >= 2, "manifests and files at least");
    stored(&shelf, usize::try_from(made).unwrap()).await;
    let before = counted(&cache);
    let clone = world.root().with_file_name("clone");
    let cloning = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(hg());
        command.env("HGPLAIN", "1").env("HGRCPATH", "/dev/null");
        for option in [
            "advertise-v2=true",
            "v2-encoder-order=zstd-8mb,zlib,identity",
        ] {
            let option = format!("experimental.httppeer.{option}");
            command.args(["--config", &option]);
        }
        run(command.args(["clone", "-U", &url]).arg(clone));
    });
    cloning.await.unwrap();
    let after = counted(&cache);
    assert_eq!(after, [before[0] + made, before[1], before[2]]);
}
