//! The header of the PROXY protocol, with which a proxy begins a connection.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header that is read, what it says besides the addresses included.
/// The longest text of version 1 has 107 bytes; version 2 promises that proxies
/// stay within 536, whatever its length field could say.
const HEADER_BYTES_MAX: usize = 536;

/// What a header told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// The client. `None` when the proxy speaks for itself, as in a look whether we
    /// are there, or does not know.
    pub(crate) client: Option<SocketAddr>,
    /// What came behind the header already.
    pub(crate) rest: Vec<u8>,
}

/// Why there is no header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// The peer left without a byte.
    Silent,
    /// Something else came, or part of one.
    Wrong,
}

/// Reads a header of version 1 or 2. Has no deadline of its own.
pub(crate) async fn read_proxied<IO>(io: &mut IO) -> Result<Proxied, NoHeader>
where
    IO: AsyncRead + Unpin,
{
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX);
    loop {
        let room = HEADER_BYTES_MAX - bytes.len();
        let mut limited = (&mut *io).take(room as u64);
        match limited.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if bytes.is_empty() => return Err(NoHeader::Silent),
            Ok(0) | Err(_) => return Err(NoHeader::Wrong),
        }
        if let Some((client, length)) = parse(&bytes)? {
            bytes.drain(..length);
            let rest = bytes;
            return Ok(Proxied { client, rest });
        }
    }
}

/// The client and the header's length; `None` while more bytes could make it one.
fn parse(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    // The parser waits for more before it looks closely at short beginnings.
    let begins = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if !begins(V1) && !begins(V2) {
        return Err(NoHeader::Wrong);
    }
    let (header, length) = match ProxyHeader::parse(bytes, config) {
        Ok(parsed) => parsed,
        Err(Error::BufferTooShort) => return Ok(None),
        Err(_) => return Err(NoHeader::Wrong),
    };
    let client = match header.proxied_address() {
        Some(address) if address.protocol != Protocol::Stream => return Err(NoHeader::Wrong),
        Some(address) => {
            let mut source = address.source;
            source.set_ip(source.ip().to_canonical());
            Some(source)
        }
        None => None,
    };
    Ok(Some((client, length)))
}

/// What is said of a beginning is never taken back with more bytes, and no byte that
/// did not come is of the header.
pub(crate) fn fuzz_proxied(data: &[u8]) {
    let whole = parse(data);
    if let Ok(Some((_, length))) = whole {
        assert!(length <= data.len(), "{length} bytes of {}", data.len());
    }
    for end in 0..data.len().min(HEADER_BYTES_MAX) {
        let early = parse(&data[..end]);
        assert!(
            early == Ok(None) || early == whole,
            "{early:?} of {end} bytes became {whole:?}"
        );
    }
}

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A header of version 2: command, family, addresses and what else is said.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short");
        let head = [command, family];
        [V2, &head, &length.to_be_bytes(), body].concat()
    }

    const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x15, 0xb3, 0, 80];

    /// What comes of `sent` in two writes, split anywhere.
    async fn check(sent: &[u8], expect: Result<(Option<&str>, &[u8]), NoHeader>) {
        for split in 0..=sent.len() {
            let (mut near, mut far) = tokio::io::duplex(70_000);
            let (head, tail) = sent.split_at(split);
            let send = async {
                // Whoever is refused in the middle does not read the rest.
                let _ = far.write_all(head).await;
                tokio::task::yield_now().await;
                let _ = far.write_all(tail).await;
                drop(far);
            };
            let (read, ()) = tokio::join!(
                async {
                    let header = read_proxied(&mut near).await?;
                    let mut rest = header.rest;
                    near.read_to_end(&mut rest).await.expect("a pipe");
                    Ok((header.client, rest))
                },
                send
            );
            let expect = match &expect {
                Ok((client, rest)) => {
                    let client = client.map(|text| text.parse().expect("an address"));
                    Ok((client, rest.to_vec()))
                }
                Err(NoHeader::Silent) => Err(NoHeader::Silent),
                Err(NoHeader::Wrong) => Err(NoHeader::Wrong),
            };
            assert_eq!(read, expect, "{sent:?} split at {split}");
        }
    }

    #[tokio::test]
    async fn the_client_is_told_and_no_byte_behind_is_lost() {
        let v4 = b"PROXY TCP4 192.0.2.1 10.0.0.1 5555 80\r\nOEHASH";
        check(v4, Ok((Some("192.0.2.1:5555"), b"OEHASH"))).await;
        let v6 = b"PROXY TCP6 2001:db8::1 ::1 5555 80\r\n";
        check(v6, Ok((Some("[2001:db8::1]:5555"), b""))).await;
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5555 80\r\n";
        check(mapped, Ok((Some("192.0.2.1:5555"), b""))).await;
        let sent = [v2(0x21, 0x11, &ADDRESSES), b"\x16\x03".to_vec()].concat();
        check(&sent, Ok((Some("192.0.2.1:5555"), b"\x16\x03"))).await;
        let more = [&ADDRESSES[..], &[4, 0, 3, 1, 2, 3]].concat();
        check(&v2(0x21, 0x11, &more), Ok((Some("192.0.2.1:5555"), b""))).await;
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        check(b"PROXY UNKNOWN\r\nx", Ok((None, b"x"))).await;
        check(&v2(0x20, 0, b""), Ok((None, b""))).await;
        check(&v2(0x20, 0x11, &ADDRESSES), Ok((None, b""))).await;
        check(&v2(0x21, 0x31, &[0; 216]), Ok((None, b""))).await;
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        check(b"", Err(NoHeader::Silent)).await;
        for wrong in [
            &b"OEHASHEQUIV 1.1\n\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"P",
            b"PROXYxTCP4 192.0.2.1 10.0.0.1 5555 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5555 80\n",
            b"PROXY TCP4 2001:db8::1 ::1 5555 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 55555555 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1",
            &v2(0x31, 0x11, &ADDRESSES),
            &v2(0x21, 0x12, &ADDRESSES),
            &v2(0x21, 0x11, &ADDRESSES[..8]),
            &v2(0x21, 0x21, &ADDRESSES),
        ] {
            check(wrong, Err(NoHeader::Wrong)).await;
        }
    }

    #[tokio::test]
    async fn no_header_is_read_without_end() {
        for endless in [
            [V1, &vec![b'x'; 60_000]].concat(),
            [&b"PROXY UNKNOWN "[..], &vec![b'x'; 60_000]].concat(),
            v2(0x21, 0x11, &vec![0; 60_000]),
        ] {
            let (mut near, mut far) = tokio::io::duplex(70_000);
            far.write_all(&endless).await.expect("room");
            assert_eq!(read_proxied(&mut near).await, Err(NoHeader::Wrong));
            drop(far);
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.expect("a pipe");
            assert!(rest.len() >= endless.len() - HEADER_BYTES_MAX);
        }
    }
}
