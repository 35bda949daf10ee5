//! `fingerpost doctor` as a user runs it, against real servers and what is worse.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fingerpost_testkit::{Certificates, Server, TestFarm, Transport};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{eventually, farm};

const PATIENCE: Duration = Duration::from_secs(60);
/// Several steps of a second, on a machine that does other things.
const BOUND: Duration = Duration::from_secs(20);
const SECRET: &str = "hunter2-of-the-farm";

/// A build host: a home, and what `bitbake -e` prints there.
struct Host {
    farm: TestFarm,
    environment: Vec<(&'static str, PathBuf)>,
}

/// What the program printed as JSON and as text, and its exit code.
struct Said {
    findings: Vec<Value>,
    everything: String,
    code: i32,
}

impl Host {
    fn new(farm: &TestFarm) -> Self {
        Self {
            farm: farm.clone(),
            environment: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: &Path) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Runs it twice, once for each form.
    async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let (json, code) = self.once(&[arguments, &["--json"]].concat()).await?;
        let (text, again) = self.once(arguments).await?;
        ensure!(code == again, "{code} and {again}:\n{text}");
        let findings = serde_json::from_str(&json).with_context(|| json.clone())?;
        Ok(Said {
            findings,
            everything: json + &text,
            code,
        })
    }

    async fn once(&self, arguments: &[&str]) -> Result<(String, i32)> {
        let mut command = Command::new(self.farm.binary());
        command
            .arg("doctor")
            .args(arguments)
            .current_dir(self.farm.directory())
            .env_clear()
            .env("HOME", self.farm.directory())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await??;
        let text = String::from_utf8(output.stdout)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(error.is_empty(), "{error}");
        Ok((text, output.status.code().context("killed")?))
    }

    /// Checks what `bitbake -e` prints with these variables.
    async fn build(&self, variables: &[(&str, &str)]) -> Result<Said> {
        let usual = [
            ("BB_SIGNATURE_HANDLER", "OEEquivHash"),
            ("BB_VERSION", "2.19.0"),
            ("TOPDIR", "/build"),
        ];
        let lines = [&usual, variables].concat();
        let lines = lines.iter().map(|(name, value)| {
            format!("#\n# ${name}\n#   set somewhere\n#     \"{value}\"\n{name}=\"{value}\"\n")
        });
        let path = self.farm.path("bitbake-e");
        std::fs::write(&path, lines.collect::<String>())?;
        self.run(&["--bitbake-env", path.to_str().context("a path in UTF-8")?])
            .await
    }
}

impl Said {
    /// The state and the sentence of a check.
    fn of(&self, id: &str) -> Result<(&str, &str)> {
        let found = self.findings.iter().find(|finding| finding["id"] == id);
        let found = found.with_context(|| format!("nothing of {id}: {}", self.everything))?;
        let text = |name: &str| found[name].as_str().context("no text");
        Ok((text("state")?, text("says")?))
    }

