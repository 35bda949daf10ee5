//! WebSocket on any path.

use fingerpost_net::{Address, MESSAGE_BYTES_MAX};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::world::{PATIENCE, Plan};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(address: &Address, path: &str, origin: Option<&str>) -> Result<Socket, Error> {
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .expect("a request");
    if let Some(origin) = origin {
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a header value"));
    }
    let config = WebSocketConfig::default().max_frame_size(Some(8 << 20));
    connect_async_with_config(request, Some(config), true)
        .await
        .map(|(socket, _)| socket)
}

async fn next(socket: &mut Socket) -> Message {
    timeout(PATIENCE, socket.next())
        .await
        .expect("in time")
        .expect("a message")
        .expect("no error")
}

/// The code of the close frame, which must be next.
async fn close_code(socket: &mut Socket) -> u16 {
    match next(socket).await {
        Message::Close(Some(frame)) => frame.code.into(),
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test]
async fn a_path_that_the_door_does_not_take_is_not_found() {
    let world = Plan::default().start();
    let refused = open(&world.address, "/nowhere", None).await;
    let Err(Error::Http(response)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn every_path_upgrades() {
    let world = Plan::default().start();
    for path in ["/", "/a/b?c=d", "/healthz"] {
        let mut socket = open(&world.address, path, None).await.expect("an upgrade");
        socket
            .send(Message::text("hello"))
            .await
            .expect("connected");
        assert_eq!(next(&mut socket).await, Message::text("hello"));
    }
    let counted = r#"fingerpost_connections_total{protocol="websocket",transport="tcp"}"#;
    assert_eq!(world.metric(counted), 3);
    world.metric_becomes("fingerpost_connections_open", 0).await;
}

#[tokio::test]
async fn web_pages_are_refused_unless_listed() {
    let plan = Plan::with(|options| options.http.allowed_origins = vec!["https://ok".into()]);
    let world = plan.start();
    let Err(Error::Http(refusal)) = open(&world.address, "/", Some("https://evil")).await else {
        panic!("not refused")
    };
    assert_eq!(refusal.status(), 403);
    open(&world.address, "/", Some("https://ok"))
        .await
        .expect("an upgrade");
}

#[tokio::test]
async fn a_message_of_a_mebibyte_is_taken_and_one_byte_more_ends_with_1009() {
    let world = Plan::default().start();
    let mut socket = open(&world.address, "/", None).await.expect("an upgrade");
    let largest = "x".repeat(MESSAGE_BYTES_MAX);
    socket
        .send(Message::text(largest.clone()))
        .await
        .expect("connected");
    assert_eq!(next(&mut socket).await.len(), largest.len());
    socket
        .send(Message::text(largest + "x"))
        .await
        .expect("connected");
    assert_eq!(close_code(&mut socket).await, 1009);
    world
        .metric_becomes(r#"fingerpost_refused_total{reason="message_too_big"}"#, 1)
        .await;
}

#[tokio::test]
async fn fragments_are_counted_together() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let world = Plan::default().start();
    let mut socket = open(&world.address, "/", None).await.expect("an upgrade");
    for (part, kind) in [Data::Text, Data::Continue, Data::Continue]
        .into_iter()
        .enumerate()
    {
        let frame = Frame::message(vec![b'x'; 400_000], OpCode::Data(kind), part == 2);
        socket.send(Message::Frame(frame)).await.expect("connected");
    }
    assert_eq!(close_code(&mut socket).await, 1009);
}

#[tokio::test]
async fn a_peer_learns_its_code_while_it_is_still_sending() {
    let world = Plan::default().start();
    let mut socket = open(&world.address, "/", None).await.expect("an upgrade");
    socket
        .send(Message::text("x".repeat(6 << 20)))
        .await
        .expect("read to the end");
    assert_eq!(close_code(&mut socket).await, 1009);
}

#[tokio::test]
async fn stopping_closes_idle_sockets_with_1000_and_finishes_what_is_asked() {
    let world = Plan::default().start();
    let mut idle = open(&world.address, "/", None).await.expect("an upgrade");
    let mut busy = open(&world.address, "/", None).await.expect("an upgrade");
    busy.send(Message::text("slow")).await.expect("connected");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    world.shutdown.start();
    assert_eq!(close_code(&mut idle).await, 1000);
    assert_eq!(next(&mut busy).await, Message::text("slow"));
    assert_eq!(close_code(&mut busy).await, 1000);
    assert_eq!(world.ended().await, 0);
}
