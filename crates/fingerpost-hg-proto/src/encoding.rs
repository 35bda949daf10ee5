//! Content encodings: how the payloads of a stream are compressed.

use std::fmt;

mod compressor;
mod decompressor;

pub use compressor::Compressor;
pub use decompressor::Decompressor;

/// A content encoding. The order is the server's: of what a client lists, the
/// first of these is used, whatever the client's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentEncoding {
    /// A Zstandard frame (RFC 8878) with a window of at most 8 MiB.
    Zstd8mb,
    /// A zlib stream (RFC 1950).
    Zlib,
    /// The bytes as they are.
    Identity,
}

impl ContentEncoding {
    /// Every encoding, in the server's order.
    pub const ALL: [Self; 3] = [Self::Zstd8mb, Self::Zlib, Self::Identity];
    /// Base-2 logarithm of the largest window that a `zstd-8mb` stream has.
    pub const WINDOW_LOG_MAX: u32 = 23;

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd8mb => "zstd-8mb",
            Self::Zlib => "zlib",
            Self::Identity => "identity",
        }
    }

    /// The encoding of a name on the wire; `None` for an unknown one.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.name().as_bytes() == name)
    }

    /// What a server uses for a client that lists these names. `None`: it
    /// lists nothing known, so the stream has no settings and its payloads
    /// travel as they are.
    pub fn choose<N: AsRef<[u8]>>(offered: impl IntoIterator<Item = N>) -> Option<Self> {
        let known = offered
            .into_iter()
            .filter_map(|name| Self::from_name(name.as_ref()));
        known.min()
    }
}

impl fmt::Display for ContentEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a stream could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// There was no memory for a context.
    #[error("no memory for a {0} context")]
    NoMemory(ContentEncoding),
    /// The library refused to go on.
    #[error("{encoding}: {reason}")]
    Library {
        /// The encoding of the stream.
        encoding: ContentEncoding,
        /// The library's own words.
        reason: &'static str,
    },
    /// Bytes follow the end of a zlib stream.
    #[error("zlib: bytes follow the end of the stream")]
    AfterEnd,
}

impl EncodingError {
    fn zstd(code: usize) -> Self {
        Self::Library {
            encoding: ContentEncoding::Zstd8mb,
            reason: zstd::zstd_safe::get_error_name(code),
        }
    }

    const fn zlib(reason: &'static str) -> Self {
        Self::Library {
            encoding: ContentEncoding::Zlib,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
