//! Restarts on sockets that somebody else holds, as systemd's socket activation does
//! them: whoever connects meanwhile waits, and no request fails.

mod rolling;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Connection, Report, Server, Session};
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{eventually, farm, from_environment};

/// Between two restarts everybody asks so often at least.
const ASKED: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(30);
const REPORTERS: u64 = 3;
/// Reports that a reporter sends at once.
const PIPELINED: u64 = 6;

/// A listening socket on a free port, and its address.
fn socket() -> Result<(Arc<OwnedFd>, String)> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?.to_string();
    Ok((Arc::new(OwnedFd::from(socket)), address))
}

/// Somebody who asks until they are told to stop.
#[derive(Default)]
struct Client {
    stop: AtomicBool,
    asked: AtomicU64,
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn has_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a client asks who connects for each question.
#[derive(Clone, Copy)]
enum Way {
    Http,
    Lines,
    WebSocket,
}

async fn ask(way: Way, address: &str) -> Result<()> {
    let task = Report::new(1, 1);
    let mut session = match way {
        Way::Http => return ask_over_http(address, &task).await,
        Way::Lines => Session::open(address).await?,
        Way::WebSocket => Session::open(&format!("ws://{address}")).await?,
    };
    let get = json!({"get": {"method": task.method, "taskhash": task.taskhash}});
    session.ask(get).await?;
    Ok(())
}

async fn ask_over_http(address: &str, task: &Report) -> Result<()> {
    let mut lines = Connection::open(address).await?.into_lines()?;
    let path = format!("/v1/unihashes/{}/{}", task.method, task.taskhash);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    lines.send(request.as_bytes()).await?;
    let answer = String::from_utf8(lines.rest().await?)?;
    ensure!(answer.starts_with("HTTP/1.1 404 "), "{answer:?}");
    Ok(())
}

/// Connects for each question. None may fail.
async fn ask_again_and_again(
    way: Way,
    address: String,
    client: Arc<Client>,
) -> Result<Vec<Report>> {
    while client.goes_on() {
        ask(way, &address).await?;
        client.has_asked();
    }
    Ok(Vec::new())
}

/// Reports some at once over one connection, as long as that lasts. What was not
/// answered when it ended is asked once more, as BitBake does, and may not fail then.
async fn report_again_and_again(
    first: u64,
    address: String,
    client: Arc<Client>,
) -> Result<Vec<Report>> {
    let mut session = Session::open(&address).await?;
    let mut reported = Vec::new();
    for number in (first..).step_by(PIPELINED as usize) {
        if !client.goes_on() {
            break;
        }
        let batch: Vec<Report> = (number..number + PIPELINED)
            .map(|number| Report::new(number, number))
            .collect();
        let done = answers(&mut session, &batch).await;
        if done < batch.len() {
            session = Session::open(&address).await?;
            let again = answers(&mut session, &batch[done..]).await;
            ensure!(done + again == batch.len(), "a new connection was closed");
        }
        client.has_asked();
        reported.extend(batch);
    }
    Ok(reported)
}

/// Sends all, and counts the answers until the server closes.
async fn answers(session: &mut Session, batch: &[Report]) -> usize {
    for report in batch {
        if session.send(&report.request()).await.is_err() {
            break;
        }
    }
    let mut done = 0;
    while done < batch.len() && matches!(session.answer().await, Ok(Some(_))) {
        done += 1;
    }
    done
}

async fn are_stored(server: &Server, reported: &[Report]) -> Result<()> {
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    for report in reported {
        let unihash = session
            .line(&format!("TestMethod {}", report.taskhash))
            .await?;
        let task = &report.taskhash;
        ensure!(unihash == report.unihash, "{task} was answered and is lost");
    }
    Ok(())
}

/// Builders that connect for each question, and such that report over connections that
/// stay, all to one address.
struct Builders {
    asking: JoinSet<Result<Vec<Report>>>,
    clients: Vec<Arc<Client>>,
}

impl Builders {
    fn begin(address: &str) -> Self {
        let (mut asking, mut clients) = (JoinSet::new(), Vec::new());
        for way in [Way::Http, Way::Http, Way::Lines, Way::Lines, Way::WebSocket] {
            let client = Arc::new(Client::default());
            clients.push(client.clone());
            asking.spawn(ask_again_and_again(way, address.to_owned(), client));
        }
        for reporter in 1..=REPORTERS {
            let client = Arc::new(Client::default());
            clients.push(client.clone());
            let first = reporter * 1_000_000;
            asking.spawn(report_again_and_again(first, address.to_owned(), client));
        }
        Self { asking, clients }
    }

