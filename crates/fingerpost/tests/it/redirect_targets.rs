//! Targets in object storage, which checks every signature; and repositories that
//! not everybody may read.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{S3Server, Server};
use serde_json::json;

use crate::clones::Plan;
use crate::questions::{filesdata, nodes, redirected};

/// A store of this name in the server's bucket.
pub(crate) fn s3(name: &str, server: &S3Server) -> String {
    let options = S3Server::OPTIONS.map(|(key, value)| format!("{key} = '{value}'"));
    format!(
        "[cache.objects.{name}]\nurl = 's3://{}/fingerpost'\nendpoint = '{}'\noptions = {{ {} }}\n",
        S3Server::BUCKET,
        server.endpoint(),
        options.join(", ")
    )
}

/// Servers that share a store share this.
pub(crate) const SECRET: &str = "secret = 'a secret of more than 16 bytes'\n";

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_fetch_from_s3_by_signed_urls() -> Result<()> {
    let bucket = S3Server::start().await?;
    let plan = Plan::new().await?;
    let configuration = plan.memory_and_disk()
        + SECRET
        + &s3("s3", &bucket)
        + "[redirect.targets.s3]\nstock_clients = true\nobjects = 's3'\nkib_min = 1\n";
    let site = plan.start(&configuration).await?;
    site.advertises(&["s3"]).await?;
    site.fill_targets().await?;
    let redirects = site.count("redirects_total", "s3").await?;
    let inline = site.answers("inline_bytes").await?;
    for _ in 0..3 {
        site.clone_all().await?;
    }
    ensure!(site.count("redirects_total", "s3").await? == redirects + 9.0);
    ensure!(site.answers("inline_bytes").await? == inline);
    ensure!(site.count("redirects_failures_total", "s3").await? == 0.0);
    ensure!(site.count("redirects_published_total", "s3").await? == 3.0);

    // Ours is sent there too, for what travels compressed.
    let request = filesdata(&nodes(site.plan()).await?[..5], None);
    let url = redirected(&site, &request).await?;
    ensure!(url.starts_with(&bucket.endpoint()), "{url}");
    ensure!(url.contains("X-Amz-Signature="), "{url}");
    site.stop().await
}

/// Makes a user; its token.
pub(crate) async fn new_user(server: &Server, name: &str) -> Result<String> {
    let mut admin = server.login("admin", "secret").await?;
    let user = json!({"new-user": {"username": name, "permissions": ["@read"]}});
    let made = admin.ask(user).await?;
    let token = made["token"].as_str();
    Ok(token.with_context(|| made.to_string())?.to_owned())
}

/// Where anybody may fetch, and where `r` may not lie, before the target that is
/// checked. Probes are off: nobody serves it.
fn public_first(directory: &Path) -> String {
    format!(
        "[cache.objects.files]\nurl = 'file://{}'\n\
         [redirect.targets.public]\nstock_clients = true\nobjects = 'files'\n\
         url = 'http://127.0.0.1:9/'\npublic = true\nkib_min = 1\nprobe = false\n",
        directory.display()
    )
}

/// A repository that only alice reads goes to the target `signed`, by URLs that
/// contain `signature`, and never to the public one.
async fn is_signed(plan: Plan, signed: &str, signature: &str) -> Result<()> {
    let public = plan.farm.path("public");
    let configuration = plan.memory_and_disk()
        + SECRET
        + &public_first(&public)
        + signed
        + "priority = 1\nstock_clients = true\nkib_min = 1\n\
           [hg.rules]\nr = { read = ['alice'] }\n";
    let admin = |options: fingerpost_testkit::ServerOptions| options.admin("admin", "secret");
    let mut site = plan.start_with(&configuration, admin).await?;
    ensure!(site.clone_all().await.is_err(), "nobody may read it");
    site.log_in("alice", &new_user(&site.server, "alice").await?);
    site.advertises(&["public", "signed"]).await?;
    site.fill_targets().await?;
    let redirects = site.count("redirects_total", "signed").await?;
    ensure!(redirects >= 3.0);
    site.clone_all().await?;
    ensure!(site.count("redirects_total", "signed").await? == redirects + 3.0);

    let changesets = nodes(site.plan()).await?;
    for number in 0..3 {
        let request = filesdata(&changesets[number..number + 5], None);
        let url = redirected(&site, &request).await?;
        ensure!(url.contains(signature), "{url}");
    }
    ensure!(site.count("redirects_total", "public").await? == 0.0);
    ensure!(site.count("redirects_published_total", "public").await? == 0.0);
    let lies_open = std::fs::read_dir(public.join("answers"))?.count();
    ensure!(lies_open == 0, "{lies_open} things lie in public");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_has_presigned_urls() -> Result<()> {
    let bucket = S3Server::start().await?;
    let plan = Plan::new().await?;
    let signed = s3("s3", &bucket) + "[redirect.targets.signed]\nobjects = 's3'\n";
    is_signed(plan, &signed, "X-Amz-Signature=").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_has_signed_urls_of_ours() -> Result<()> {
    let plan = Plan::new().await?;
    let signed = format!("[redirect.targets.signed]\nurl = '{}'\n", plan.url());
    is_signed(plan, &signed, "&signature=").await
}
