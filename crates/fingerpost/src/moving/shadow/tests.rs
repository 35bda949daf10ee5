//! Scripted servers on both sides.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_net::{Address, BindOptions, Metrics, Server, ServerOptions, Shutdown, bind};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::door::ShadowDoor;
use super::tally::Tally;

const HELLO: &str = "OEHASHEQUIV 1.1\nneeds-headers: false\n\n";

/// A server that answers every line with the next of `answers`, and closes
/// after the last when `closes`.
async fn scripted(answers: &'static [&'static str], closes: bool) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                while lines
                    .next_line()
                    .await
                    .unwrap()
                    .is_some_and(|line| !line.is_empty())
                {}
                for answer in answers {
                    if lines.next_line().await.unwrap().is_none() {
                        return;
                    }
                    writer
                        .write_all(format!("{answer}\n").as_bytes())
                        .await
                        .unwrap();
                }
                if !closes {
                    let _ = lines.next_line().await;
                }
            });
        }
    });
    address
}

struct World {
    door: ShadowDoor,
    tally: Arc<Tally>,
    address: String,
}

async fn world(reference: Address, fingerpost: Address) -> World {
    let tally = Arc::new(Tally::new(10));
    let door = ShadowDoor::new(reference, fingerpost, Arc::clone(&tally));
    let listener = bind(&"127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let address = listener.client_address().to_string();
    let metrics = Arc::new(Metrics::new());
    let server = Server::new(
        door.clone(),
        ServerOptions::default(),
        metrics,
        Shutdown::new(),
    );
    tokio::spawn(server.listen(listener).run());
    World {
        door,
        tally,
        address,
    }
}

impl World {
    /// Sends `text`, and returns what comes back until the client hung up.
    async fn talk(&self, text: &str, expected: &str) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream
            .write_all(format!("{HELLO}{text}").as_bytes())
            .await
            .unwrap();
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }

    async fn summary(&self) -> String {
        tokio::time::timeout(Duration::from_secs(20), self.door.finish())
            .await
            .unwrap();
        self.tally.summary()
    }
}

#[tokio::test]
async fn clients_see_the_reference_and_differences_are_counted() {
    let reference = scripted(&["{\"alive\": true}", "null", "\"ok\"", "abc", "ok"], false).await;
    let fingerpost = scripted(
        &["{\"alive\":true}", "{\"x\": 1}", "\"ok\"", "", "ok"],
        false,
    )
    .await;
    let world = world(reference, fingerpost).await;
    let asked = "{\"ping\": {}}\n{\"get\": {}}\n{\"get-stream\": null}\nm t\nEND\n";
    let expected = "{\"alive\": true}\nnull\n\"ok\"\nabc\nok\n";
    world.talk(asked, expected).await;
    assert_eq!(
        world.summary().await,
        "get: 1 compared, 1 different\nget-stream: 1 compared, 0 different\nping: 1 compared, 0 different\n\
         stream end: 1 compared, 0 different\nstream line: 1 compared, 1 different\n2 differences\n"
    );
}

#[tokio::test]
async fn chunked_answers_are_compared_joined() {
    let reference = scripted(&["{\"chunk-stream\": null}\n{\"a\":\n 1}\n"], false).await;
    let fingerpost = scripted(&["{\"a\": 1}"], false).await;
    let world = world(reference, fingerpost).await;
    world
        .talk(
            "{\"get\": {}}\n",
            "{\"chunk-stream\": null}\n{\"a\":\n 1}\n\n",
        )
        .await;
    assert_eq!(
        world.summary().await,
        "get: 1 compared, 0 different\n0 differences\n"
    );
}

#[tokio::test]
async fn a_closed_connection_is_an_answer() {
    let reference = scripted(&["null"], true).await;
    let fingerpost = scripted(&["null", "null"], false).await;
    let world = world(reference, fingerpost).await;
    let mut stream = TcpStream::connect(&world.address).await.unwrap();
    let asked = format!("{HELLO}{{\"get\": {{}}}}\n{{\"remove\": {{}}}}\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert_eq!(answer, "null\n");
    assert_eq!(
        world.summary().await,
        "get: 1 compared, 0 different\nremove: 1 compared, 1 different\n1 differences\n"
    );
}

#[tokio::test]
async fn a_connection_that_only_fingerpost_closes_is_told() {
    let reference = scripted(&["null", "null"], false).await;
    let fingerpost = scripted(&["null"], true).await;
    let world = world(reference, fingerpost).await;
    world
        .talk("{\"get\": {}}\n{\"get\": {}}\n", "null\nnull\n")
        .await;
    let summary = world.summary().await;
    assert!(
        summary.starts_with("get: 2 compared, 1 different\n"),
        "{summary}"
    );
}

#[tokio::test]
async fn clients_do_not_notice_that_fingerpost_is_down() {
    let reference = scripted(&["null"], false).await;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let world = world(reference, nobody.to_string().parse().unwrap()).await;
    world.talk("{\"get\": {}}\n", "null\n").await;
    let summary = world.summary().await;
    assert_eq!(
        summary,
        "connections for which Fingerpost could not be reached: 1\n0 differences\n"
    );
}

#[tokio::test]
async fn clients_do_not_notice_that_fingerpost_never_reads() {
    let reference = echo().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fingerpost = silent.local_addr().unwrap().to_string().parse().unwrap();
    let world = world(reference, fingerpost).await;
    let mut stream = TcpStream::connect(&world.address).await.unwrap();
    stream.write_all(HELLO.as_bytes()).await.unwrap();
    let line = format!("{{\"get\": \"{}\"}}\n", "x".repeat(60_000));
    for _ in 0..600 {
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"null\n");
    }
    drop(stream);
    assert_eq!(
        world.summary().await,
        "connections whose comparison fell behind: 1\n0 differences\n"
    );
}

/// Answers `null` to every line behind the handshake.
async fn echo() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        while lines
            .next_line()
            .await
            .unwrap()
            .is_some_and(|line| !line.is_empty())
        {}
        while lines.next_line().await.unwrap().is_some() {
            writer.write_all(b"null\n").await.unwrap();
        }
    });
    address
}
