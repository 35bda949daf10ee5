//! Raw connections: bytes over TCP and Unix sockets, messages over websocket.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The longest wait for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Unix socket addresses hold this many bytes, the final NUL included.
const SUN_PATH_BYTES: usize = 108;

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP port.
    Tcp,
    /// A Unix stream socket.
    Unix,
    /// A websocket.
    WebSocket,
}

/// Anything that reads and writes bytes.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// An open connection without a handshake.
pub enum Connection {
    /// Bytes; every item of the protocol is a line.
    Lines(Box<Lines>),
    /// Text messages.
    Messages(Box<Messages>),
}

impl Connection {
    /// Connects to an address of the protocol: `HOST:PORT`, `unix://PATH`, `ws://HOST:PORT`.
    pub async fn open(address: &str) -> Result<Self> {
        let opening = async {
            if let Some(path) = address.strip_prefix("unix://") {
                anyhow::Ok(Self::lines(connect_unix(Path::new(path)).await?))
            } else if address.starts_with("ws://") {
                Ok(Self::Messages(Box::new(Messages::open(address).await?)))
            } else {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Self::lines(stream))
            }
        };
        timeout(PATIENCE, opening)
            .await
            .with_context(|| format!("no connection to {address} in {PATIENCE:?}"))?
            .with_context(|| format!("no connection to {address}"))
    }

    fn lines(stream: impl ByteStream + 'static) -> Self {
        Self::Lines(Box::new(Lines {
            stream: BufReader::new(Box::new(stream)),
        }))
    }

    /// The connection as one of lines.
    pub fn into_lines(self) -> Result<Lines> {
        match self {
            Self::Lines(lines) => Ok(*lines),
            Self::Messages(_) => bail!("a websocket has no lines"),
        }
    }

    /// Checks that nothing comes for `duration` and that the connection stays open.
    pub async fn stays_silent(&mut self, duration: Duration) -> Result<()> {
        match self {
            Self::Lines(lines) => lines.stays_silent(duration).await,
            Self::Messages(messages) => messages.stays_silent(duration).await,
        }
    }
}

/// Opens a Unix socket, also one whose path is longer than an address can
/// hold: then through the directory's descriptor.
async fn connect_unix(path: &Path) -> Result<UnixStream> {
    if path.as_os_str().len() < SUN_PATH_BYTES {
        return Ok(UnixStream::connect(path).await?);
    }
    let parent = path.parent().context("a socket has a directory")?;
    let name = path.file_name().context("a socket has a name")?;
    let directory = File::open(parent)?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok(UnixStream::connect(short).await?)
}

/// A connection of lines.
pub struct Lines {
    stream: BufReader<Box<dyn ByteStream>>,
}

impl Lines {
    /// Writes bytes. Fails after [`PATIENCE`] when the server does not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
        .context("the server does not read")??;
        Ok(())
    }

    /// Writes bytes to a server that may close before it has read them all.
    pub async fn send_in_vain(&mut self, bytes: &[u8]) -> Result<()> {
        match self.send(bytes).await {
            Err(error) if error.downcast_ref().is_some_and(is_reset) => Ok(()),
            result => result,
        }
    }

    /// Closes the direction to the server.
    pub async fn half_close(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Reads one line with its end; less at the end of the connection.
    pub async fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let reading = self.stream.read_until(b'\n', &mut line);
        match timeout(PATIENCE, reading).await {
            Ok(Ok(_)) => Ok(line),
            Ok(Err(error)) if is_reset(&error) => Ok(line),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => bail!("no line in {PATIENCE:?}"),
        }
    }

    /// Reads everything up to the end of the connection. A reset is an end: a
    /// server that closes before it has read everything causes one.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        match timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await {
            Ok(Ok(_)) => Ok(rest),
            Ok(Err(error)) if is_reset(&error) => Ok(rest),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => bail!(
                "still open after {PATIENCE:?}, with {:?}",
                String::from_utf8_lossy(&rest)
            ),
        }
    }

    /// Checks that nothing comes for `duration` and that the connection stays open.
    pub async fn stays_silent(&mut self, duration: Duration) -> Result<()> {
        match timeout(duration, self.stream.fill_buf()).await {
            Err(_) => Ok(()),
            Ok(Ok([])) => bail!("the server closed"),
            Ok(Ok(bytes)) => bail!("unexpected: {:?}", String::from_utf8_lossy(bytes)),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
    )
}

/// What came over a websocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// The server's close, with its code if it sent one.
    Closed(Option<u16>),
}

/// A websocket.
pub struct Messages {
    socket: WebSocketStream<TcpStream>,
}

impl Messages {
    /// Connects to `ws://HOST:PORT`. Takes answers of any size.
    pub async fn open(url: &str) -> Result<Self> {
        let authority = url
            .strip_prefix("ws://")
            .context("not a websocket address")?;
        let host = authority.split('/').next().unwrap_or(authority);
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let boundless = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(boundless)).await?;
        Ok(Self { socket })
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        match timeout(PATIENCE, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            // The answer tells more: the server closes while we still write.
            Ok(Err(Error::Io(error))) if is_reset(&error) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => bail!("the server does not read"),
        }
    }

    /// Receives a text message or the close.
    pub async fn receive(&mut self) -> Result<Received> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .context("no message")?;
            return Ok(match message {
                Some(Ok(Message::Text(text))) => Received::Text(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    Received::Closed(frame.map(|frame| frame.code.into()))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => bail!("unexpected kind of message: {other:?}"),
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                    Received::Closed(None)
                }
                Some(Err(error)) => return Err(error.into()),
            });
        }
    }

    /// Checks that nothing comes for `duration` and that the connection stays open.
    pub async fn stays_silent(&mut self, duration: Duration) -> Result<()> {
        match timeout(duration, self.receive()).await {
            Err(_) => Ok(()),
            Ok(received) => {
                let received = received?;
                ensure!(false, "unexpected: {received:?}");
                Ok(())
            }
        }
    }
}
