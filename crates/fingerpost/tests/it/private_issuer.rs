//! Issuers whose certificates are of an authority of one's own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Certificates, TestFarm};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::logins::{AUDIENCE, Pair, claims, router};
use crate::world::{eventually, farm, no_panic};

/// Connections within TLS.
struct Listener {
    plain: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.plain.accept().await else {
                continue;
            };
            // Who does not believe the certificate leaves here.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.plain.local_addr()
    }
}

/// A CI system on this host, over HTTPS with this certificate: its URL.
async fn issuer(pair: &Pair, made: &Certificates) -> Result<String> {
    let chain = vec![CertificateDer::from_pem_file(&made.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&made.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let plain = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("https://localhost:{}", plain.local_addr()?.port());
    let tls = TlsAcceptor::from(Arc::new(config));
    let router = router(&url, pair);
    tokio::spawn(async move { axum::serve(Listener { plain, tls }, router).await });
    Ok(url)
}

/// The lines of an issuer, perhaps with the file of an authority.
fn lines(url: &str, authority: Option<&Path>) -> String {
    let authority = authority.map(|file| format!("authority_certificates = {file:?}\n"));
    format!(
        "[[oidc]]\nissuer = '{url}'\naudiences = ['{AUDIENCE}']\nalgorithms = ['EdDSA']\n{}\
         [[oidc.rules]]\nmatch = {{ repository_id = '7' }}\npermissions = ['@read']\n\
         user = 'ci'\n",
        authority.unwrap_or_default()
    )
}

fn checked(farm: &TestFarm, text: &str) -> Result<Output> {
    let path = farm.path("oidc.toml");
    std::fs::write(&path, text)?;
    let mut command = Command::new(farm.binary());
    Ok(command.arg("check-config").arg("-c").arg(path).output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_of_a_private_authority_is_believed_where_that_is_configured() -> Result<()> {
    let farm = farm();
    let pair = Pair::new()?;
    let made = Certificates::make(farm.directory())?;
    let known = issuer(&pair, &made).await?;
    let unknown = issuer(&pair, &made).await?;
    let text = format!(
        "{}{}",
        lines(&known, Some(&made.authority)),
        lines(&unknown, None)
    );
    let output = checked(&farm, &text)?;
    ensure!(output.status.success(), "{output:?}");
    let options = farm.server().anonymous("@none").argument("--config");
    // A proxy of this machine does not lead to it.
    let options = options.argument(farm.path("oidc.toml"));
    let server = options.variable("NO_PROXY", "localhost").start().await?;

    let token = |url: &str| pair.sign("a", &claims(url, "push"));
    server.login("ci", &token(&known)?).await?;
    ensure!(server.login("ci", &token(&unknown)?).await.is_err());
    let why = format!("The keys of {unknown} cannot be fetched: ");
    eventually(Duration::from_secs(20), async || {
        Ok(server.log().contains(&why))
    })
    .await?;
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains(&why))
        .unwrap_or_default();
    ensure!(
        line.contains("its certificate is of an authority that is not trusted here")
            && line.contains("authority_certificates"),
        "{line}"
    );
    ensure!(
        !log.contains(&format!("The keys of {known} cannot")),
        "{log}"
    );
    no_panic(&server)
}

#[test]
fn check_config_reads_the_certificates_of_authorities() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let (none, garbage) = (farm.path("none.pem"), farm.path("garbage.pem"));
    let pem = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    std::fs::write(&garbage, pem)?;
    for (file, why) in [
        (&none, "none.pem: "),
        (&made.key, "key.pem: there is no certificate in it"),
        (&garbage, "garbage.pem: what is in it is no authority: "),
    ] {
        let good = lines("https://a.example", Some(&made.authority));
        let text = format!("{good}{}", lines("https://b.example", Some(file)));
        let output = checked(&farm, &text)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(78), "{why} {output:?}");
        let key = "The configuration is wrong: oidc[2].authority_certificates: /";
        ensure!(said.starts_with(key) && said.contains(why), "{said}");
    }
    Ok(())
}
