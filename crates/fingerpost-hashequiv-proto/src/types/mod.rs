//! The nouns of hash equivalence: hashes and methods.

mod hash;
mod hex;
mod method;
mod task;

pub use hash::{InvalidUnihash, Outhash, Taskhash, Unihash};
pub use hex::{decode_hex, encode_hex};
pub use method::Method;
pub use task::Task;
