//! Decompressing the payloads of one stream.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{ContentEncoding, EncodingError};

/// The decompression context of one response stream. Streams need not be
/// terminated, and a window of more than 8 MiB is refused, so a context never
/// takes more than about 9 MiB.
pub struct Decompressor {
    context: Context,
}

enum Context {
    Zstd {
        context: Box<DCtx<'static>>,
        ended: bool,
    },
    Zlib {
        context: Box<Decompress>,
        ended: bool,
    },
    Identity,
}

impl Decompressor {
    /// A context at the start of a stream.
    ///
    /// # Errors
    ///
    /// [`EncodingError::NoMemory`].
    pub fn new(encoding: ContentEncoding) -> Result<Self, EncodingError> {
        let context = match encoding {
            ContentEncoding::Identity => Context::Identity,
            ContentEncoding::Zlib => Context::Zlib {
                context: Box::new(Decompress::new(true)),
                ended: false,
            },
            ContentEncoding::Zstd8mb => Context::Zstd {
                context: Box::new(zstd_context()?),
                ended: false,
            },
        };
        Ok(Self { context })
    }

    /// The encoding of the stream.
    pub const fn encoding(&self) -> ContentEncoding {
        match self.context {
            Context::Zstd { .. } => ContentEncoding::Zstd8mb,
            Context::Zlib { .. } => ContentEncoding::Zlib,
            Context::Identity => ContentEncoding::Identity,
        }
    }

    /// Decompresses from the front of `input`, and appends at most `most` bytes
    /// to `out`. Fewer than `most` come only once all of `input` is used up and
    /// everything that can be decoded from it was.
    ///
    /// # Errors
    ///
    /// [`EncodingError`] for what is no such stream, or one with a larger window.
    pub fn decompress(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), EncodingError> {
        let start = out.len();
        out.resize(start.saturating_add(most), 0);
        let mut written = 0;
        let result = loop {
            let room = out.get_mut(start + written..).unwrap_or_default();
            if room.is_empty() {
                break Ok(());
            }
            let before = input.len();
            match self.step(input, room) {
                Err(error) => break Err(error),
                Ok(0) if input.len() == before => break self.check_progress(input),
                Ok(some) => written += some,
            }
        };
        out.truncate(start + written);
        result
    }

    /// Decompresses all of `input` and gives it to `take` in pieces of `most` bytes
    /// and a shorter one at the end: whatever it expands to, no more is held.
    ///
    /// # Errors
    ///
    /// [`EncodingError`], as an error of `take`, or one of `take`.
    pub fn each_piece<E: From<EncodingError>>(
        &mut self,
        mut input: &[u8],
        most: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut piece = Vec::new();
        loop {
            piece.clear();
            self.decompress(&mut input, &mut piece, most)?;
            take(&piece)?;
            if piece.len() < most {
                return Ok(());
            }
        }
    }

    /// Whether what was taken in is a whole stream, all of it decompressed. Streams
    /// of frames may stop without that; content that is stored may not.
    pub const fn is_complete(&self) -> bool {
        match self.context {
            Context::Zstd { ended, .. } | Context::Zlib { ended, .. } => ended,
            Context::Identity => true,
        }
    }

    /// Decompresses what the library likes to in one go; gives back how many
    /// bytes came out.
    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<usize, EncodingError> {
        match &mut self.context {
            Context::Identity => {
                let (part, rest) = input.split_at(room.len().min(input.len()));
                room[..part.len()].copy_from_slice(part);
                *input = rest;
                Ok(part.len())
            }
            Context::Zlib { ended: true, .. } => match input.is_empty() {
                true => Ok(0),
                false => Err(EncodingError::AfterEnd),
            },
            Context::Zlib { context, ended } => {
                let before = (context.total_in(), context.total_out());
                let status = context
                    .decompress(input, room, FlushDecompress::None)
                    .map_err(|_| EncodingError::zlib("the data is corrupt"))?;
                *ended = status == Status::StreamEnd;
                let taken = usize::try_from(context.total_in() - before.0).unwrap_or(usize::MAX);
                *input = input.get(taken..).unwrap_or_default();
                Ok(usize::try_from(context.total_out() - before.1).unwrap_or(0))
            }
            Context::Zstd { context, ended } => {
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(room);
                let left = context
                    .decompress_stream(&mut to, &mut from)
                    .map_err(EncodingError::zstd)?;
                let (taken, written) = (from.pos(), to.pos());
                if taken + written > 0 {
                    *ended = left == 0;
                }
                *input = input.get(taken..).unwrap_or_default();
                Ok(written)
            }
        }
    }

    /// No byte went in and none came out: fine at the end of the input only.
    fn check_progress(&self, input: &[u8]) -> Result<(), EncodingError> {
        match input.is_empty() {
            true => Ok(()),
            false => Err(EncodingError::Library {
                encoding: self.encoding(),
                reason: "the data does not go on",
            }),
        }
    }
}

fn zstd_context() -> Result<DCtx<'static>, EncodingError> {
    let mut context =
        DCtx::try_create().ok_or(EncodingError::NoMemory(ContentEncoding::Zstd8mb))?;
    context
        .set_parameter(DParameter::WindowLogMax(ContentEncoding::WINDOW_LOG_MAX))
        .map_err(EncodingError::zstd)?;
    Ok(context)
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decompressor")
            .field(&self.encoding())
            .finish()
    }
}
