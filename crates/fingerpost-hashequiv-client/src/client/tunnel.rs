//! A way through a proxy: `CONNECT` of HTTP, which is what a WebSocket takes.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::ConnectError;

/// Bytes of what a proxy answers, at most.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Asks the proxy at the other end of a stream for a way to `authority`, `HOST:PORT`. The
/// stream is that way afterwards.
pub(super) async fn open<IO>(
    stream: &mut IO,
    proxy: &Url,
    authority: &str,
) -> Result<(), ConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(login) = login(proxy) {
        head.push_str("Proxy-Authorization: Basic ");
        head.push_str(&BASE64_STANDARD.encode(login));
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let answer = read_head(stream).await?;
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(refused(proxy, &format!("it answers {status}"))),
        None => Err(refused(proxy, "it does not answer in HTTP")),
    }
}

/// `user:password` of a proxy's URL.
fn login(proxy: &Url) -> Option<String> {
    let decoded = |text| fingerpost_net::percent_decoded(text);
    let (user, password) = (proxy.username(), proxy.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let password = password.unwrap_or_default();
    Some(format!("{}:{}", decoded(user)?, decoded(password)?))
}

/// All up to the empty line, and nothing after it: whoever is behind the proxy speaks when
/// spoken to.
async fn read_head<IO: AsyncRead + Unpin>(stream: &mut IO) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        // Byte by byte, of some hundred: what follows is not ours to take.
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

fn refused(proxy: &Url, why: &str) -> ConnectError {
    ConnectError::Proxy {
        // Without its login.
        proxy: proxy.host_str().unwrap_or_default().to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(proxy: &str, answer: &[u8]) -> (Result<(), ConnectError>, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(answer).await.unwrap();
        let proxy = Url::parse(proxy).unwrap();
        let opened = open(&mut ours, &proxy, "farm.example:443").await;
        drop(ours);
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        (opened, asked)
    }

    #[tokio::test]
    async fn a_way_is_asked_for_with_the_login_of_the_url() {
        let (opened, asked) = ask("http://u:p%40ss@proxy:3128", b"HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(opened.is_ok());
        let expect = "CONNECT farm.example:443 HTTP/1.1\r\nHost: farm.example:443\r\n\
                      Proxy-Authorization: Basic dTpwQHNz\r\n\r\n";
        assert_eq!(asked, expect);
        let (_, asked) = ask("http://proxy:3128", b"HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(!asked.contains("Authorization"));
    }

    #[tokio::test]
    async fn a_refusal_is_told_without_the_login() {
        let head = b"HTTP/1.1 407 Proxy Authentication Required\r\nA: b\r\n\r\n";
        let (opened, _) = ask("http://u:hunter2@proxy:3128", head).await;
        let error = opened.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no way through the proxy proxy: it answers 407"
        );
        for other in [&b"SSH-2.0-x\r\n\r\n"[..], &[b'x'; HEAD_BYTES_MAX]] {
            assert!(ask("http://proxy:3128", other).await.0.is_err());
        }
    }
}
