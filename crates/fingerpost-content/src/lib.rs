//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod disk;
mod memory;
mod reading;
mod sealed;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use disk::{Disk, Found};
pub use memory::Memory;
pub use sealed::{Sealed, Sealing, sealed_len};
