//! A repository that needs a login beside one that everybody may read, and a
//! place that serves whatever lies in it to everybody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use fingerpost_hg_front::client::HgClient;
use fingerpost_testkit::{Hg, Nginx, Shape, free_port};

use crate::clones::{Plan, Site};
use crate::questions::{Node, ask, filesdata, nodes_of};
use crate::redirect_targets::{SECRET, new_user};
use crate::store_faults::SHAPE;

/// Other commits than the open repository has.
const PRIVATE: Shape = Shape {
    commits: 10,
    files: 6,
};
/// So often everything is asked for; the second time fills targets, in the
/// background.
const TIMES: usize = 3;

/// A server with the open repository `r`, and one that only alice reads.
struct World {
    site: Site,
    /// Serves what lies in `open`.
    nginx: Nginx,
    open: PathBuf,
    private: PathBuf,
    /// Where alice reaches the private one, and where nobody does.
    alice: String,
    anonymous: String,
}

impl World {
    /// With a target that is public, the first of all, and more of them.
    async fn new(more_targets: impl FnOnce(&Plan) -> String) -> Result<Self> {
        let plan = Plan::of(SHAPE).await?;
        let (hidden, files) = (plan.farm.path("hidden"), plan.farm.path("files"));
        let private = plan.hg.repository(&hidden, PRIVATE).await?;
        let name = private.file_name().and_then(|name| name.to_str());
        let path = format!("private/{}", name.context("it has a name")?);
        let (open, port) = (files.join("answers"), free_port()?);
        let nginx = Nginx::start(
            port,
            &format!(
                "server {{\nlisten 127.0.0.1:{port};\nroot {};\n}}",
                open.display()
            ),
        )?;
        let configuration = plan.memory_and_disk()
            + SECRET
            + &format!(
                "[cache.objects.files]\nurl = 'file://{}'\n\
                 [redirect]\nprobe_ms = 100\n\
                 [redirect.targets.public]\nstock_clients = true\nobjects = 'files'\n\
                 public = true\nurl = 'http://127.0.0.1:{port}/'\nkib_min = 1\n\
                 [hg.collections]\nprivate = '{}'\n\
                 [hg.rules]\n'{path}' = {{ read = ['alice'] }}\n",
                files.display(),
                hidden.display()
            )
            + &more_targets(&plan);
        let admin = |options: fingerpost_testkit::ServerOptions| options.admin("admin", "secret");
        let site = plan.start_with(&configuration, admin).await?;
        let (token, host) = (
            new_user(&site.server, "alice").await?,
            site.server.host_and_port(),
        );
        Ok(Self {
            alice: format!("http://alice:{token}@{host}/{path}"),
            anonymous: format!("http://{host}/{path}"),
            site,
            nginx,
            open,
            private,
        })
    }

    fn hg(&self) -> &Hg {
        &self.site.plan().hg
    }

    /// Alice clones, everything is there, and nobody else can; then our client asks
    /// for her, all of it several times. The URLs that she was sent to.
    async fn use_private(&self) -> Result<Vec<String>> {
        let whole = self.hg().verify(&self.private).await?;
        let clone = self.site.plan().farm.path("private-clone");
        let changesets = nodes_of(self.hg(), &self.private).await?;
        let request = filesdata(&changesets[..5], None);
        let (alice, anyone) = (HgClient::new(&self.alice)?, HgClient::new(&self.anonymous)?);
        let mut urls = Vec::new();
        for _ in 0..TIMES {
            ensure!(self.hg().clone(&self.alice, &clone).await? == whole);
            std::fs::remove_dir_all(&clone)?;
            let told = ask(&alice, &request).await?;
            urls.extend(told.redirects.into_iter().map(|redirect| redirect.url));
            ensure!(ask(&anyone, &request).await.is_err(), "nobody may read it");
        }
        ensure!(self.hg().clone(&self.anonymous, &clone).await.is_err());
        Ok(urls)
    }

    /// What lies in the public place, by name.
    fn lying_open(&self) -> Result<BTreeSet<PathBuf>> {
        let files = std::fs::read_dir(&self.open)?;
        files.map(|file| Ok(file?.path())).collect()
    }

    /// Whether a changeset is told of in the public place, where answers are plain.
    fn tells_of(&self, node: &Node) -> Result<bool> {
        for file in self.lying_open()? {
            let bytes = std::fs::read(file)?;
            if bytes.windows(node.len()).any(|part| part == node) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn tip(&self, repository: &Path) -> Result<Node> {
        let nodes = nodes_of(self.hg(), repository).await?;
        nodes.into_iter().next().context("it has commits")
    }

    /// The private repository is used before the open one and after it. The URLs
    /// that were handed out for it, none of which is of the public place.
    async fn check(&self) -> Result<Vec<String>> {
        let redirects = async || self.site.count("redirects_total", "public").await;
        let mut urls = self.use_private().await?;
        let at_first = self.lying_open()?;
        ensure!(at_first.len() == 1, "more than the probe: {at_first:?}");
        ensure!(redirects().await? == 0.0);

        self.site.fill_targets().await?;
        let before = redirects().await?;
        self.site.clone_all().await?;
        ensure!(
            redirects().await? == before + 3.0,
            "the open one goes there"
        );
        let fetched = self.nginx.access_log();
        ensure!(fetched.contains("\" 200 ") && fetched.contains("Mercurial"));
        let filled = self.lying_open()?;
        ensure!(filled.len() == 4, "{filled:?}");
        ensure!(self.tells_of(&self.tip(&self.site.plan().repository).await?)?);

        urls.extend(self.use_private().await?);
        ensure!(redirects().await? == before + 3.0);
        ensure!(self.lying_open()? == filled);
        ensure!(!self.tells_of(&self.tip(&self.private).await?)?);
        Ok(urls)
    }

    async fn stop(self) -> Result<()> {
        self.site.stop().await?;
        self.nginx.stop()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_is_sent_inline_beside_a_public_target() -> Result<()> {
    let world = World::new(|_| String::new()).await?;
    world.site.advertises(&["public"]).await?;
    let urls = world.check().await?;
    ensure!(urls.is_empty(), "{urls:?}");
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_has_signed_urls_beside_a_public_target() -> Result<()> {
    let signed = |plan: &Plan| {
        format!(
            "[redirect.targets.signed]\nstock_clients = true\nurl = '{}'\npriority = 1\n\
             kib_min = 1\n",
            plan.url()
        )
    };
    let world = World::new(signed).await?;
    world.site.advertises(&["public", "signed"]).await?;
    let urls = world.check().await?;
    ensure!(!urls.is_empty());
    ensure!(world.site.count("redirects_total", "signed").await? >= 3.0);
    for url in urls {
        ensure!(url.contains("&signature="), "{url}");
    }
    world.stop().await
}
