//! Objects as encoded bytes.

use fingerpost_core::{Failure, More, Objects};
use fingerpost_hg_proto::{Compressor, ContentEncoding};

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
