//! nginx where clients are sent: with a directory of answers over TLS, and as a
//! cache before the server's own endpoint.

use anyhow::{Result, ensure};
use fingerpost_testkit::{Certificates, Nginx, free_port};

use crate::clones::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn nginx_serves_a_directory_of_answers_over_tls() -> Result<()> {
    let mut plan = Plan::new().await?;
    let (files, port) = (plan.farm.path("files"), free_port()?);
    let Certificates {
        authority,
        certificate,
        key,
        ..
    } = Certificates::make(plan.farm.directory())?;
    let nginx = Nginx::start(
        port,
        &format!(
            "server {{\nlisten 127.0.0.1:{port} ssl;\nserver_name localhost;\n\
             ssl_certificate {};\nssl_certificate_key {};\n\
             ssl_protocols TLSv1.2 TLSv1.3;\nroot {}/answers;\n\
             default_type application/mercurial-cbor;\n}}",
            certificate.display(),
            key.display(),
            files.display()
        ),
    )?;
    let configuration = plan.memory_and_disk()
        + &format!(
            "secret = 'a secret of more than 16 bytes'\n\
             [cache.objects.files]\nurl = 'file://{}'\n\
             [redirect.targets.nginx]\nstock_clients = true\nobjects = 'files'\n\
             url = 'https://localhost:{port}/'\npublic = true\nkib_min = 1\n\
             tls_versions = ['1.2', '1.3']\nsni_required = true\n\
             authority_certificates = '{}'\n",
            files.display(),
            authority.display()
        );
    plan.hg = plan.hg.set("web.cacerts", &authority);
    let site = plan.start(&configuration).await?;
    site.advertises(&["nginx"]).await?;
    site.fill_targets().await?;
    let (redirects, fetched) = (
        site.count("redirects_total", "nginx").await?,
        fetched(&nginx),
    );
    site.clone_all().await?;
    ensure!(site.count("redirects_total", "nginx").await? == redirects + 3.0);
    ensure!(self::fetched(&nginx) == fetched + 3);
    site.stop().await?;
    nginx.stop()
}

/// Answers that stock clients got whole from it.
fn fetched(nginx: &Nginx) -> usize {
    let log = nginx.access_log();
    let ours = |line: &&str| line.contains("\" 200 ") && line.contains("Mercurial");
    log.lines().filter(ours).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_before_the_servers_own_endpoint_fetches_each_answer_once() -> Result<()> {
    let plan = Plan::new().await?;
    let port = free_port()?;
    let nginx = Nginx::start(
        port,
        &format!(
            "proxy_cache_path DIR/cache keys_zone=answers:1m max_size=1g inactive=1h;\n\
             server {{\nlisten 127.0.0.1:{port};\nlocation /content/ {{\n\
             proxy_pass {};\nproxy_cache answers;\nproxy_cache_lock on;\n}}\n}}",
            plan.url()
        ),
    )?;
    // Without probes, which are requests too.
    let target = Plan::own_target(&format!("http://127.0.0.1:{port}")) + "probe = false\n";
    let configuration = plan.memory_and_disk() + &target;
    let site = plan.start(&configuration).await?;
    site.fill_targets().await?;
    for _ in 0..10 {
        site.clone_all().await?;
    }
    let redirects = site.count("redirects_total", "own").await?;
    ensure!(redirects >= 33.0, "{redirects} redirects");
    ensure!(fetched(&nginx) as f64 == redirects);
    let served = site.count("content_requests_total", "").await?;
    // URLs are others every six hours, which may be now.
    let is_once = served == 3.0 || served == 6.0;
    ensure!(is_once, "the server served {served} of {redirects}");
    site.stop().await?;
    nginx.stop()
}
