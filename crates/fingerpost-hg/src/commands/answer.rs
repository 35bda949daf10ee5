//! Answers in the CBOR subset.

use fingerpost_core::{Encode, Outcome};
use fingerpost_hg_proto::CBOR_MEDIA_TYPE;
use fingerpost_hg_proto::cbor::Writer;

/// The objects of a short answer, encoded.
#[derive(Debug)]
pub struct Cbor(Vec<u8>);

impl Cbor {
    /// Collects what `write` writes.
    pub(super) fn of(write: impl FnOnce(&mut Writer<'_>)) -> Outcome<Self> {
        let mut bytes = Vec::new();
        write(&mut Writer::new(&mut bytes));
        Self(bytes).into()
    }
}

impl Encode for Cbor {
    const MEDIA_TYPE: &'static str = CBOR_MEDIA_TYPE;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
