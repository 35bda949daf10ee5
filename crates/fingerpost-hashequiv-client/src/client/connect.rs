//! Opening a transport.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_net::{Address, Host, connect_unix};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{ClientOptions, TlsError, tls_config};
use crate::link::{ByteLink, ClientSocket, Link};

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
    /// The WebSocket was not opened.
    #[error("no WebSocket: {0}")]
    WebSocket(String),
}

impl ConnectError {
    /// Whether another try may end better.
    pub(crate) const fn is_temporary(&self) -> bool {
        !matches!(self, Self::Tls(_) | Self::ServerName(_))
    }
}

/// Opens a transport to the server, within `limit`.
pub(crate) async fn connect(
    options: &ClientOptions,
    limit: Duration,
) -> Result<Box<dyn Link>, ConnectError> {
    let opening = open(options);
    tokio::time::timeout(limit, opening)
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
        } => {
            let stream = connect_tcp(host, *port).await?;
            open_websocket(&address, stream, options).await
        }
        Address::WebSocket {
            host,
            port,
            tls: true,
            ..
        } => {
            let config = client_tls(options).await?;
            let name = ServerName::try_from(host.to_resolve())
                .map_err(|_| ConnectError::ServerName(host.to_string()))?;
            let stream = connect_tcp(host, *port).await?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            open_websocket(&address, stream, options).await
        }
    }
}

/// Tries every address of the host, in the resolver's order.
async fn connect_tcp(host: &Host, port: u16) -> Result<TcpStream, ConnectError> {
    let name = host.to_resolve();
    let mut failure = None;
    for address in lookup_host((name.as_str(), port)).await? {
        match connect_address(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.map_or(ConnectError::NoAddress(name), ConnectError::Io))
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
