//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod memory;

pub use memory::Memory;
