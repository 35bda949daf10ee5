//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod health;
mod hmac_url;
mod object;
mod place;
mod presence;
mod presign;
mod secret_url;
mod target;
mod targets;
mod upload;
mod valkey;

pub use health::{ProbeConfig, probe};
pub use hmac_url::{UrlRefused, UrlSigner};
pub use object::{Form, ObjectStore, ObjectStoreConfig};
pub use place::Place;
pub use presign::{PresignConfig, Presigner, PublicBase};
pub use secret_url::SecretUrl;
pub use target::{Audience, Own, Probe, Target, Where};
pub use targets::{Asking, Found, RedirectTargets, Served};
pub use valkey::{Valkey, ValkeyConfig};
