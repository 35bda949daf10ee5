//! Mercurial's wire protocol v2, both ends, without I/O.
//!
//! Bytes in, typed values out, and the other way round: [`Node`], frames, the
//! CBOR subset in its canonical order, content encodings, requests and
//! responses. The same code serves the server, the debugging client, tests,
//! benches and fuzzers. It knows no socket, no file and no command's meaning.

mod node;

pub use node::{Node, ParseNodeError};
