//! The doors of hash equivalence: BitBake's protocol over sockets, and JSON over HTTP.
//!
//! [`NativeDoor`] serves a [`HashEquiv`](fingerpost_hashequiv::HashEquiv) on
//! every connection that a [`fingerpost_net::Server`] hands it, and
//! [`NativeUpstream`] asks a parent server.
//!
//! The wire format itself is in [`fingerpost_hashequiv_proto`], the meaning of
//! the commands in [`fingerpost_hashequiv`]. [`JsonDoor`] has the same commands as
//! resources of HTTP. This crate knows no SQL.

mod budget;
mod door;
mod ended;
pub mod fuzz;
mod guards;
mod json;
mod metrics;
mod options;
mod placement;
mod respond;
mod session;
mod snapshots;
mod stream;
mod turn;
mod upstream;
mod wire;

pub use door::NativeDoor;
pub use json::{JsonDoor, JsonOptions, openapi};
pub use options::DoorOptions;
pub use placement::{Placement, PlacementOptions, UnknownNamespace};
pub use snapshots::{SnapshotShelf, Withheld};
pub use upstream::{NativeUpstream, NativeUpstreamOptions};
