//! A body that is made as fast as the client takes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use fingerpost_core::More;
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::lanes::Place;
use crate::refusal::Refusal;
use crate::work::Work;

/// What a request's first piece of work came to.
pub(crate) struct Piece {
    pub(crate) work: Work,
    pub(crate) bytes: Vec<u8>,
    pub(crate) more: More,
}

/// Begins work on a blocking thread, when it is its turn.
pub(crate) async fn first_piece(
    turns: &Semaphore,
    begin: impl FnOnce() -> Result<Work, Refusal> + Send + 'static,
) -> Result<Piece, Refusal> {
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a request cannot be answered");
        Refusal::server_error()
    };
    let _turn = turns.acquire().await.map_err(|error| broken(&error))?;
    let working = tokio::task::spawn_blocking(move || begin().map(work_for_a_while));
    let piece = working.await.map_err(|panic| broken(&panic))?;
    piece?.map_err(|error| broken(&error))
}

/// Works for a while on a blocking thread, when it is its turn.
async fn next_piece(work: Work, turns: &Semaphore) -> io::Result<Piece> {
    let _turn = turns.acquire().await.map_err(io::Error::other)?;
    let working = tokio::task::spawn_blocking(move || work_for_a_while(work));
    working
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn work_for_a_while(mut work: Work) -> io::Result<Piece> {
    let mut bytes = Vec::new();
    let more = work.go_on(&mut bytes).map_err(io::Error::other)?;
    Ok(Piece { work, bytes, more })
}

/// A body that begins with `first` and goes on until its work is done, but not
/// for longer than `limit`. `place` is held until then.
pub(crate) fn streaming(
    first: Piece,
    limit: Duration,
    place: Place,
    turns: Arc<Semaphore>,
) -> Body {
    if first.more == More::No {
        return Body::from(first.bytes);
    }
    // One piece waits for the client while the next one is made.
    let (pieces, taken) = mpsc::channel(1);
    let (failed, failure) = oneshot::channel();
    tokio::spawn(async move {
        let deadline = Instant::now() + limit;
        let made = timeout_at(deadline, make(first, &turns, &pieces)).await;
        let outcome = made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = outcome {
            // Left for whoever reads on: waiting for a client that does not
            // would hold the place for as long as it likes.
            let _ = failed.send(error);
        }
        drop(place);
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
async fn make(first: Piece, turns: &Semaphore, pieces: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut piece = first;
    loop {
        let bytes = std::mem::take(&mut piece.bytes);
        let gone = match bytes.is_empty() {
            true => pieces.is_closed(),
            false => pieces.send(bytes.into()).await.is_err(),
        };
        if gone || piece.more == More::No {
            return Ok(());
        }
        piece = next_piece(piece.work, turns).await?;
    }
}