    fn ensure(&self, id: &str, state: &str, words: &str) -> Result<()> {
        let (found, says) = self.of(id)?;
        ensure!(
            found == state && says.contains(words),
            "{id} is not {state} with {words:?}:\n{}",
            self.everything
        );
        Ok(())
    }
}

const MIRROR: (&str, &str) = (
    "SSTATE_MIRRORS",
    "file://.* https://sstate.example.com/PATH;downloadfilename=PATH",
);

#[tokio::test]
async fn nothing_is_wrong_with_a_server_that_answers() -> Result<()> {
    let farm = farm();
    let server = farm.server().start().await?;
    let said = Host::new(&farm)
        .build(&[("BB_HASHSERVE", server.address()), MIRROR])
        .await?;
    ensure!(said.code == 0, "{}", said.everything);
    ensure!(
        said.everything.ends_with("\nNothing is wrong.\n"),
        "{}",
        said.everything
    );
    let version = format!("Fingerpost {}", env!("CARGO_PKG_VERSION"));
    said.ensure("server", "ok", &version)?;
    said.ensure("permissions", "ok", "look up and report")?;
    said.ensure("clock", "ok", "from the server's")?;
    said.ensure("pairing", "ok", "")?;
    no_complaint(&server)
}

/// The questions are none that a server would log as an attack or a failure.
fn no_complaint(server: &Server) -> Result<()> {
    let log = server.log();
    ensure!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_server_alone_is_checked_by_its_address() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .transport(Transport::WebSocket)
        .start()
        .await?;
    let said = Host::new(&farm)
        .run(&["--server", server.address()])
        .await?;
    ensure!(said.code == 0, "{}", said.everything);
    said.ensure("session", "ok", "pinged")?;
    said.ensure("handler", "not-checked", "")?;
    said.ensure("pairing", "not-checked", "")
}

#[tokio::test]
async fn readers_and_strangers_are_told_apart() -> Result<()> {
    let farm = farm();
    let reading = farm.server().anonymous("@read").start().await?;
    let host = Host::new(&farm);
    let said = host.run(&["--server", reading.address()]).await?;
    ensure!(said.code == 0, "{}", said.everything);
    said.ensure("permissions", "warning", "give the caller @report")?;
    let read_only = farm.server().read_only().start().await?;
    let said = host.run(&["--server", read_only.address()]).await?;
    said.ensure("permissions", "warning", "is read-only")?;
    let closed = farm.server().anonymous("@none").start().await?;
    let said = host.run(&["--server", closed.address()]).await?;
    ensure!(said.code == 1);
    said.ensure("permissions", "problem", "give the caller @read")
}

/// It is read only, as the one that everybody may ask is.
#[tokio::test]
async fn an_upstream_need_not_take_reports() -> Result<()> {
    let farm = farm();
    let reading = farm.server().anonymous("@read").start().await?;
    let upstream = ("BB_HASHSERVE_UPSTREAM", reading.address());
    let said = Host::new(&farm)
        .build(&[("BB_HASHSERVE", "auto"), upstream, MIRROR])
        .await?;
    said.ensure("permissions", "ok", "of an upstream")?;
    ensure!(
        said.everything.ends_with("\nNothing is wrong.\n"),
        "{}",
        said.everything
    );
    Ok(())
}

#[tokio::test]
async fn logins_are_tried_and_no_password_is_shown() -> Result<()> {
    let farm = farm();
    let options = farm.server().admin("builder", SECRET).anonymous("@none");
    let server = options.start().await?;
    let host = Host::new(&farm);
    let username = ("BB_HASHSERVE_USERNAME", "builder");
    let address = ("BB_HASHSERVE", server.address());
    let password = ("BB_HASHSERVE_PASSWORD", SECRET);
    let said = host.build(&[address, username, password, MIRROR]).await?;
    ensure!(
        said.code == 0 && !said.everything.contains(SECRET),
        "{}",
        said.everything
    );
    said.ensure("login", "ok", "logged in as builder with @all")?;
    said.ensure("permissions", "ok", "look up and report")?;
    said.ensure("waits", "warning", "without end")?;

    let wrong = ("BB_HASHSERVE_PASSWORD", "hunter2-another");
    let said = host.build(&[address, username, wrong, MIRROR]).await?;
    ensure!(
        said.code == 1 && !said.everything.contains("hunter2"),
        "{}",
        said.everything
    );
    said.ensure("login", "problem", "the login as builder is refused")?;
    said.ensure("permissions", "not-checked", "")?;

    let netrc = farm.path(".netrc");
    let line = format!(
        "machine {} login builder password {SECRET}\n",
        server.address()
    );
    std::fs::write(&netrc, line)?;
    std::fs::set_permissions(&netrc, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let said = host.build(&[address, MIRROR]).await?;
    ensure!(!said.everything.contains(SECRET));
    said.ensure("credentials", "ok", "~/.netrc")?;
    said.ensure("login", "ok", "")?;
    std::fs::set_permissions(&netrc, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let said = host.build(&[address, MIRROR]).await?;
    said.ensure("credentials", "warning", "chmod 600")?;
    said.ensure("permissions", "problem", "")
}

#[tokio::test]
async fn a_stale_socket_is_told_from_an_agent() -> Result<()> {
    let farm = farm();
    let socket = farm.path("agent.sock");
    let address = format!("unix://{}", socket.display());
    let host = Host::new(&farm);
    drop(UnixListener::bind(&socket)?);
    let said = host.run(&["--server", &address]).await?;
    ensure!(said.code == 1);
    said.ensure("socket", "problem", "nobody listens on")?;
    said.ensure("session", "not-checked", "")?;

    let mut server = farm.server().start().await?;
    let mut agent = Command::new(farm.binary());
    agent
        .args(["agent", "--server", server.address(), "--socket"])
        .arg(&socket)
        .arg("--state-directory")
        .arg(farm.path("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut agent = agent.spawn()?;
    let answers = async || Ok(tokio::net::UnixStream::connect(&socket).await.is_ok());
    eventually(PATIENCE, answers).await?;
    let said = host.build(&[("BB_HASHSERVE", &address)]).await?;
    said.ensure("agent", "ok", "agent")?;
    said.ensure("waits", "ok", "")?;
    said.ensure("pairing", "problem", "set SSTATE_MIRRORS")?;

    server.signal(rustix::process::Signal::KILL)?;
    server.wait().await?;
    let said = host.build(&[("BB_HASHSERVE", &address), MIRROR]).await?;
    ensure!(said.code == 1);
    said.ensure("agent", "problem", server.host_and_port())?;
    agent.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_black_hole_is_given_up_in_time() -> Result<()> {
    let farm = farm();
    let hole = TcpListener::bind("127.0.0.1:0").await?;
    let port = hole.local_addr()?.port();
    let swallowing = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = hole.accept().await {
            taken.push(stream);
        }
    });
    let authority = Certificates::make(farm.directory())?.authority;
    let host = Host::new(&farm).with("SSL_CERT_FILE", &authority);
    let login = [
        ("BB_HASHSERVE_USERNAME", "builder"),
        ("BB_HASHSERVE_PASSWORD", SECRET),
        MIRROR,
    ];
    for (address, id) in [
        (format!("127.0.0.1:{port}"), "session"),
        (format!("ws://127.0.0.1:{port}/"), "session"),
        (format!("wss://localhost:{port}/"), "tls"),
    ] {
        let began = Instant::now();
        let variables = [&[("BB_HASHSERVE", &*address)], &login[..]].concat();
        let said = host.build(&variables).await?;
        ensure!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        ensure!(
            said.code == 1 && !said.everything.contains(SECRET),
            "{}",
            said.everything
        );
        said.ensure(id, "problem", "within a second")?;
        said.ensure("login", "not-checked", "")?;
    }
    swallowing.abort();
    Ok(())
}

#[tokio::test]
async fn a_port_without_server_and_a_name_without_address_are_told() -> Result<()> {
    let farm = farm();
    let host = Host::new(&farm);
    let port = fingerpost_testkit::free_port()?;
    let said = host
        .run(&["--server", &format!("127.0.0.1:{port}")])
        .await?;
    said.ensure("connect", "problem", "connection refused")?;
    let http = farm.server().start().await?;
    let address = format!("wss://localhost:{}/", port_of(&http)?);
    let authority = Certificates::make(farm.directory())?.authority;
    let host = host.with("SSL_CERT_FILE", &authority);
    let said = host.run(&["--server", &address]).await?;
    said.ensure("tls", "problem", "write ws:// or HOST:PORT")
}

fn port_of(server: &Server) -> Result<&str> {
    let address = server.host_and_port();
    Ok(address.rsplit_once(':').context("no port")?.1)
}

/// The name is the proxy's to resolve.
#[tokio::test]
async fn a_websocket_goes_through_the_proxy_of_the_build() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .transport(Transport::WebSocket)
        .start()
        .await?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://u:{SECRET}@{}", proxy.local_addr()?);
    let to = server.host_and_port().to_owned();
    let passing = tokio::spawn(async move {
        while let Ok((stream, _)) = proxy.accept().await {
            tokio::spawn(pass(stream, to.clone()));
        }
    });
    let address = format!("ws://hashes.example:{}/", port_of(&server)?);
    let variables = [("BB_HASHSERVE", &*address), ("HTTP_PROXY", &url), MIRROR];
    let said = Host::new(&farm).build(&variables).await?;
    ensure!(
        said.code == 0 && !said.everything.contains(SECRET),
        "{}",
        said.everything
    );
    said.ensure("proxy", "ok", "through http://127.0.0.1:")?;
    said.ensure("resolve", "not-checked", "")?;
    said.ensure("server", "ok", "Fingerpost")?;
    // Small letters count where BitBake lets them through, which it shows, and go first.
    let elsewhere = ("HTTP_PROXY", "http://127.0.0.1:1");
    let variables = [variables[0], elsewhere, MIRROR];
    let host = Host::new(&farm).with("http_proxy", Path::new(&url));
    let said = host.build(&variables).await?;
    said.ensure("proxy", "ok", "through http://127.0.0.1:1,")?;
    let passed = [&variables[..], &[("http_proxy", &*url)]].concat();
    let said = host.build(&passed).await?;
    said.ensure("server", "ok", "Fingerpost")?;
    passing.abort();
    Ok(())
}

/// A proxy that makes every way lead to one place.
async fn pass(stream: TcpStream, to: String) -> Result<()> {
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    stream.flush().await?;
    let mut server = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn certificates_are_believed_or_not() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let options = farm
        .server()
        .set("tls.certificate", &made.certificate)
        .set("tls.key", &made.key);
    let server = options.start().await?;
    let address = server.address().replace("127.0.0.1", "localhost");
    let trusting = Host::new(&farm).with("SSL_CERT_FILE", &made.authority);
    let said = trusting.run(&["--server", &address]).await?;
    ensure!(said.code == 0, "{}", said.everything);
    said.ensure("tls", "ok", "SSL_CERT_FILE=")?;
    said.ensure("clock", "ok", "")?;
    said.ensure("server", "ok", "Fingerpost")?;

    let said = trusting.run(&["--server", server.address()]).await?;
    said.ensure("tls", "problem", "for localhost and not for 127.0.0.1")?;
    let other = farm.path("other");
    std::fs::create_dir(&other)?;
    let other = Certificates::make(&other)?;
    let doubting = Host::new(&farm).with("SSL_CERT_FILE", &other.authority);
    let said = doubting.run(&["--server", &address]).await?;
    said.ensure("tls", "problem", "no authority of SSL_CERT_FILE=")?;
    let none = Host::new(&farm).with("SSL_CERT_FILE", &farm.path("none.pem"));
    let said = none.run(&["--server", &address]).await?;
    said.ensure("tls", "problem", "which cannot be read")
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_day() -> Result<()> {
    let farm = farm();
    let (port, authority) = expired(&farm).await?;
    let host = Host::new(&farm).with("SSL_CERT_FILE", &authority);
    let said = host
        .run(&["--server", &format!("wss://localhost:{port}/")])
        .await?;
    ensure!(said.code == 1);
    said.ensure("tls", "problem", "expired on 2001-01-01: renew it")
}

/// Somebody who shows a certificate of the last century, until the test ends. Our own
/// server refuses to.
async fn expired(farm: &TestFarm) -> Result<(u16, PathBuf)> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let made = Certificates::make(farm.directory())?;
    let mut of_authority = rcgen::CertificateParams::new(Vec::new())?;
    of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    of_authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "old authority");
    let authority = rcgen::CertifiedIssuer::self_signed(of_authority, rcgen::KeyPair::generate()?)?;
    let certificate = params.signed_by(&key, &authority)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der())
                .map_err(anyhow::Error::msg)?,
        )?;
    let text = BASE64_STANDARD.encode(authority.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(&made.authority, pem)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            _ = acceptor.accept(stream).await;
        }
    });
    Ok((port, made.authority))
}

