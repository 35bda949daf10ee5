//! The CBOR subset of the protocol: integers, byte strings, arrays, maps,
//! finite sets (tag 258), `false`, `true` and `null`. Text strings, floats and
//! other tags do not exist in it, and containers have definite lengths.
//!
//! What is written is canonical: shortest forms, map keys and set members in
//! the order of [`Value`]. That order is the protocol's own (type name, then
//! value, byte strings bytewise) and not that of RFC 8949: `"aa"` comes before
//! `"b"`. Cache keys and byte-equal answers rest on it. Its source is
//! Mercurial 6.0.3, `mercurial/utils/cborutil.py`, of which this is a
//! description and no copy.
//!
//! [`Writer`] appends to a `Vec<u8>` and allocates nothing else; [`decode`]
//! reads one value, [`Decoder`] a stream of them in pieces.

mod container;
mod decoder;
mod head;
mod limits;
mod value;
mod writer;

pub use decoder::{Decoder, Event, decode};
pub use limits::{DecodeError, Limits};
pub use value::{Map, Set, Value};
pub use writer::Writer;
