//! Bodies of requests that came compressed.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Buf as _;
use flate2::{Decompress, FlushDecompress, Status};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use zstd::stream::raw::{self, DParameter, InBuffer, Operation as _, OutBuffer};

use super::problem::Problem;

/// A body as it is meant, whatever way it came.
pub(super) struct Pieces {
    stream: Stream,
    /// The most that the decoder keeps of what it made.
    kept_max: usize,
    /// Bytes that were made.
    made: usize,
}

type Stream = BoxStream<'static, Result<Bytes, Problem>>;

impl Pieces {
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        let piece = self.stream.next().await;
        if let Some(Ok(bytes)) = &piece {
            self.made = self.made.saturating_add(bytes.len());
        }
        piece
    }

    /// Bytes of what was made that are held to make more of them, at most.
    pub(super) fn kept(&self) -> usize {
        self.made.min(self.kept_max)
    }
}

/// What is decompressed at once.
const PIECE_BYTES: usize = 64 << 10;
/// 8 MiB, which every client may use (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;
const GZIP_WINDOW_LOG: u8 = 15;
const CODINGS: &str = "zstd, gzip";

/// The pieces of a body. They hold 64 KiB of what a compressed one becomes; how
/// much it becomes altogether is for the reader to bound.
pub(super) fn pieces(headers: &HeaderMap, body: Body) -> Result<Pieces, Problem> {
    let plain = body
        .into_data_stream()
        .map(|piece| piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "body-broken")));
    let Some(decoder) = decoder(headers)? else {
        return Ok(Pieces {
            stream: plain.boxed(),
            kept_max: 0,
            made: 0,
        });
    };
    let kept_max = decoder.window_bytes_max();
    let decoding = Decoding {
        body: plain.boxed(),
        decoder,
        input: Bytes::new(),
        has_more: false,
        is_whole: true,
    };
    let stream = stream::unfold(Some(decoding), async |decoding| {
        let mut decoding = decoding?;
        // However well it is compressed, others have their turn.
        tokio::task::coop::consume_budget().await;
        match decoding.next().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(piece), Some(decoding))),
            Err(problem) => Some((Err(problem), None)),
        }
    });
    Ok(Pieces {
        stream: stream.boxed(),
        kept_max,
        made: 0,
    })
}

fn decoder(headers: &HeaderMap) -> Result<Option<Decoder>, Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = codings
        .next()
        .map_or(b"identity" as &[u8], HeaderValue::as_bytes);
    let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
    if codings.next().is_none() {
        if is("identity") {
            return Ok(None);
        }
        if is("gzip") || is("x-gzip") {
            return Ok(Some(Decoder::Gzip(new_gzip())));
        }
        if is("zstd") {
            let mut decoder = raw::Decoder::new().map_err(|_| broken())?;
            let window = DParameter::WindowLogMax(WINDOW_LOG_MAX);
            decoder.set_parameter(window).map_err(|_| broken())?;
            return Ok(Some(Decoder::Zstd(decoder)));
        }
    }
    Err(
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding")
            .detail("a body comes as it is, or compressed once with zstd or gzip")
            .header("accept-encoding", CODINGS),
    )
}

fn new_gzip() -> Decompress {
    Decompress::new_gzip(GZIP_WINDOW_LOG)
}

fn broken() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body-encoding")
        .detail("the body is not compressed as Content-Encoding says, or broke off")
}

enum Decoder {
    Gzip(Decompress),
    Zstd(raw::Decoder<'static>),
}

impl Decoder {
    const fn window_bytes_max(&self) -> usize {
        match self {
            Self::Gzip(_) => 1 << GZIP_WINDOW_LOG,
            Self::Zstd(_) => 1 << WINDOW_LOG_MAX,
        }
    }
}

struct Decoding {
    body: Stream,
    decoder: Decoder,
    input: Bytes,
    /// Whether there may be more output without more input.
    has_more: bool,
    /// Whether the input may end here.
    is_whole: bool,
}

impl Decoding {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if !self.input.is_empty() || self.has_more {
                let piece = self.step()?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                continue;
            }
            match self.body.next().await {
                Some(piece) => self.input = piece?,
                None if self.is_whole => return Ok(None),
                None => return Err(broken()),
            }
        }
    }

    /// Makes a piece; an empty one needs more input.
    fn step(&mut self) -> Result<Bytes, Problem> {
        let mut out = vec![0; PIECE_BYTES];
        let (taken, made) = match &mut self.decoder {
            Decoder::Gzip(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(&self.input, &mut out, FlushDecompress::None);
                let taken = decoder.total_in() - before.0;
                let made = decoder.total_out() - before.1;
                self.is_whole = match status.map_err(|_| broken())? {
                    // Another member may follow.
                    Status::StreamEnd => {
                        *decoder = new_gzip();
                        true
                    }
                    Status::Ok | Status::BufError => false,
                };
                // Neither is more than the buffers' lengths.
                (taken as usize, made as usize)
            }
            Decoder::Zstd(decoder) => {
                let mut input = InBuffer::around(&self.input);
                let mut output = OutBuffer::around(&mut out[..]);
                let wanted = decoder.run(&mut input, &mut output);
                self.is_whole = wanted.map_err(|_| broken())? == 0;
                (input.pos(), output.pos())
            }
        };
        self.has_more = made == PIECE_BYTES && !self.is_whole;
        if taken == 0 && made == 0 && !self.input.is_empty() {
            return Err(broken());
        }
        self.input.advance(taken);
        out.truncate(made);
        Ok(out.into())
    }
}