#[tokio::test]
async fn what_the_variables_tell_needs_no_server() -> Result<()> {
    let farm = farm();
    let host = Host::new(&farm);
    let said = host
        .build(&[
            ("BB_HASHSERVE", "auto"),
            ("BB_SIGNATURE_HANDLER", "OEBasicHash"),
            ("BB_HASHSERVE_USERNAME", "builder"),
            ("BB_HASHSERVE_PASSWORD", SECRET),
            (
                "SSTATE_MIRRORS",
                "file://.* http://u:hunter2-of-the-farm@h/sstate",
            ),
        ])
        .await?;
    ensure!(
        said.code == 1 && !said.everything.contains("hunter2"),
        "{}",
        said.everything
    );
    said.ensure("handler", "problem", "set BB_SIGNATURE_HANDLER")?;
    said.ensure("credentials", "problem", "ends the build")?;
    said.ensure("mirrors", "problem", "http://h/sstate/PATH;")?;
    said.ensure("pairing", "warning", "BB_HASHSERVE_UPSTREAM")?;
    let old = [("BB_HASHSERVE", "wss://h/"), ("BB_VERSION", "2.0.0")];
    host.build(&old)
        .await?
        .ensure("address", "problem", "kirkstone")
}

#[tokio::test]
async fn what_is_no_output_of_bitbake_is_refused() -> Result<()> {
    let farm = farm();
    let path = farm.path("local.conf");
    std::fs::write(&path, "BB_HASHSERVE = \"auto\"\n")?;
    for (arguments, code) in [
        (vec!["doctor"], 64),
        (vec!["doctor", "--bitbake-env", "local.conf"], 65),
        (vec!["doctor", "--bitbake-env", "none"], 64),
    ] {
        let output = Command::new(farm.binary())
            .args(&arguments)
            .current_dir(farm.directory())
            .env_clear()
            .output();
        let output = timeout(PATIENCE, output).await??;
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {output:?}"
        );
    }
    Ok(())
}
