//! Objects as encoded bytes.

use fingerpost_core::{Failure, More, Objects};
use fingerpost_hg_proto::{Compressor, ContentEncoding};

/// How much of the end of what was sent is compared with what is made again: two
/// streams that agree in so many encoded bytes at one place are the same.
pub(crate) const TAIL_BYTES: usize = 4096;

/// What follows the first bytes of an answer that is made again from its
/// beginning: everything that encodes gives the same bytes for the same objects.
pub(crate) struct Rest {
    whole: Box<dyn Objects>,
    made: u64,
    /// So many bytes were sent before.
    sent: u64,
    /// The last of them.
    tail: Vec<u8>,
}

impl Rest {
    pub(crate) fn new(whole: Box<dyn Objects>, sent: u64, tail: Vec<u8>) -> Self {
        Self {
            whole,
            made: 0,
            sent,
            tail,
        }
    }

    /// Whether these bytes, made at `self.made`, are those that were sent, as far
    /// as that is known.
    fn agrees(&self, bytes: &[u8]) -> bool {
        let tail_at = self.sent - self.tail.len() as u64;
        let end = (self.made + bytes.len() as u64).min(self.sent);
        let begin = self.made.max(tail_at);
        if begin >= end {
            return true;
        }
        let len = (end - begin) as usize;
        let made = (begin - self.made) as usize;
        let sent = (begin - tail_at) as usize;
        bytes[made..made + len] == self.tail[sent..sent + len]
    }
}

impl Objects for Rest {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        let before = out.len();
        let more = self.whole.append(out)?;
        let bytes = &out[before..];
        let (left, len) = (self.sent.saturating_sub(self.made), bytes.len() as u64);
        if left > 0 {
            if !self.agrees(bytes) || (more == More::No && len < left) {
                return Err(Failure::internal("made again, it is another answer"));
            }
            out.drain(before..before + left.min(len) as usize);
        }
        self.made += len;
        Ok(more)
    }
}

/// Objects as a whole encoded stream.
pub(crate) struct EncodedObjects {
    objects: Box<dyn Objects>,
    /// Gone at the end.
    compressor: Option<Compressor>,
    raw: Vec<u8>,
    flushed: bool,
}

impl EncodedObjects {
    pub(crate) fn new(
        objects: Box<dyn Objects>,
        (encoding, level): (ContentEncoding, i32),
    ) -> Result<Self, Failure> {
        let compressor = Compressor::new(encoding, level).map_err(Failure::internal)?;
        Ok(Self {
            objects,
            compressor: Some(compressor),
            raw: Vec::new(),
            flushed: false,
        })
    }
}

impl Objects for EncodedObjects {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        self.raw.clear();
        let more = self.objects.append(&mut self.raw)?;
        let Some(compressor) = &mut self.compressor else {
            return Err(Failure::internal("the answer has ended"));
        };
        compressor
            .compress(&self.raw, out)
            .map_err(Failure::internal)?;
        if more == More::No {
            if let Some(compressor) = self.compressor.take() {
                compressor.finish(out).map_err(Failure::internal)?;
            }
        } else if !self.flushed && !self.raw.is_empty() {
            // The first objects leave at once, however much is to come.
            compressor.flush(out).map_err(Failure::internal)?;
            self.flushed = true;
        }
        Ok(more)
    }
}
