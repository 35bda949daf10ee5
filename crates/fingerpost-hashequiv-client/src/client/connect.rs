//! Opening a transport.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_net::{Address, Host, connect_unix};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::tls::in_words;
use super::{ClientOptions, TlsError, tls_config, tunnel};
use crate::BadProxy;
use crate::link::{ByteLink, ClientSocket, Link};

/// An address that is silent for so long is not the only one that is tried.
const SILENCE: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host has no address.
    #[error("`{0}` has no address")]
    NoAddress(String),
    /// The socket, TLS, or the resolver.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing happened for too long.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// TLS cannot even be tried.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host has no name that a certificate could have.
    #[error("`{0}` is no name for a certificate")]
    ServerName(String),
    /// The environment names a proxy that is not spoken to.
    #[error(transparent)]
    BadProxy(#[from] BadProxy),
    /// A proxy opened no way to the server.
    #[error("no way through the proxy {proxy}: {why}")]
    Proxy {
        /// Its host.
        proxy: String,
        /// What it said.
        why: String,
    },
    /// The WebSocket was not opened.
    #[error("no WebSocket: {0}")]
    WebSocket(String),
}

impl ConnectError {
    /// Whether another try may end better.
    pub(crate) const fn is_temporary(&self) -> bool {
        !matches!(self, Self::Tls(_) | Self::ServerName(_) | Self::BadProxy(_))
    }
}

/// Opens a transport to the server, within `limit`.
pub(crate) async fn connect(
    options: &ClientOptions,
    limit: Duration,
) -> Result<Box<dyn Link>, ConnectError> {
    let opening = open(options);
    timeout(limit, opening)
        .await
        .unwrap_or(Err(ConnectError::Timeout(limit)))
}

async fn open(options: &ClientOptions) -> Result<Box<dyn Link>, ConnectError> {
    let address = options.address.clone().for_clients();
    match &address {
        Address::Unix(path) => Ok(Box::new(ByteLink(connect_unix(path).await?))),
        Address::Tcp { host, port } => Ok(Box::new(ByteLink(connect_tcp(host, *port).await?))),
        Address::WebSocket {
            host,
            port,
            tls: false,
            ..
        } => match options.proxies.to_websocket(false, host, *port)? {
            None => {
                let stream = connect_tcp(host, *port).await?;
                open_websocket(&address, stream, options).await
            }
            Some(proxy) => {
                let stream = through(proxy, host, *port, options).await?;
                open_websocket(&address, stream, options).await
            }
        },
        Address::WebSocket {
            host,
            port,
            tls: true,
            ..
        } => match options.proxies.to_websocket(true, host, *port)? {
            None => {
                let stream = connect_tcp(host, *port).await?;
                let stream = encrypt(&host.to_resolve(), stream, options).await?;
                open_websocket(&address, stream, options).await
            }
            Some(proxy) => {
                let stream = through(proxy, host, *port, options).await?;
                let stream = encrypt(&host.to_resolve(), stream, options).await?;
                open_websocket(&address, stream, options).await
            }
        },
    }
}

/// A stream of either kind.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Io for IO {}

/// A way to a host through a proxy.
async fn through(
    proxy: &Url,
    host: &Host,
    port: u16,
    options: &ClientOptions,
) -> Result<Box<dyn Io>, ConnectError> {
    let name = proxy.host_str().unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    // A proxy's own port, where none is named, is that of its scheme.
    let stream = connect_name(name, proxy.port_or_known_default().unwrap_or_default()).await?;
    let mut stream: Box<dyn Io> = match proxy.scheme() {
        "https" => Box::new(encrypt(name, stream, options).await?),
        _ => Box::new(stream),
    };
    tunnel::open(&mut stream, proxy, &format!("{host}:{port}")).await?;
    Ok(stream)
}

async fn encrypt<IO: AsyncRead + AsyncWrite + Unpin>(
    name: &str,
    stream: IO,
    options: &ClientOptions,
) -> Result<TlsStream<IO>, ConnectError> {
    let config = client_tls(options).await?;
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| ConnectError::ServerName(name.to_owned()))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| match in_words(&error.to_string()) {
        Cow::Owned(words) => io::Error::new(error.kind(), words).into(),
        Cow::Borrowed(_) => error.into(),
    })
}

async fn connect_tcp(host: &Host, port: u16) -> Result<TcpStream, ConnectError> {
    connect_name(&host.to_resolve(), port).await
}

async fn connect_name(name: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses = lookup_host((name, port)).await?;
    let connected = connect_first(addresses).await;
    connected.unwrap_or_else(|| Err(ConnectError::NoAddress(name.to_owned())))
}

/// Tries every address in the resolver's order, the next one soon if one is silent: a host
/// whose IPv6 leads nowhere is reached all the same (RFC 8305). `None` if there is none.
async fn connect_first(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Option<Result<TcpStream, ConnectError>> {
    let mut addresses = addresses.into_iter();
    let mut trying = FuturesUnordered::new();
    trying.push(connect_address(addresses.next()?));
    loop {
        let next = timeout(SILENCE, trying.next()).await;
        let failure = match next {
            Ok(Some(Ok(stream))) => return Some(Ok(stream)),
            Ok(Some(Err(error))) => Some(error),
            Ok(None) | Err(_) => None,
        };
        match (addresses.next(), failure) {
            (Some(address), _) => trying.push(connect_address(address)),
            (None, Some(error)) if trying.is_empty() => return Some(Err(error.into())),
            (None, _) => {}
        }
    }
}

async fn connect_address(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn client_tls(options: &ClientOptions) -> Result<Arc<ClientConfig>, ConnectError> {
    if let Some(config) = &options.tls {
        return Ok(Arc::clone(config));
    }
    let loaded = tokio::task::spawn_blocking(tls_config).await;
    Ok(loaded.map_err(io::Error::other)??)
}

async fn open_websocket<IO>(
    address: &Address,
    stream: IO,
    options: &ClientOptions,
) -> Result<Box<dyn Link>, ConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .max_message_size(Some(options.limits.message_bytes))
        .max_frame_size(Some(options.limits.message_bytes));
    match client_async_with_config(address.to_string(), stream, Some(config)).await {
        Ok((socket, _)) => Ok(Box::new(ClientSocket(socket))),
        Err(tungstenite::Error::Io(error)) => Err(ConnectError::Io(error)),
        Err(error) => Err(ConnectError::WebSocket(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// The longest wait for something that must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_address_that_leads_nowhere_keeps_no_other_from_being_tried() {
        // Whose queue is full is silent to whoever comes.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let nowhere = silent.local_addr().unwrap();
        let _queued = TcpStream::connect(nowhere).await.unwrap();
        let alone = timeout(2 * SILENCE, connect_first([nowhere])).await;
        assert!(alone.is_err(), "it is not silent");
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = gone.local_addr().unwrap();
        drop(gone);
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = good.local_addr().unwrap();
        let found = timeout(PATIENCE, connect_first([nowhere, refusing, good])).await;
        let stream = found.unwrap().unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let refused = connect_first([refusing, refusing]).await.unwrap();
        assert!(matches!(refused, Err(ConnectError::Io(_))));
        assert!(connect_first([]).await.is_none());
    }
}
