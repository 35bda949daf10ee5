//! Siginfo listings as they are stored: zstd, and for a task that was built
//! before only what differs from a base listing of the same (method, PN, task).
//!
//! The figures behind the choices stand in `docs/decisions/siginfo.md`: a delta
//! against the last listing of the task is 13 to 139 times smaller than the
//! text, a trained dictionary gains a tenth. Chains have length one: a base is
//! always complete, so a read costs two rows at most.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::{CCtx, DCtx};

/// The largest text that is stored: a longer one would need a longer message
/// than any limit allows.
pub const TEXT_BYTES_MAX: usize = 256 << 20;

/// The fastest ordinary level. Higher ones find nothing more in hashes, and
/// their longer matches make deltas larger: 724, 748, 846 bytes at 1, 3, 6.
const LEVEL: i32 = 1;

/// The first 16 bytes of the SHA-256 of a listing: equal listings are stored once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Digests `text`.
    pub fn of(text: &[u8]) -> Self {
        let full: [u8; 32] = Sha256::digest(text).into();
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        Self(short)
    }
}

/// A stored listing does not decode: the row, or its base, was damaged.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// zstd refused the bytes.
    #[error("stored siginfo is no valid zstd frame: {0}")]
    Zstd(&'static str),
    /// The text is not the one whose digest was stored beside it: the row, or
    /// its base, is another one.
    #[error("stored siginfo decodes to another text than was stored")]
    Digest,
    /// The length is not what was stored beside it.
    #[error("stored siginfo has {actual} bytes instead of {expected}")]
    Length {
        /// Bytes that the row promises.
        expected: usize,
        /// Bytes that came out.
        actual: usize,
    },
}

/// What [`encode`] made of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// A frame of its own; it becomes the base of its family.
    Base(Vec<u8>),
    /// A frame that needs the text of the base to be read.
    Delta(Vec<u8>),
}

impl Encoded {
    /// The compressed bytes.
    pub fn data(&self) -> &[u8] {
        match self {
            Self::Base(data) | Self::Delta(data) => data,
        }
    }
}

/// A base listing: its text, and how many bytes its own frame has.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The text.
    pub text: &'a [u8],
    /// Bytes of the stored frame.
    pub stored_bytes: usize,
}

/// Encodes `text`, against `base` when there is one. A delta larger than half
/// of a fresh encoding is dropped, and the listing becomes the new base.
pub fn encode(text: &[u8], base: Option<Base<'_>>) -> Encoded {
    let Some(base) = base else {
        return Encoded::Base(compress(text, None));
    };
    let delta = compress(text, Some(base.text));
    // Encoding afresh costs as much as the delta did. It can be spared where
    // the delta is far below the half: a listing compresses about as well as
    // another listing of the same task.
    let ratio_estimate = base.stored_bytes as f64 / base.text.len().max(1) as f64;
    let fresh_estimate = text.len() as f64 * ratio_estimate;
    if (delta.len() as f64) < fresh_estimate * 0.35 {
        return Encoded::Delta(delta);
    }
    let fresh = compress(text, None);
    if delta.len() * 2 > fresh.len() {
        Encoded::Base(fresh)
    } else {
        Encoded::Delta(delta)
    }
}

/// Encodes `text` on its own.
pub fn encode_fresh(text: &[u8]) -> Vec<u8> {
    compress(text, None)
}

/// What a row says of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Bytes of the text.
    pub length: usize,
    /// Digest of the text.
    pub digest: Digest,
}

/// Decodes a stored frame, with the text of its base when it has one. The text
/// is exactly the one that was promised.
pub fn decode(data: &[u8], promise: Promise, base: Option<&[u8]>) -> Result<Vec<u8>, DecodeError> {
    let length = promise.length;
    if length > TEXT_BYTES_MAX {
        return Err(DecodeError::Length {
            expected: TEXT_BYTES_MAX,
            actual: length,
        });
    }
    let mut context = DCtx::create();
    context
        .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(28))
        .map_err(name)?;
    if let Some(base) = base {
        context.ref_prefix(base).map_err(name)?;
    }
    let mut text = Vec::with_capacity(length);
    let actual = context.decompress(&mut text, data).map_err(name)?;
    if actual != length {
        return Err(DecodeError::Length {
            expected: length,
            actual,
        });
    }
    if Digest::of(&text) != promise.digest {
        return Err(DecodeError::Digest);
    }
    Ok(text)
}

