//! Bodies: what is sent compressed, and what comes, compressed or not, within bounds.

use bytes::{Buf as _, Bytes};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::problem::Failure;
use super::said;

/// What is decompressed at once.
const PIECE_BYTES: usize = 64 << 10;
/// 8 MiB, which every server may use (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;
/// Shorter bodies go as they are: they fit a packet.
const COMPRESSED_FROM: usize = 1 << 10;
/// Longer ones take so long to compress that others would wait.
const BLOCKING_FROM: usize = 128 << 10;
const LEVEL: i32 = 3;

/// What is sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) bytes: Bytes,
    pub(super) is_compressed: bool,
}

impl Sent {
    /// Compresses JSON if that is worth it.
    pub(super) async fn json(json: Vec<u8>) -> Self {
        let plain = Bytes::from(json);
        let compressed = match plain.len() {
            0..COMPRESSED_FROM => None,
            COMPRESSED_FROM..BLOCKING_FROM => compressed(&plain),
            BLOCKING_FROM.. => {
                let plain = plain.clone();
                let working = tokio::task::spawn_blocking(move || compressed(&plain));
                working.await.ok().flatten()
            }
        };
        Self {
            is_compressed: compressed.is_some(),
            bytes: compressed.map_or(plain, Bytes::from),
        }
    }
}

fn compressed(plain: &[u8]) -> Option<Vec<u8>> {
    let mut compressed = zstd::bulk::compress(plain, LEVEL).ok()?;
    // It has room for what does not compress, and waits for its answer.
    compressed.shrink_to_fit();
    Some(compressed)
}

/// What comes, piece by piece, decompressed.
pub(super) struct Coming {
    response: Response,
    decoder: Option<Decoder<'static>>,
    input: Bytes,
    /// Whether there may be more output without more input.
    has_more: bool,
    /// Whether the input may end here.
    is_whole: bool,
}

impl Coming {
    pub(super) fn new(response: Response) -> Result<Self, Failure> {
        let decoder = decoder(response.headers()).map_err(Failure::senseless)?;
        Ok(Self {
            response,
            decoder,
            input: Bytes::new(),
            has_more: false,
            is_whole: true,
        })
    }

    /// The next piece, which is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            // However well it is compressed, others have their turn.
            tokio::task::coop::consume_budget().await;
            if !self.input.is_empty() || self.has_more {
                let piece = self.step()?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                continue;
            }
            let piece = self.response.chunk().await;
            match piece.map_err(|error| Failure::Broken(said(error)))? {
                Some(piece) => self.input = piece,
                None if self.is_whole => return Ok(None),
                None => return Err(Failure::senseless("the answer broke off")),
            }
        }
    }

    /// All of it, up to a bound.
    pub(super) async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if all.len() + piece.len() > bytes_max {
                let why = format!("the answer is longer than {bytes_max} bytes");
                return Err(Failure::senseless(why));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Makes a piece; an empty one needs more input.
    fn step(&mut self) -> Result<Bytes, Failure> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(std::mem::take(&mut self.input));
        };
        let broken = || Failure::senseless("the answer is not compressed as it says");
        let mut out = vec![0; PIECE_BYTES];
        let mut input = InBuffer::around(&self.input);
        let mut output = OutBuffer::around(&mut out[..]);
        let wanted = decoder.run(&mut input, &mut output).map_err(|_| broken())?;
        let (taken, made) = (input.pos(), output.pos());
        self.is_whole = wanted == 0;
        self.has_more = made == PIECE_BYTES && !self.is_whole;
        if taken == 0 && made == 0 && !self.input.is_empty() {
            return Err(broken());
        }
        self.input.advance(taken);
        out.truncate(made);
        Ok(out.into())
    }
}

fn decoder(headers: &HeaderMap) -> Result<Option<Decoder<'static>>, String> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = codings.next().map(|coding| coding.as_bytes());
    match (coding, codings.next()) {
        (None | Some(b"identity"), None) => Ok(None),
        (Some(b"zstd"), None) => {
            let failed = |error: std::io::Error| error.to_string();
            let mut decoder = Decoder::new().map_err(failed)?;
            let window = DParameter::WindowLogMax(WINDOW_LOG_MAX);
            decoder.set_parameter(window).map_err(failed)?;
            Ok(Some(decoder))
        }
        _ => Err("the answer has a content coding that was not asked for".to_owned()),
    }
}
