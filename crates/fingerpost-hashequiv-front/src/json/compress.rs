//! Compressing answers.

use std::io::{self, Write as _};

use axum::body::HttpBody as _;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder as ZstdEncoder;

/// Shorter answers go as they are: they fit a packet.
const BYTES_MIN: u64 = 1024;
/// What is compressed before others have their turn.
const PIECE_BYTES: usize = 64 << 10;
const ZSTD_LEVEL: i32 = 3;
/// 256 KiB: answers repeat themselves at short distances, and there may be many.
const ZSTD_WINDOW_LOG: u32 = 18;
const GZIP_LEVEL: u32 = 4;

/// Compresses what a route answers, if its client asks for it. A piece of a stream
/// goes out whole: whoever waits for it gets it before the next one is made.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let coding = Coding::asked(request.headers());
    let mut response = next.run(request).await;
    let len = response.body().size_hint().exact();
    let is_short = len.is_some_and(|len| len < BYTES_MIN);
    // Shards are hashes, which nothing compresses, and may be asked for in parts.
    let is_parts = response.headers().contains_key(header::ACCEPT_RANGES);
    if is_short || is_parts || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let vary = HeaderValue::from_static("accept-encoding");
    response.headers_mut().append(header::VARY, vary);
    let with_encoder = |coding: Coding| Some((coding, coding.encoder(len).ok()?));
    let Some((coding, encoder)) = coding.and_then(with_encoder) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, coding.name());
    weaken(&mut parts.headers);
    Response::from_parts(parts, compressed(body, encoder))
}

/// The tag names an answer, and not these very bytes any more.
fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let weak = strong.filter(|tag| tag.starts_with('"'));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// The coding that a client likes best; of several, the better one.
    fn asked(headers: &HeaderMap) -> Option<Self> {
        let all = headers.get_all(header::ACCEPT_ENCODING).iter();
        let texts = all.filter_map(|value| value.to_str().ok());
        let mut wishes = Wishes::default();
        for wish in texts.flat_map(|text| text.split(',')) {
            wishes.add(wish);
        }
        wishes.best()
    }

    const fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        })
    }

    /// For a body of `len` bytes, if that is known: neither side needs a larger window then.
    fn encoder(self, len: Option<u64>) -> io::Result<Encoder> {
        Ok(match self {
            Self::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
                encoder.set_pledged_src_size(len)?;
                Encoder::Zstd(encoder)
            }
            Self::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
        })
    }
}

/// How much each coding is wished, of 0 to 1.
#[derive(Default)]
struct Wishes {
    zstd: Option<f32>,
    gzip: Option<f32>,
    identity: Option<f32>,
    any: Option<f32>,
}

impl Wishes {
    fn add(&mut self, wish: &str) {
        let mut parts = wish.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |text| text.parse().ok());
        let place = match &*name {
            "zstd" => &mut self.zstd,
            "gzip" | "x-gzip" => &mut self.gzip,
            "identity" => &mut self.identity,
            "*" => &mut self.any,
            _ => return,
        };
        *place = Some(weight.unwrap_or(0.0));
    }

    fn best(&self) -> Option<Coding> {
        let of = |wish: Option<f32>| wish.or(self.any).unwrap_or(0.0);
        let (zstd, gzip) = (of(self.zstd), of(self.gzip));
        let plain = self.identity.unwrap_or(0.0);
        let (coding, weight) = match zstd >= gzip {
            true => (Coding::Zstd, zstd),
            false => (Coding::Gzip, gzip),
        };
        (weight > 0.0 && weight >= plain).then_some(coding)
    }
}

enum Encoder {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// Compresses a part, so that it can be read when it arrives if it `ends` a piece.
    fn write(&mut self, part: &[u8], ends: bool) -> io::Result<Bytes> {
        let made = match self {
            Self::Zstd(encoder) => {
                encoder.write_all(part)?;
                if ends {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Self::Gzip(encoder) => {
                encoder.write_all(part)?;
                if ends {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(made.into())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?.into(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
        })
    }
}

fn compressed(body: Body, encoder: Encoder) -> Body {
    let begin = Some((body.into_data_stream(), encoder, Bytes::new()));
    let pieces = stream::unfold(begin, async |state| {
        let (mut body, mut encoder, mut piece) = state?;
        tokio::task::coop::consume_budget().await;
        if piece.is_empty() {
            piece = match body.next().await {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Some((Err(io::Error::other(error)), None)),
                None => return Some((encoder.finish(), None)),
            };
        }
        let part = piece.split_to(piece.len().min(PIECE_BYTES));
        match encoder.write(&part, piece.is_empty()) {
            Ok(made) => Some((Ok(made), Some((body, encoder, piece)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    // What has not filled a block yet is no piece of a body.
    let pieces = pieces.filter(|made| {
        let is_something = made.as_ref().map_or(true, |made| !made.is_empty());
        std::future::ready(is_something)
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_a_length_needs_no_larger_window() {
        let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
        for (len, is_small) in [(Some(text.len() as u64), true), (None, false)] {
            let body = Body::from(text.clone());
            let made = compressed(body, Coding::Zstd.encoder(len).unwrap());
            let made = axum::body::to_bytes(made, 1 << 20).await.unwrap();
            let mut decoder = zstd::Decoder::new(&made[..]).unwrap();
            decoder.window_log_max(10).unwrap();
            let read = io::read_to_string(decoder);
            assert_eq!(read.is_ok_and(|read| read == text), is_small, "{len:?}");
        }
    }

    #[test]
    fn the_coding_is_the_one_that_is_wished_most() {
        let check = |asked: &'static str, wanted: Option<Coding>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(asked));
            assert_eq!(Coding::asked(&headers), wanted, "{asked}");
        };
        check("gzip, deflate, br, zstd", Some(Coding::Zstd));
        check("zstd;q=0.5, gzip", Some(Coding::Gzip));
        check("GZIP", Some(Coding::Gzip));
        check("*", Some(Coding::Zstd));
        check("*, zstd;q=0", Some(Coding::Gzip));
        for none in [
            "",
            "br",
            "identity",
            "gzip;q=0",
            "gzip;q=0.5, identity;q=1",
            "gzip;q=x",
        ] {
            check(none, None);
        }
        assert_eq!(Coding::asked(&HeaderMap::new()), None);
    }
}