thread_local! {
    /// A context is some 100 KiB that are cleared when it is made and given
    /// back to the operating system when it goes: more work than compressing.
    static CONTEXT: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
}

/// Compresses on the thread's context, with `base` as its prefix. The frame has
/// no checksum: [`decode`] compares the digest of the text.
fn compress(text: &[u8], base: Option<&[u8]>) -> Vec<u8> {
    CONTEXT.with_borrow_mut(|context| {
        let mut data = Vec::with_capacity(zstd::zstd_safe::compress_bound(text.len()));
        context
            .compress_using_dict(&mut data, text, base.unwrap_or_default(), LEVEL)
            .expect("the level is a constant and the buffer has zstd's own bound");
        data.shrink_to_fit();
        data
    })
}

fn name(code: usize) -> DecodeError {
    DecodeError::Zstd(zstd::zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing in the manner of `OEOuthashBasic`, `lines` long; every line
    /// whose number is in `changed` has another hash.
    fn listing(lines: u32, changed: std::ops::Range<u32>) -> Vec<u8> {
        let mut text = String::new();
        for line in 0..lines {
            let salt = u8::from(changed.contains(&line));
            let hash = Sha256::digest([&line.to_be_bytes()[..], &[salt]].concat());
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!(
                "-rw-r--r-- root root {:10} {hex} ./usr/lib/file-{line}.so\n",
                line * 37
            ));
        }
        text.into_bytes()
    }

    fn base(text: &[u8]) -> (Vec<u8>, Base<'_>) {
        let Encoded::Base(data) = encode(text, None) else {
            panic!("nothing to differ from");
        };
        let stored_bytes = data.len();
        (data, Base { text, stored_bytes })
    }

    fn promise(text: &[u8]) -> Promise {
        Promise {
            length: text.len(),
            digest: Digest::of(text),
        }
    }

    #[test]
    fn a_rebuild_is_stored_as_a_small_delta() {
        let old = listing(150, 0..0);
        let new = listing(150, 20..30);
        let (data, base) = base(&old);
        let delta = encode(&new, Some(base));
        assert!(matches!(delta, Encoded::Delta(_)));
        assert!(
            delta.data().len() * 8 < data.len(),
            "{} of {}",
            delta.data().len(),
            data.len()
        );
        assert_eq!(
            decode(delta.data(), promise(&new), Some(&old)).unwrap(),
            new
        );
        assert_eq!(decode(&data, promise(&old), None).unwrap(), old);
    }

    #[test]
    fn another_listing_becomes_the_new_base() {
        let old = listing(150, 0..0);
        let new = listing(150, 0..150);
        let (_, base) = base(&old);
        let encoded = encode(&new, Some(base));
        assert!(matches!(encoded, Encoded::Base(_)));
        assert_eq!(decode(encoded.data(), promise(&new), None).unwrap(), new);
    }

    #[test]
    fn empty_texts_are_stored_too() {
        let (data, base) = base(b"");
        assert_eq!(decode(&data, promise(b""), None).unwrap(), b"");
        let encoded = encode(b"x", Some(base));
        let with = matches!(encoded, Encoded::Delta(_)).then_some(&b""[..]);
        assert_eq!(decode(encoded.data(), promise(b"x"), with).unwrap(), b"x");
    }

    #[test]
    fn damage_is_an_error() {
        let old = listing(50, 0..0);
        let (mut data, _) = base(&old);
        let middle = data.len() / 2;
        data[middle] ^= 1;
        assert!(decode(&data, promise(&old), None).is_err());
        assert!(decode(b"", promise(b"12345"), None).is_err());
        let endless = Promise {
            length: usize::MAX,
            digest: Digest::of(b""),
        };
        assert!(decode(b"", endless, None).is_err());
    }

    #[test]
    fn a_wrong_base_is_an_error() {
        let old = listing(150, 0..0);
        let new = listing(150, 20..30);
        let (_, base) = base(&old);
        let delta = encode(&new, Some(base));
        assert!(decode(delta.data(), promise(&new), Some(&listing(150, 0..9))).is_err());
    }
}
