//! Where the generator connects to, and how.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{AddressFamily, SendFlags, SocketType};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Connecting to a server that is up takes microseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What one connection may have to send at once.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// The server under load.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// Server to load: `HOST:PORT` or `unix://PATH`.
    #[arg(long, default_value = "127.0.0.1:8686")]
    address: String,
    /// Speak TLS, and trust the certificates in this PEM file. The server's has to
    /// be for `localhost`. Sessions are not resumed.
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Come from so many addresses of this machine, 127.1.0.1 and following, in
    /// turns; the server's has to be 127.0.0.1. 0: from the usual one.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=60_000))]
    hosts: u16,
}

/// The same with what it needs to connect.
#[derive(Debug)]
pub(super) struct Target<'a> {
    args: &'a TargetArgs,
    tls: Option<Arc<ClientConfig>>,
}

/// A socket that does not block, and TLS if it is spoken.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) tls: Option<Box<ClientConnection>>,
}

impl TargetArgs {
    /// Reads the certificates.
    pub(super) fn target(&self) -> anyhow::Result<Target<'_>> {
        let tls = self.tls.as_ref().map(trusting).transpose()?;
        Ok(Target { args: self, tls })
    }
}

impl Target<'_> {
    /// Opens connection `number`; the handshake of TLS is over then.
    pub(super) fn connect(&self, number: usize) -> anyhow::Result<Opened> {
        let address = &self.args.address;
        let opening = || match address.strip_prefix("unix://") {
            Some(path) => Ok(UnixStream::connect(path)?.into()),
            None => self.connect_tcp(number),
        };
        let mut socket = Socket(opening().with_context(|| format!("cannot connect to {address}"))?);
        let tls = match &self.tls {
            Some(config) => Some(shake_hands(config, &mut socket).context("TLS")?),
            None => None,
        };
        rustix::io::ioctl_fionbio(&socket.0, true)?;
        Ok(Opened { socket, tls })
    }

    fn connect_tcp(&self, number: usize) -> anyhow::Result<OwnedFd> {
        let mut addresses = self.args.address.to_socket_addrs()?;
        let address = addresses.next().context("the name has no address")?;
        let stream = match self.args.hosts {
            0 => TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?,
            hosts => connect_from(number % usize::from(hosts), address)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        Ok(stream.into())
    }
}

/// Connects from the machine's own address `number`.
fn connect_from(number: usize, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let number = u16::try_from(number)?;
    let [high, low] = number.saturating_add(1).to_be_bytes();
    let from = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0));
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &from)?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}

fn trusting(file: &PathBuf) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let read = || format!("cannot read certificates in {}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
        roots.add(certificate.with_context(read)?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Blocks, for the time that a read may take several times at most.
fn shake_hands(
    config: &Arc<ClientConfig>,
    socket: &mut Socket,
) -> anyhow::Result<Box<ClientConnection>> {
    let name = ServerName::try_from("localhost")?;
    let mut session = ClientConnection::new(Arc::clone(config), name)?;
    session.set_buffer_limit(Some(OUTPUT_BYTES_MAX));
    while session.is_handshaking() {
        session.complete_io(socket)?;
    }
    Ok(Box::new(session))
}

/// A socket whose peer may be gone without killing us.
#[derive(Debug)]
pub(super) struct Socket(pub(super) OwnedFd);

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = || rustix::io::read(&self.0, &mut *into);
        Ok(rustix::io::retry_on_intr(read)?)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let send = || rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL);
        Ok(rustix::io::retry_on_intr(send)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
