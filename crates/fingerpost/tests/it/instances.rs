//! Several instances on one PostgreSQL, killed while builders report.

mod kills;
mod pairs;
mod shelves;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{PostgresCluster, Server, Session, TestFarm, free_port};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::world::{farm, no_panic};

/// The longest wait for an answer, over as many connections as that takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(10);
/// The connections of all instances, also of those that were just killed, are fewer
/// than the cluster of the tests takes.
const CONNECTIONS: &str = "8";

/// Running instances. Each keeps its address when it is started again.
struct Instances {
    farm: TestFarm,
    servers: Vec<Server>,
}

impl Instances {
    /// Starts one on each of the databases, which may all be the same.
    async fn start(databases: &[&str]) -> Result<Self> {
        let mut all = Self {
            farm: farm(),
            servers: Vec::new(),
        };
        for database in databases {
            all.add(database, &[]).await?;
        }
        Ok(all)
    }

    /// Starts a further one with some settings of its own.
    async fn add(&mut self, database: &str, settings: &[(&str, &str)]) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut options = self.farm.server().database(database);
        options = options
            .bind(address.to_string())
            .set("postgresql.connections", CONNECTIONS);
        for (key, value) in settings {
            options = options.set(key, value);
        }
        self.servers.push(options.start().await?);
        Ok(())
    }

    fn addresses(&self) -> Vec<String> {
        let addresses = self.servers.iter().map(|one| one.address().to_owned());
        addresses.collect()
    }

    /// Kills one without a warning and starts it again after `down`.
    async fn kill(&mut self, index: usize, down: Duration) -> Result<()> {
        let options = self.servers.remove(index).kill().await?;
        sleep(down).await;
        self.servers.insert(index, options.start().await?);
        Ok(())
    }

    fn no_panic(&self) -> Result<()> {
        self.servers.iter().try_for_each(no_panic)
    }
}

/// A builder's way to one instance: connects again whenever it is cut off.
struct Client {
    address: String,
    session: Option<Session>,
    /// Attempts that ended before the last answer, those to connect too.
    repeated: u64,
}

impl Client {
    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            session: None,
            repeated: 0,
        }
    }

    /// Sends all requests at once and gives their answers. What was not answered when
    /// the connection ended is asked again on the next one, as BitBake does, for at
    /// most [`PATIENCE`] after the last answer.
    async fn ask_all(&mut self, requests: &[String]) -> Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut last_answer = Instant::now();
        loop {
            let before = answers.len();
            let cut = self.go_on(requests, &mut answers).await.err();
            if answers.len() == requests.len() {
                return Ok(answers);
            }
            self.session = None;
            self.repeated += 1;
            if answers.len() > before {
                last_answer = Instant::now();
            } else if last_answer.elapsed() > PATIENCE {
                let request = &requests[before];
                let cut = cut.context("the server closed")?;
                return Err(cut.context(format!("no answer in {PATIENCE:?} to {request}")));
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks what is not answered yet, until all is or the connection ends.
    async fn go_on(&mut self, requests: &[String], answers: &mut Vec<Value>) -> Result<()> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.address).await?),
        };
        let waiting = &requests[answers.len()..];
        session.send_item(&waiting.join("\n")).await?;
        for _ in waiting {
            let answer = session.answer().await?;
            answers.push(answer.context("the server closed")?);
        }
        Ok(())
    }
}

/// The server keeps what it answered, and says so itself.
fn is_durable(cluster: &PostgresCluster, database: &str) -> Result<()> {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value = cluster.sql(database, &format!("SHOW {setting}"))?;
        ensure!(value == "on", "{setting} is {value}");
    }
    Ok(())
}
