//! As much of HTTP as a question needs, over any connection.

use std::io;

use fingerpost_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of an answer's head, and of its body, that are read.
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: u64 = 1 << 20;

/// An answer, its body up to where it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When the server made it, by its own clock.
    pub(super) date: Option<Timestamp>,
    pub(super) body: Vec<u8>,
}

/// Asks and reads up to the end. Waits as long as the other side does: limit it.
pub(super) async fn get<IO>(mut io: IO, host: &str, path: &str) -> io::Result<Answer>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let mut received = Vec::new();
    loop {
        if let Some((mut answer, length)) = head(&received) {
            let missing = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
            let missing = missing.saturating_sub(answer.body.len() as u64);
            // What ends early is judged by whoever reads the body.
            _ = io.take(missing).read_to_end(&mut answer.body).await?;
            return Ok(answer);
        }
        if received.len() > HEAD_BYTES_MAX || io.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The answer as far as it came, once its head is whole, and the length of its body.
fn head(received: &[u8]) -> Option<(Answer, Option<u64>)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&received[..end]);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?;
    let mut answer = Answer {
        status: status.parse().ok()?,
        date: None,
        body: received[end + 4..].to_vec(),
    };
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match &*name.to_ascii_lowercase() {
            "date" => answer.date = date(value.trim()),
            "content-length" => length = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some((answer, length))
}

fn date(text: &str) -> Option<Timestamp> {
    let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Timestamp(moment.unix_timestamp().saturating_mul(1_000_000)))
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn answered(text: &'static str) -> io::Result<Answer> {
        let (near, mut far): (DuplexStream, DuplexStream) = tokio::io::duplex(4096);
        far.write_all(text.as_bytes()).await.unwrap();
        let asking = get(near, "h", "/version");
        let ending = async {
            let mut line = [0; 24];
            far.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"GET /version HTTP/1.1\r\nh");
            far.shutdown().await.unwrap();
        };
        tokio::join!(asking, ending).0
    }

    #[tokio::test]
    async fn status_date_and_body_are_read() {
        let answer =
            answered("HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:07 GMT\r\n\r\nbody");
        let expected = Answer {
            status: 404,
            date: Some(Timestamp(7_000_000)),
            body: b"body".to_vec(),
        };
        assert_eq!(answer.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_body_ends_where_its_length_says() {
        let answer = answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        assert_eq!(answer.unwrap().body, b"{}");
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        assert!(answered("").await.is_err());
        assert!(answered("{\"alive\": true}\n").await.is_err());
    }
}
