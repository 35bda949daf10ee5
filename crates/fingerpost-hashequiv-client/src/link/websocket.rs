//! Both ends of a WebSocket: axum's on the server's side, tungstenite's own on the client's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws;
use bytes::Bytes;
use fingerpost_hashequiv_proto::Framing;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::{Broken, Link, Outgoing, READ_AHEAD_BYTES, Receive};

/// The server's end. Holds the error that ended it, which decides the close code.
#[derive(Debug)]
pub struct ServerSocket {
    /// The socket.
    pub socket: ws::WebSocket,
    /// What receiving ended with.
    pub error: Option<axum::Error>,
}

impl ServerSocket {
    /// An open socket.
    pub const fn new(socket: ws::WebSocket) -> Self {
        Self {
            socket,
            error: None,
        }
    }
}

/// The client's end.
#[derive(Debug)]
pub struct ClientSocket<IO>(pub WebSocketStream<IO>);

/// What came out of a socket, whoever made the socket.
enum Event {
    Message(Bytes),
    Other,
    End,
    Failed(io::Error),
}

impl Link for ServerSocket {
    fn framing(&self) -> Framing {
        Framing::Messages
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<io::Result<()>> {
        let sending = poll_send(Pin::new(&mut self.socket), cx, out, |text| {
            ws::Message::Text(text.into())
        });
        sending.map_err(io::Error::other)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut dyn Receive,
    ) -> Poll<Result<bool, Broken>> {
        let Self { socket, error } = self;
        poll_receive(into, || {
            let item = ready!(Pin::new(&mut *socket).poll_next(cx));
            Poll::Ready(match item {
                Some(Ok(ws::Message::Text(text))) => Event::Message(text.into()),
                Some(Ok(ws::Message::Binary(bytes))) => Event::Message(bytes),
                Some(Ok(ws::Message::Close(_))) | None => Event::End,
                Some(Ok(_)) => Event::Other,
                Some(Err(cause)) => {
                    let failed = io::Error::other(cause.to_string());
                    *error = Some(cause);
                    Event::Failed(failed)
                }
            })
        })
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Link for ClientSocket<IO> {
    fn framing(&self) -> Framing {
        Framing::Messages
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<io::Result<()>> {
        let sending = poll_send(Pin::new(&mut self.0), cx, out, |text| {
            tungstenite::Message::Text(text.into())
        });
        sending.map_err(io::Error::other)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut dyn Receive,
    ) -> Poll<Result<bool, Broken>> {
        use tungstenite::Message;
        poll_receive(into, || {
            let item = ready!(Pin::new(&mut self.0).poll_next(cx));
            Poll::Ready(match item {
                Some(Ok(Message::Text(text))) => Event::Message(text.into()),
                Some(Ok(Message::Binary(bytes))) => Event::Message(bytes),
                Some(Ok(Message::Close(_))) | None => Event::End,
                Some(Ok(_)) => Event::Other,
                Some(Err(cause)) => Event::Failed(io::Error::other(cause)),
            })
        })
    }
}

/// Hands messages to the socket while it takes them, then flushes.
fn poll_send<S: Sink<M>, M>(
    mut socket: Pin<&mut S>,
    cx: &mut Context<'_>,
    out: &mut Outgoing,
    message: impl Fn(String) -> M,
) -> Poll<Result<(), S::Error>> {
    while !out.is_empty() {
        ready!(socket.as_mut().poll_ready(cx))?;
        if let Some(text) = out.next_message() {
            socket.as_mut().start_send(message(text))?;
        }
    }
    socket.poll_flush(cx)
}

/// Messages that are taken in at once; their bytes alone would not bound empty ones.
const READ_AHEAD_MESSAGES: usize = 1024;

/// Takes in what is there, so that a batch of lines is worked on together.
fn poll_receive(
    into: &mut dyn Receive,
    mut next: impl FnMut() -> Poll<Event>,
) -> Poll<Result<bool, Broken>> {
    let mut taken = 0;
    loop {
        match next() {
            Poll::Ready(Event::Message(message)) => {
                into.push_message(&message)?;
                taken += 1;
            }
            Poll::Ready(Event::Other) => {}
            // An end comes again when asked again.
            Poll::Ready(Event::End | Event::Failed(_)) | Poll::Pending if taken > 0 => break,
            Poll::Ready(Event::End) => return Poll::Ready(Ok(false)),
            Poll::Ready(Event::Failed(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => return Poll::Pending,
        }
        if into.pending() >= READ_AHEAD_BYTES || taken >= READ_AHEAD_MESSAGES {
            break;
        }
    }
    Poll::Ready(Ok(true))
}
