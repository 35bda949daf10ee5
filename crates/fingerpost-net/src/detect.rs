//! What a connection speaks, told by its first bytes.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// BitBake's line protocol, or nothing that anybody knows: its door closes
    /// what it does not understand.
    Line,
    /// HTTP/1.x, WebSocket upgrades included, or HTTP/2 without TLS.
    Http,
    /// A TLS client hello.
    Tls,
}

/// How every HTTP connection begins. A method token alone would not do: the
/// first line of BitBake's protocol, `OEHASHEQUIV 1.1`, begins with one too.
/// Of HTTP/2 the whole preface is awaited, so that the wait has our deadline.
const HTTP: [&[u8]; 11] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"QUERY ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];
/// How a TLS connection begins: a handshake record of any version so far.
const TLS: &[u8] = &[0x16, 0x03];
/// The most that is read before the protocol is known, and usually in one go.
const OPENING_BYTES: usize = 4096;

/// Tells the protocol, or `None` while `bytes` could still become one or the
/// other. Certain after 24 bytes at the latest, mostly after two.
pub fn detect(bytes: &[u8]) -> Option<Detected> {
    let known = HTTP.iter().map(|start| (*start, Detected::Http));
    let known = known.chain([(TLS, Detected::Tls)]);
    let mut undecided = false;
    for (start, detected) in known {
        if bytes.starts_with(start) {
            return Some(detected);
        }
        undecided |= start.starts_with(bytes);
    }
    (!undecided).then_some(Detected::Line)
}

/// How a connection began.
#[derive(Debug)]
pub(crate) enum Opening {
    /// It is known what it speaks; these bytes were read to know it.
    Known(Detected, Vec<u8>),
    /// The peer closed, or reset, without having sent a byte.
    Silent,
    /// The deadline passed first; whether any byte had come.
    TimedOut { silent: bool },
}

/// Reads until the protocol is known, if `first`, which was read already, does not
/// tell. A peer that closes its side before that
/// is left to the line door, which has the words for it (none).
pub(crate) async fn read_opening<IO>(io: &mut IO, mut first: Vec<u8>, deadline: Instant) -> Opening
where
    IO: AsyncRead + Unpin,
{
    let reading = async {
        loop {
            if let Some(detected) = detect(&first) {
                return Some(detected);
            }
            first.reserve_exact(512);
            // The buffer bounds what is read; certainty comes long before it is full.
            let room = OPENING_BYTES.saturating_sub(first.len());
            let mut limited = (&mut *io).take(room as u64);
            if limited.read_buf(&mut first).await.unwrap_or(0) == 0 {
                return (!first.is_empty()).then_some(Detected::Line);
            }
        }
    };
    match timeout_at(deadline, reading).await {
        Ok(Some(detected)) => Opening::Known(detected, first),
        Ok(None) => Opening::Silent,
        Err(_) => Opening::TimedOut {
            silent: first.is_empty(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    const WHOLE: [(&[u8], Detected); 10] = [
        (b"OEHASHEQUIV 1.1\n\n", Detected::Line),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Detected::Http),
        (b"GET / HTTP/1.1\r\n\r\n", Detected::Http),
        (b"PUT /x HTTP/1.1\r\n\r\n", Detected::Http),
        (b"QUERY /x HTTP/1.1\r\n\r\n", Detected::Http),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Http),
        (b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", Detected::Line),
        (b"\x16\x03\x01\x02\x00", Detected::Tls),
        (b"{\"ping\": {}}\n", Detected::Line),
        (b"\n", Detected::Line),
    ];

    #[test]
    fn longer_beginnings_never_change_a_verdict() {
        for (bytes, expect) in WHOLE {
            let verdicts: Vec<_> = (0..=bytes.len()).map(|n| detect(&bytes[..n])).collect();
            let certain = verdicts
                .iter()
                .position(Option::is_some)
                .expect("certain at the end");
            assert!(
                verdicts[certain..].iter().all(|v| *v == Some(expect)),
                "{verdicts:?}"
            );
        }
    }

    #[test]
    fn one_letter_that_two_protocols_share_is_not_enough() {
        assert_eq!(detect(b""), None);
        assert_eq!(detect(b"O"), None);
        assert_eq!(detect(b"OE"), Some(Detected::Line));
        assert_eq!(detect(b"OP"), None);
        assert_eq!(detect(b"OPTIONS"), None);
        assert_eq!(detect(b"OPTIONS\t"), Some(Detected::Line));
        assert_eq!(detect(b"\x16"), None);
        assert_eq!(detect(b"\x16\x02"), Some(Detected::Line));
        assert_eq!(detect(b"get "), Some(Detected::Line));
    }

    #[tokio::test]
    async fn every_split_gives_the_same_protocol_and_loses_no_byte() {
        for (bytes, expect) in WHOLE {
            for split in 1..bytes.len().max(2) {
                let (mut near, mut far) = tokio::io::duplex(64);
                let (head, tail) = bytes.split_at(split.min(bytes.len()));
                let send = async {
                    far.write_all(head).await.expect("room");
                    tokio::task::yield_now().await;
                    far.write_all(tail).await.expect("room");
                };
                let deadline = Instant::now() + Duration::from_secs(10);
                let (opening, ()) =
                    tokio::join!(read_opening(&mut near, Vec::new(), deadline), send);
                let Opening::Known(detected, first) = opening else {
                    panic!("{opening:?}")
                };
                assert_eq!(detected, expect);
                assert!(bytes.starts_with(&first));
            }
        }
    }

    #[tokio::test]
    async fn a_shared_letter_alone_waits_until_the_deadline() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"O").await.expect("room");
        let deadline = Instant::now() + Duration::from_millis(20);
        let opening = read_opening(&mut near, Vec::new(), deadline).await;
        assert!(
            matches!(opening, Opening::TimedOut { silent: false }),
            "{opening:?}"
        );
        assert!(Instant::now() >= deadline);
    }

    #[tokio::test]
    async fn a_peer_that_leaves_early_is_silent_or_for_the_line_door() {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (mut near, far) = tokio::io::duplex(64);
        drop(far);
        assert!(matches!(
            read_opening(&mut near, Vec::new(), deadline).await,
            Opening::Silent
        ));
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"GE").await.expect("room");
        drop(far);
        let opening = read_opening(&mut near, Vec::new(), deadline).await;
        assert!(matches!(opening, Opening::Known(Detected::Line, first) if first == b"GE"));
    }
}
