//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod breaker;
mod disk;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod limited;
mod memory;
mod metrics;
mod reading;
mod sealed;
mod tiers;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use breaker::BreakerConfig;
pub use disk::{Disk, Found};
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, Faulty};
pub use limited::Limited;
pub use memory::Memory;
pub use sealed::{Sealed, Sealing, sealed_len};
pub use tiers::{Tier, TierRules, Tiers};
