//! A server of repositories, and stock clients that clone from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fingerpost_hg_front::client::HgClient;
use fingerpost_testkit::{Hg, Server, ServerOptions, Shape, TestFarm, free_port};
use tokio::time::Instant;

use crate::world::{self, http, no_panic};

/// What a clone asks for that is remembered.
pub(crate) const COMMANDS: [&str; 3] = ["changesetdata", "filesdata", "manifestdata"];
/// The longest wait for something that happens behind the clones.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is about to be started.
pub(crate) struct Plan {
    pub(crate) farm: TestFarm,
    pub(crate) hg: Hg,
    /// Served as `r`.
    pub(crate) repository: PathBuf,
    pub(crate) port: u16,
    shape: Shape,
}

impl Plan {
    /// With a repository whose answers have some MB together.
    pub(crate) async fn new() -> Result<Self> {
        Self::of(Shape::default()).await
    }

    /// With a repository of this shape.
    pub(crate) async fn of(shape: Shape) -> Result<Self> {
        let hg = Hg::installed()?;
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Ok(Self {
            farm: world::farm(),
            repository: hg.repository(shared, shape).await?,
            hg,
            port: free_port()?,
            shape,
        })
    }

    /// Where clients reach the server.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The start of a configuration with a store in memory and one on disk.
    pub(crate) fn memory_and_disk(&self) -> String {
        let disk = self.farm.path("answers");
        format!(
            "[cache]\nmemory_mib = 64\ndisk_directory = '{}'\n",
            disk.display()
        )
    }

    /// A target that is this server, at `url`.
    pub(crate) fn own_target(url: &str) -> String {
        format!(
            "[redirect]\nprobe_ms = 100\n\
             [redirect.targets.own]\nstock_clients = true\nurl = '{url}'\nkib_min = 1\n"
        )
    }

    /// Starts the server with a configuration, to which the repository is added.
    pub(crate) async fn start(self, configuration: &str) -> Result<Site> {
        self.start_with(configuration, |options| options).await
    }

    /// Starts it with more options.
    pub(crate) async fn start_with(
        self,
        configuration: &str,
        change: impl FnOnce(ServerOptions) -> ServerOptions,
    ) -> Result<Site> {
        let path = self.farm.path("fingerpost.toml");
        let (data, repository) = (self.farm.path("data"), self.repository.display());
        let text = format!(
            "{configuration}\n[server]\ndata_dir = '{}'\n[hg.repositories]\nr = '{repository}'\n",
            data.display()
        );
        std::fs::write(&path, text)?;
        let options = self.farm.server();
        let options = options
            .bind(format!("127.0.0.1:{}", self.port))
            .argument("--config")
            .argument(path);
        let server = change(options).start().await?;
        let whole = self.hg.verify(&self.repository).await?;
        Ok(Site {
            server,
            repository_url: format!("{}/r", self.url()),
            whole: Arc::new(whole),
            clones: Arc::default(),
            plan: Arc::new(self),
        })
    }
}

/// A server and what is cloned from it.
pub(crate) struct Site {
    pub(crate) server: Server,
    plan: Arc<Plan>,
    repository_url: String,
    /// What `hg verify` says of the repository.
    whole: Arc<String>,
    clones: Arc<AtomicU64>,
}

/// Clones, wherever it is moved to.
#[derive(Clone)]
pub(crate) struct Cloner {
    plan: Arc<Plan>,
    repository_url: String,
    whole: Arc<String>,
    clones: Arc<AtomicU64>,
}

