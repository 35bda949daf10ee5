//! Content stores behind [`fingerpost_core::Cacher`]: where answers are kept
//! that were made once. Each is dumb, bytes under a name; what it is for, and
//! whom it is shown to, is decided in dispatch.

mod hmac_url;
mod object;
mod place;
mod presign;
mod secret_url;
mod upload;
mod valkey;

pub use hmac_url::{UrlRefused, UrlSigner};
pub use object::{Form, ObjectStore, ObjectStoreConfig};
pub use place::Place;
pub use presign::{PresignConfig, Presigner, PublicBase};
pub use secret_url::SecretUrl;
pub use valkey::{Valkey, ValkeyConfig};