    /// Waits until everybody asked some more. Nobody may have failed.
    async fn ask_on(&mut self) -> Result<()> {
        let asked = |one: &Arc<Client>| one.asked.load(Ordering::Relaxed);
        let before: Vec<u64> = self.clients.iter().map(asked).collect();
        let all_asked = async || {
            let failed = self.asking.try_join_next();
            ensure!(failed.is_none(), "a client ended: {failed:?}");
            let mut pairs = self.clients.iter().zip(&before);
            Ok(pairs.all(|(one, before)| asked(one) >= before + ASKED))
        };
        eventually(PATIENCE, all_asked).await?;
        Ok(())
    }

    /// Ends them all, and gives what was reported and answered.
    async fn end(mut self) -> Result<Vec<Report>> {
        for client in &self.clients {
            client.stop.store(true, Ordering::Relaxed);
        }
        let mut reported = Vec::new();
        while let Some(done) = self.asking.join_next().await {
            reported.extend(done??);
        }
        ensure!(reported.len() as u64 >= REPORTERS * PIPELINED * ASKED);
        Ok(reported)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_no_answered_report_is_lost_over_restarts() -> Result<()> {
    let farm = farm();
    let (socket, address) = socket()?;
    let options = farm.server().socket("fingerpost.socket", &socket);
    let mut server = options.start().await?;
    ensure!(server.address() == address, "{}", server.log());

    let mut builders = Builders::begin(&address);
    for _ in 0..from_environment("FINGERPOST_RESTARTS", 6) {
        builders.ask_on().await?;
        let stopped = server.stop().await?;
        ensure!(stopped.status.success(), "{}", stopped.log);
        server = stopped.options.start().await?;
    }
    let reported = builders.end().await?;
    are_stored(&server, &reported).await
}

#[tokio::test]
async fn the_name_of_a_socket_says_which_listener_it_is() -> Result<()> {
    let farm = farm();
    let file = farm.path("fingerpost.toml");
    let text = "[server]\ntrusted_proxies = ['127.0.0.1']\n\
                [server.listeners.balancer]\nbind = ['127.0.0.1:1']\nproxy_protocol = true\n";
    std::fs::write(&file, text)?;
    let (balancer, proxied) = socket()?;
    let (metrics, probes) = socket()?;
    let options = farm.server().argument("--config").argument(&file);
    let options = options
        .socket("balancer", &balancer)
        .socket("metrics", &metrics);
    let server = options.start().await?;
    let listening = server.addresses();
    ensure!(
        listening.len() == 2 && listening[1] == proxied,
        "{listening:?}"
    );

    let request = "GET /v1/statistics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.1 127.0.0.1 4000 8686\r\n";
    for (address, header, expected) in [
        (listening[0].as_str(), "", "HTTP/1.1 200 "),
        (listening[0].as_str(), header, ""),
        (&proxied, "", ""),
        (&proxied, header, "HTTP/1.1 200 "),
        (&probes, "", "HTTP/1.1 404 "),
    ] {
        let mut lines = Connection::open(address).await?.into_lines()?;
        lines.send(format!("{header}{request}").as_bytes()).await?;
        let answer = String::from_utf8(lines.rest().await?)?;
        let fits = answer.starts_with(expected) && answer.is_empty() == expected.is_empty();
        ensure!(fits, "{address} {header:?}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_whose_name_means_nothing_is_refused() -> Result<()> {
    let (farm, (socket, _)) = (farm(), socket()?);
    let refused = farm.server().socket("bilders", &socket).start().await;
    let why = refused.err().context("the server started")?.to_string();
    ensure!(why.contains("FileDescriptorName=bilders"), "{why}");
    ensure!(why.contains("exit status: 78"), "{why}");
    Ok(())
}
