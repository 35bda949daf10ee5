//! The doors of hash equivalence, and the client: BitBake's protocol over sockets,
//! and JSON over HTTP.
//!
//! [`NativeDoor`] serves a [`HashEquiv`](fingerpost_hashequiv::HashEquiv) on
//! every connection that a [`fingerpost_net::Server`] hands it. [`client`] has
//! the client for every transport, and [`NativeUpstream`] asks a parent server
//! with it.
//!
//! The wire format itself is in [`fingerpost_hashequiv_proto`], the meaning of
//! the commands in [`fingerpost_hashequiv`]. [`JsonDoor`] has the same commands as
//! resources of HTTP. This crate knows no SQL.

pub mod client;

mod budget;
mod door;
mod ended;
mod guards;
mod json;
mod link;
mod metrics;
mod options;
mod placement;
mod respond;
mod session;
mod snapshots;
mod stream;
mod timer;
mod turn;
mod upstream;
mod wire;

pub use door::NativeDoor;
pub use json::{JsonDoor, JsonOptions, openapi};
pub use options::DoorOptions;
pub use placement::{Placement, PlacementOptions, UnknownNamespace};
pub use snapshots::SnapshotShelf;
pub use upstream::{NativeUpstream, NativeUpstreamOptions};
