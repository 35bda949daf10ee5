//! A body that is made as fast as the client takes it.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use fingerpost_core::More;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::lanes::{Lanes, Place, Turns};
use crate::refusal::Refusal;
use crate::work::Work;

/// A piece of an answer, and the work that goes on with it.
pub(crate) struct Piece {
    work: Work,
    bytes: Vec<u8>,
    more: More,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the whole answer.
    pub(crate) answer: Duration,
    /// For one piece of it.
    pub(crate) piece: Duration,
}

/// The most bytes that go out as one, without a place being held for them.
pub(crate) const WHOLE_BYTES_MAX: usize = 260 << 10;

/// Begins work on a blocking thread, when it is its turn.
pub(crate) async fn first_piece(
    lanes: &Lanes,
    turns: &Turns,
    begin: impl FnOnce() -> Result<Work, Refusal> + Send + 'static,
) -> Result<Piece, Refusal> {
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a request cannot be answered");
        Refusal::server_error()
    };
    let turn = lanes.first_turn(turns).await?;
    let working = tokio::task::spawn_blocking(move || begin().map(|work| go_on(work, turn)));
    let piece = working.await.map_err(|panic| broken(&panic))?;
    piece?.map_err(|error| broken(&error))
}

/// Works for a while on a blocking thread, when it is its turn.
async fn next_piece(work: Work, turns: &Turns) -> io::Result<Piece> {
    let turn = turns.next().await?;
    let working = tokio::task::spawn_blocking(move || go_on(work, turn));
    working
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// The turn is held here, on the thread: a client that hangs up does not end
/// the work, and shall not make room for more of it.
fn go_on(mut work: Work, _turn: Place) -> io::Result<Piece> {
    let mut bytes = Vec::new();
    let more = work.go_on(&mut bytes).map_err(io::Error::other)?;
    Ok(Piece { work, bytes, more })
}

/// A body that begins with `first` and goes on until its work is done, as long
/// as the client takes it.
pub(crate) fn streaming(first: Piece, patience: Patience, turns: Turns) -> Body {
    if first.more == More::No && first.bytes.len() <= WHOLE_BYTES_MAX {
        return Body::from(first.bytes);
    }
    // One piece waits for the client while the next one is made.
    let (pieces, taken) = mpsc::channel(1);
    let (failed, failure) = oneshot::channel();
    tokio::spawn(async move {
        let deadline = Instant::now() + patience.answer;
        let made = timeout_at(deadline, make(first, &turns, &pieces, patience.piece)).await;
        let outcome = made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = outcome {
            // Left for whoever reads on: waiting for a client that does not
            // would hold the place for as long as it likes.
            let _ = failed.send(error);
        }
    });
    Body::from_stream(stream::unfold(
        (taken, Some(failure)),
        async |(mut taken, failure)| {
            if let Some(piece) = taken.recv().await {
                return Some((Ok(piece), (taken, failure)));
            }
            // The client sees the connection break.
            let error = failure?.await.ok()?;
            Some((Err(error), (taken, None)))
        },
    ))
}

/// Makes pieces until there are no more, or nobody takes them.
async fn make(
    first: Piece,
    turns: &Turns,
    pieces: &mpsc::Sender<Bytes>,
    patience: Duration,
) -> io::Result<()> {
    let Piece {
        mut work,
        mut bytes,
        mut more,
    } = first;
    loop {
        if pieces.is_closed() {
            return Ok(());
        }
        if !bytes.is_empty() {
            let sending = timeout(patience, send(bytes, pieces));
            if !sending.await.map_err(|_| io::ErrorKind::TimedOut)? {
                return Ok(());
            }
        }
        if more == More::No {
            return Ok(());
        }
        if let Some(ready) = work.ready() {
            ready.await;
        }
        let next = next_piece(work, turns).await?;
        (work, bytes, more) = (next.work, next.bytes, next.more);
    }
}

/// Hands on the bytes in pieces of which none keeps a large one in memory, and
/// says whether somebody took them.
async fn send(bytes: Vec<u8>, pieces: &mpsc::Sender<Bytes>) -> bool {
    if bytes.len() <= WHOLE_BYTES_MAX {
        return pieces.send(bytes.into()).await.is_ok();
    }
    for part in bytes.chunks(WHOLE_BYTES_MAX) {
        if pieces.send(Bytes::copy_from_slice(part)).await.is_err() {
            return false;
        }
    }
    true
}
