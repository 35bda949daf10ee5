//! Ways through a proxy.

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::peer::Authority;
use super::*;
use crate::client::request;
use crate::{Client, ClientOptions};

/// A proxy that opens ways to this host, whatever host is asked for, and keeps what it
/// was asked.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _running: JoinSet<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut running = JoinSet::new();
        let noted = Arc::clone(&asked);
        running.spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                ways.spawn(carry(stream, Arc::clone(&noted)));
            }
        });
        Self {
            port,
            asked,
            _running: running,
        }
    }

    /// The proxy as an environment names it.
    fn proxies(&self) -> Proxies {
        let url = format!("http://user:p%40ss@127.0.0.1:{}", self.port);
        Proxies::from_environment(|name| (name == "HTTPS_PROXY").then(|| url.clone()))
    }
}

async fn carry(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let authority = head.split(' ').nth(1).unwrap_or_default();
    let port = authority.rsplit(':').next().unwrap_or_default();
    let port: u16 = port.parse().unwrap_or_default();
    asked.lock().push(head);
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = stream.write_all(b"HTTP/1.1 200 Here you go\r\n\r\n").await;
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    }
}

#[tokio::test]
async fn a_server_is_reached_through_the_proxy_and_one_on_this_host_without() {
    let (proxy, authority) = (Proxy::start().await, Authority::new());
    let tls = authority.server(&["farm.example", "localhost"], false);
    let peer = Peer::start_tls(Manner::Good, tls).await;
    let client = |url: String| {
        HttpClient::new(HttpOptions {
            tls: Some(authority.trusted()),
            proxies: proxy.proxies(),
            ..options(&[url])
        })
        .unwrap()
    };
    let far = client(format!("https://farm.example:{}", peer.port));
    assert_eq!(look_up(&far, soon()).await, Ok(Some(unihash())));
    let asked = proxy.asked.lock().clone();
    let [head] = &asked[..] else {
        panic!("one way is opened: {asked:?}");
    };
    let head = head.to_ascii_lowercase();
    let expect = format!("connect farm.example:{} http/1.1\r\n", peer.port);
    assert!(head.starts_with(&expect), "{head}");
    // user:p@ss
    assert!(
        head.contains("proxy-authorization: basic dxnlcjpwqhnz\r\n"),
        "{head}"
    );
    assert!(peer.seen()[0].header("proxy-authorization").is_none());
    assert_eq!(
        look_up(&client(peer.url()), soon()).await,
        Ok(Some(unihash()))
    );
    assert_eq!(proxy.asked.lock().len(), 1);
}

#[tokio::test]
async fn a_websocket_is_opened_through_the_proxy() {
    let (proxy, authority) = (Proxy::start().await, Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = authority.server(&["farm.example"], false);
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tokio_rustls::TlsAcceptor::from(tls)
            .accept(stream)
            .await
            .unwrap();
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        pong(socket).await;
    });
    let address = format!("wss://farm.example:{port}").parse().unwrap();
    let mut client = Client::new(ClientOptions {
        tls: Some(authority.trusted()),
        proxies: proxy.proxies(),
        tries: 1,
        ..ClientOptions::to(address)
    });
    assert!(client.call(&request::ping()).await.unwrap().alive);
    let expect = format!(
        "CONNECT farm.example:{port} HTTP/1.1\r\nHost: farm.example:{port}\r\n\
         Proxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
    );
    assert_eq!(*proxy.asked.lock(), [expect]);
    drop(client);
    tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap();
}

/// Answers pings until the client goes.
async fn pong<IO>(mut socket: tokio_tungstenite::WebSocketStream<IO>)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use futures_util::{SinkExt as _, StreamExt as _};
    while let Some(Ok(message)) = socket.next().await {
        if message.to_text().is_ok_and(|text| text.contains("ping")) {
            let alive = "{\"alive\": true}".into();
            socket.send(alive).await.unwrap();
        }
    }
}