impl Site {
    pub(crate) fn cloner(&self) -> Cloner {
        Cloner {
            repository_url: self.repository_url.clone(),
            plan: Arc::clone(&self.plan),
            whole: Arc::clone(&self.whole),
            clones: Arc::clone(&self.clones),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Clients log in from now on.
    pub(crate) fn log_in(&mut self, user: &str, token: &str) {
        let host = self.server.host_and_port();
        self.repository_url = format!("http://{user}:{token}@{host}/r");
    }

    /// A stock client clones, and everything is there.
    pub(crate) async fn clone_all(&self) -> Result<()> {
        let cloner = self.cloner();
        cloner.clone_all().await
    }

    /// Our client of the repository.
    pub(crate) fn client(&self) -> Result<HgClient> {
        Ok(HgClient::new(&self.repository_url)?)
    }

    /// The targets that clients are told of.
    pub(crate) async fn advertised(&self) -> Result<Vec<String>> {
        let handshake = self.client()?.handshake().await?;
        let offer = handshake.redirect_offer();
        let targets = offer.map(|offer| offer.targets).unwrap_or_default();
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Ok(targets.iter().map(|target| name(&target.name)).collect())
    }

    /// Waits until clients are told of exactly these targets; how long it took.
    pub(crate) async fn advertises(&self, targets: &[&str]) -> Result<Duration> {
        let waiting = world::eventually(PATIENCE, async || Ok(self.advertised().await? == targets));
        waiting.await.with_context(|| {
            format!(
                "clients are not told of {targets:?}:\n{}",
                self.server.log()
            )
        })
    }

    /// The sum of a metric over its labels that contain `label`.
    pub(crate) async fn count(&self, name: &str, label: &str) -> Result<f64> {
        self.count_of(name, &[label]).await
    }

    /// The sum of a metric over its labels that contain all of `labels`.
    pub(crate) async fn count_of(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let page = http(&self.server, request).await?;
        // Up to the end of the name: others begin with the same words.
        let names = ["{", " "].map(|end| format!("fingerpost_{name}{end}"));
        let fits = |line: &&str| {
            names.iter().any(|name| line.starts_with(name))
                && labels.iter().all(|label| line.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(page.lines().filter(fits).filter_map(value).sum())
    }

    /// Answers of a kind so far, for each of [`COMMANDS`].
    pub(crate) async fn answers(&self, kind: &str) -> Result<[f64; 3]> {
        let mut counts = [0.0; 3];
        for (count, command) in counts.iter_mut().zip(COMMANDS) {
            *count = self
                .count(&format!("answers_{kind}_total"), command)
                .await?;
        }
        Ok(counts)
    }

    /// Clones until all three answers of a clone lie at the targets.
    pub(crate) async fn fill_targets(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let before = self.answers("redirected").await?;
            self.clone_all().await?;
            let after = self.answers("redirected").await?;
            if before
                .iter()
                .zip(after)
                .all(|(before, after)| after > *before)
            {
                return Ok(());
            }
            let log = self.server.log();
            ensure!(began.elapsed() < PATIENCE, "{after:?} redirected:\n{log}");
        }
    }

    /// Stops the server, which has not panicked.
    pub(crate) async fn stop(self) -> Result<()> {
        no_panic(&self.server)?;
        let stopped = self.server.stop().await?;
        ensure!(!stopped.log.contains("panicked"), "{}", stopped.log);
        ensure!(stopped.status.success(), "{}", stopped.log);
        Ok(())
    }
}

impl Cloner {
    /// A stock client clones, and everything is there.
    pub(crate) async fn clone_all(&self) -> Result<()> {
        self.clone_from(&self.plan.hg, &self.repository_url).await
    }

    /// A client with settings of its own clones from `url`.
    pub(crate) async fn clone_from(&self, hg: &Hg, url: &str) -> Result<()> {
        let number = self.clones.fetch_add(1, Ordering::Relaxed);
        let path = self.plan.farm.path(&format!("clone-{number}"));
        let found = hg.clone(url, &path).await?;
        ensure!(found == *self.whole, "{found} instead of {}", self.whole);
        ensure!(found.contains(&format!(" {} changesets", self.plan.shape.commits)));
        std::fs::remove_dir_all(&path)?;
        Ok(())
    }
}
