//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod breaker;
mod compressed;
mod disk;
mod endpoint;
mod failing;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod health;
mod hmac_url;
mod limited;
mod memory;
mod metrics;
mod object;
mod place;
mod pool;
mod presence;
mod presign;
mod reading;
mod sealed;
mod target;
mod target_metrics;
mod targets;
mod tiers;
mod upload;
mod valkey;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use breaker::BreakerConfig;
pub use compressed::{Compressed, OnDisk};
pub use disk::{Disk, Found, Removal};
pub use endpoint::{ContentEndpoint, EndpointOptions};
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, Faulty};
pub use health::{ProbeConfig, probe};
pub use hmac_url::{Opened, UrlRefused, UrlSigner};
pub use limited::Limited;
pub use memory::Memory;
pub use object::{Form, ObjectStore, ObjectStoreConfig};
pub use place::Place;
pub use presign::{PresignConfig, Presigner, PublicBase};
pub use sealed::{Sealed, Sealing, sealed_len};
pub use target::{Own, Probe, Target, Where};
pub use targets::{RedirectTargets, Served};
pub use tiers::{Tier, TierRules, Tiers};
pub use valkey::{Valkey, ValkeyConfig};
