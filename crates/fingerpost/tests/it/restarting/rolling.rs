//! Updates of instances over PostgreSQL one after the other, as a cluster does them: one
//! is taken out of the service, goes on for a while, is stopped, and a new one comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{PostgresCluster, Server};
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Builders, are_stored};
use crate::world::{farm, from_environment};

/// How long an instance goes on that is in the service no more.
const PAUSE: Duration = Duration::from_millis(100);
const INSTANCES: usize = 2;

/// What gives each new connection to the next of the instances that are ready, and lets
/// those that are open be.
struct Balancer {
    address: String,
    ready: Arc<Mutex<VecDeque<String>>>,
    // Ends with the balancer.
    _accepting: JoinSet<()>,
}

impl Balancer {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let ready = Arc::<Mutex<VecDeque<String>>>::default();
        let mut accepting = JoinSet::new();
        let instances = ready.clone();
        accepting.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let mut instances = instances.lock();
                instances.rotate_left(1);
                let instance = instances.front().cloned().unwrap_or_default();
                passing.spawn(pass(client, instance));
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            ready,
            _accepting: accepting,
        })
    }

    fn add(&self, server: &Server) {
        self.ready.lock().push_back(server.address().to_owned());
    }

    fn remove(&self, server: &Server) {
        self.ready.lock().retain(|one| one != server.address());
    }
}

async fn pass(mut client: TcpStream, instance: String) {
    if let Ok(mut server) = TcpStream::connect(&instance).await {
        // Either side may close in the middle.
        _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_instances_are_updated_one_by_one() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let database = cluster.fresh_database()?;
    let (farm, balancer) = (farm(), Balancer::start().await?);
    let mut servers = VecDeque::new();
    for _ in 0..INSTANCES {
        let server = farm.server().database(&database).start().await?;
        balancer.add(&server);
        servers.push_back(server);
    }

    let mut builders = Builders::begin(&balancer.address);
    for _ in 0..from_environment("FINGERPOST_RESTARTS", 6) {
        builders.ask_on().await?;
        // The new one is ready before an old one goes.
        let new = farm.server().database(&database).start().await?;
        balancer.add(&new);
        servers.push_back(new);
        let Some(old) = servers.pop_front() else {
            break;
        };
        balancer.remove(&old);
        sleep(PAUSE).await;
        let stopped = old.stop().await?;
        ensure!(stopped.status.success(), "{}", stopped.log);
        ensure!(!stopped.log.contains("ERROR"), "{}", stopped.log);
    }
    let reported = builders.end().await?;
    for server in &servers {
        are_stored(server, &reported).await?;
    }
    Ok(())
}
