//! Closing without cutting off the last words.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The most that is read and thrown away.
const BYTES_MAX: usize = 16 << 20;
/// The longest wait for the peer to close.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Closes `io` so that what was written last arrives: ends our side, then
/// reads what the peer still sends until it closes, at most 16 MiB and 2 s.
///
/// Closing a TCP socket that has unread input resets the connection, and a
/// reset makes the peer's kernel forget an error message that its program has
/// not read yet.
pub async fn linger<IO>(io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    linger_at_most(io, TIME_MAX).await;
}

async fn linger_at_most<IO>(mut io: IO, time_max: Duration)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if io.shutdown().await.is_err() {
            return;
        }
        let mut waste = vec![0; 16 << 10];
        let mut left = BYTES_MAX;
        while let Ok(read @ 1..) = io.read(&mut waste).await {
            let Some(rest) = left.checked_sub(read) else {
                return;
            };
            left = rest;
        }
    };
    // Too late is as good as done: the socket is closed either way.
    let _ = timeout(time_max, closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_peer_can_finish_what_it_is_sending() {
        let (near, mut far) = tokio::io::duplex(16);
        let closing = tokio::spawn(linger(near));
        far.write_all(&[b'x'; 4096])
            .await
            .expect("read on the other side");
        let mut nothing = Vec::new();
        assert_eq!(
            far.read_to_end(&mut nothing).await.expect("our side ended"),
            0
        );
        drop(far);
        closing.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_peer_that_never_closes_is_left_in_time() {
        let (near, _far) = tokio::io::duplex(16);
        linger_at_most(near, Duration::from_millis(20)).await;
    }
}
