//! Memory that long reads go to, used again: the operating system does not have
//! to find and clear new pages for each, and the processor still has the old ones
//! at hand.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::sealed::READ_BYTES;

/// How many wait to be used again, 1 MiB each. Beyond these many readers at once,
/// memory is new.
const KEPT_MAX: usize = 16;

/// Buffers that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Box<[u8]>>>,
}

/// Memory for one read, [`READ_BYTES`]. What it held before is still in it, so
/// that only what was written since may be given out.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// The buffer that was given back last, or a new one.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let free = self.free.lock().pop();
        Buffer {
            bytes: free.unwrap_or_else(|| vec![0; READ_BYTES].into()),
            home: Arc::clone(self),
        }
    }
}

impl Buffer {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes. The memory is free again when nobody has any of
    /// them any more.
    pub(super) fn freeze(self, len: usize) -> Bytes {
        Bytes::from_owner(Frozen { buffer: self, len })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock();
        if free.len() < KEPT_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

struct Frozen {
    buffer: Buffer,
    len: usize,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_has_a_part_of_it() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take();
        first.bytes()[..4].copy_from_slice(b"once");
        let mut whole = first.freeze(4);
        let part = whole.split_to(2);
        drop(whole);
        buffers.take().bytes()[..4].fill(b'x');
        assert_eq!(part, &b"on"[..]);
        let place = part.as_ptr();
        drop(part);
        assert_eq!(buffers.take().bytes().as_ptr(), place);
    }

    #[test]
    fn no_more_than_some_are_kept() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<_> = (0..KEPT_MAX + 5).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.free.lock().len(), KEPT_MAX);
    }
}
