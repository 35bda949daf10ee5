//! Who comes with TLS where there is none, and without where there must be.

use std::io;
use std::sync::Arc;

use fingerpost_net::TlsPolicy;
use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::authority::{Authority, shake};
use crate::tls::serve;
use crate::world::{Plan, World};

/// The log of this thread, which is the server's too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines_with(&self, sentence: &str) -> usize {
        let log = self.0.lock();
        let text = String::from_utf8_lossy(&log);
        text.lines().filter(|line| line.contains(sentence)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn refused(world: &World, reason: &str) -> u64 {
    world.metric(&format!("fingerpost_refused_total{{reason=\"{reason}\"}}"))
}

#[tokio::test]
async fn plain_lines_are_closed_counted_and_logged_once() {
    let (log, _logging) = Log::start();
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    for _ in 0..3 {
        let mut client = world.connect().await;
        client.send("OEHASHEQUIV 1.1\n\n").await;
        assert_eq!(client.rest().await, "");
    }
    assert_eq!(refused(&world, "plaintext_lines"), 3);
    let sentence = "BitBake speaks TLS only through wss:// or the agent; set tls = \"optional\" \
                    or add a second listener";
    assert_eq!(log.lines_with(sentence), 1);
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let mut asked = 0;
    for head in [
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /tls HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ] {
        // The server closes, although nobody asked it to.
        let answer = world.connect().await.http(head).await;
        assert!(
            answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nupgrade: TLS/1.2\r\n"), "{answer}");
        assert!(
            answer.contains("\r\nconnection: upgrade, close\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\n\r\nonly TLS is spoken on this port: "),
            "{answer}"
        );
        asked += 1;
        assert_eq!(refused(&world, "plaintext_http"), asked);
    }
}

#[tokio::test]
async fn below_v1_it_is_told_as_a_problem() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    for path in ["/v1/ping", "/ns/lab/v1/ping"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: build-1\r\n\r\n");
        let answer = world.connect().await.http(&head).await;
        for part in [
            "HTTP/1.1 426 ",
            "\r\ncontent-type: application/problem+json\r\n",
            "\r\nx-request-id: build-1\r\n",
            "\r\nupgrade: TLS/1.2\r\n",
            r#""status":426,"code":"tls-required","#,
            r#""request_id":"build-1"}"#,
        ] {
            assert!(answer.contains(part), "{part} in {answer}");
        }
    }
}

#[tokio::test]
async fn plain_http2_is_told_so_too() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy();
    let client = client
        .tls_backend_preconfigured(authority.client(None))
        .build()
        .expect("a client");
    let port = world.address.host_port().expect("TCP").1;
    let asked = client.get(format!("http://127.0.0.1:{port}/tls")).send();
    let answer = asked.await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (426, reqwest::Version::HTTP_2)
    );
}

#[tokio::test]
async fn tls_where_it_is_off_is_closed_counted_and_logged_once() {
    let (log, _logging) = Log::start();
    let authority = Authority::new();
    let world = Plan::default().start();
    for _ in 0..3 {
        assert!(shake(&world.address, authority.client(None)).await.is_err());
    }
    assert_eq!(refused(&world, "tls"), 3);
    let sentence = "TLS is off here; set tls.certificate and tls.key, and tls = \"optional\"";
    assert_eq!(log.lines_with(sentence), 1);
}
