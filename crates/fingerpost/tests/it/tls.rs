//! TLS as an operator sets it up, with clients of every kind.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Certificates, Report, Server, ServerOptions, TestFarm, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{farm, no_panic};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn with_tls(farm: &TestFarm, made: &Certificates) -> ServerOptions {
    farm.server()
        .set("tls.certificate", &made.certificate)
        .set("tls.key", &made.key)
}

/// `HOST:PORT` of an address in the server's address file.
fn host_port(address: &str) -> &str {
    address.trim_start_matches("wss://")
}

async fn connect(address: &str, made: &Certificates) -> Result<BufReader<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&made.authority)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpSocket::new_v4()?;
    // Small, so that answers wait at the server's end.
    socket.set_recv_buffer_size(8 << 10)?;
    let stream = socket.connect(host_port(address).parse()?).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost")?, stream);
    Ok(BufReader::new(stream.await?))
}

/// Runs `fingerpost client` as a user does.
async fn client(server: &Server, made: &Certificates, address: &str) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_fingerpost"))
        .args(["client", "--address", address, "ping"])
        .env("SSL_CERT_FILE", &made.authority)
        .output();
    let output = timeout(PATIENCE, output).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}\n{}", server.log());
    Ok(text)
}

/// A client that sends thousands of questions before it reads an answer gets all
/// of them: what TLS holds when the socket is full is sent later.
#[tokio::test]
async fn a_late_reader_of_the_native_protocol_gets_every_answer() -> Result<()> {
    const LINES: usize = 30_000;
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let server = with_tls(&farm, &made).start().await?;
    let mut client = connect(server.address(), &made).await?;
    let report = Report::new(1, 1);
    let mut questions = format!(
        "OEHASHEQUIV 1.1\n\n{}\n{{\"get-stream\": null}}\n",
        report.request()
    );
    for _ in 0..LINES {
        questions.push_str(&format!("{} {}\n", report.method, report.taskhash));
    }
    timeout(PATIENCE, client.write_all(questions.as_bytes())).await??;
    timeout(PATIENCE, client.flush()).await??;
    let mut line = String::new();
    timeout(PATIENCE, client.read_line(&mut line)).await??;
    ensure!(line.contains("\"unihash\""), "{line}");
    let mut expected = vec!["\"ok\"".to_owned()];
    expected.resize(LINES + 1, report.unihash.clone());
    for expected in expected {
        line.clear();
        timeout(PATIENCE, client.read_line(&mut line)).await??;
        ensure!(line.trim_end() == expected, "{line:?}");
    }
    no_panic(&server)
}

#[tokio::test]
async fn the_client_goes_where_the_server_says() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let server = with_tls(&farm, &made).start().await?;
    ensure!(
        server.address().starts_with("wss://127.0.0.1:"),
        "{}",
        server.address()
    );
    let log = server.log();
    ensure!(
        log.contains("(TLS only: websocket for BitBake, HTTPS)"),
        "{log}"
    );
    ensure!(log.contains("BB_HASHSERVE = \"wss://127.0.0.1:"), "{log}");
    let address = server.address().replace("127.0.0.1", "localhost");
    client(&server, &made, &address).await?;
    Ok(())
}

#[tokio::test]
async fn a_second_listener_may_be_without() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let file = farm.path("tls.toml");
    std::fs::write(
        &file,
        "[server.listeners.builders]\nbind = ['127.0.0.1:0']\ntls = 'off'\n",
    )?;
    let options = with_tls(&farm, &made).argument("--config").argument(&file);
    let server = options.start().await?;
    let [first, second] = server.addresses() else {
        anyhow::bail!("{:?}", server.addresses());
    };
    ensure!(first.starts_with("wss://") && second.starts_with("127.0.0.1:"));
    client(&server, &made, second).await?;
    client(&server, &made, &first.replace("127.0.0.1", "localhost")).await?;

    let mut plain = TcpStream::connect(host_port(first)).await?;
    plain.write_all(b"OEHASHEQUIV 1.1\n\n").await?;
    let mut nothing = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut nothing)).await?;
    ensure!(nothing.is_empty());
    let log = server.log();
    ensure!(
        log.contains("BitBake speaks TLS only through wss:// or the agent; "),
        "{log}"
    );
    Ok(())
}

#[tokio::test]
async fn check_config_reads_the_certificate() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let other = farm.path("other");
    std::fs::create_dir(&other)?;
    let other = Certificates::make(&other)?;
    let check = async |certificate: &std::path::Path, key: &std::path::Path| -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_fingerpost"))
            .arg("check-config")
            .env("FINGERPOST_TLS__CERTIFICATE", certificate)
            .env("FINGERPOST_TLS__KEY", key)
            .output();
        let output = timeout(PATIENCE, output).await??;
        let code = output.status.code().context("killed")?;
        let text = String::from_utf8_lossy(&output.stderr);
        Ok(format!("{code} {text}"))
    };
    ensure!(check(&made.certificate, &made.key).await?.starts_with("0 "));
    for (certificate, key, expect) in [
        (&made.certificate, &other.key, "do not match"),
        (&farm.path("none.pem"), &made.key, "none.pem: No such file"),
        (&made.key, &made.key, "holds no certificate in PEM"),
    ] {
        let text = check(certificate, key).await?;
        ensure!(text.starts_with("78 TLS cannot be served: "), "{text}");
        ensure!(text.contains(expect), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_unix_socket_needs_none() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let options = with_tls(&farm, &made).transport(Transport::Unix);
    let server = options.start().await?;
    let report = Report::new(1, 1);
    ensure!(server.session().await?.report(&report).await? == report.unihash);
    Ok(())
}
