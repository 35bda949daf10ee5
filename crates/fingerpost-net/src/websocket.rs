//! WebSocket: the upgrade on any path, its limits, its end.

use std::error::Error;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HeaderMap, UPGRADE};
use hyper::http::request::Parts;
use tokio_tungstenite::tungstenite;

use crate::metrics::Reason;
use crate::{ConnectionGuard, LineDoor, Peer};

/// The largest WebSocket message that is taken, in bytes, as of the reference
/// server. A larger one ends the connection with close code 1009.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Allocated for each connection at once; tungstenite's own 128 KiB would make
/// a thousand idle builds cost as much as the rest of the server.
const READ_BUFFER_BYTES: usize = 8 << 10;
/// Answers are handed to the socket when this much has gathered.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// The most that may wait for a slow reader, beyond which the connection ends.
const WRITE_BUFFER_BYTES_MAX: usize = 16 << 20;
/// The longest that a close frame may take to be sent.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
const CODE_NORMAL: u16 = 1000;
const CODE_TOO_BIG: u16 = 1009;

/// Whether the headers ask for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.trim().eq_ignore_ascii_case("websocket"))
}

/// Answers an upgrade and leaves the socket to `door`.
pub(crate) async fn upgrade<D: LineDoor>(
    door: D,
    parts: &mut Parts,
    peer: Peer,
    guard: ConnectionGuard,
) -> Response {
    let path = parts.uri.path().to_owned();
    if !door.takes_path(&path) {
        return (StatusCode::NOT_FOUND, "there is nothing on this path\n").into_response();
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(async move |socket| {
            // A task of its own, so that an overlong shutdown can drop it.
            let abort_by = guard.abort_by();
            let task = tokio::spawn(async move {
                door.serve_websocket(socket, path, peer, guard).await;
            });
            abort_by(task.abort_handle());
        })
}

/// Whether `error`, from `WebSocket::recv`, means a message above [`MESSAGE_BYTES_MAX`].
pub fn is_message_too_big(error: &axum::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(tungstenite::Error::Capacity(_)))
}

/// Ends a WebSocket as the reference server does: with close code 1009 (and
/// counted) when `error`, the last thing received, is a message too big, and
/// with 1000 in every other case, errors included. Takes at most two seconds.
pub async fn close_websocket(
    mut socket: WebSocket,
    error: Option<&axum::Error>,
    guard: &ConnectionGuard,
) {
    let too_big = error.is_some_and(is_message_too_big);
    if too_big {
        guard.count_refused(Reason::MessageTooBig);
    }
    let code = if too_big { CODE_TOO_BIG } else { CODE_NORMAL };
    let close = Message::Close(Some(CloseFrame {
        code,
        reason: "".into(),
    }));
    // A peer that is gone or takes nothing does not get its code.
    let _ = tokio::time::timeout(CLOSE_TIME_MAX, socket.send(close)).await;
}
