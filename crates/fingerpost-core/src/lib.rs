//! What every part of Fingerpost shares and no product owns.
//!
//! A [`Command`] is declared once, beside its handler: name, argument with an
//! example, permission, [`CachePolicy`], handler. Doors (the native protocol,
//! later HTTPS) and the generated documentation derive everything else from
//! the [`Declaration`]. A handler returns a [`Reply`], which is an object,
//! many [`Objects`] made while they are sent, already encoded bytes, or a
//! [`Redirect`] to where the bytes lie.
//!
//! This crate knows no database, no socket and no wire format.

mod cache;
mod cacher;
mod causes;
mod clock;
mod command;
mod counts;
mod credential;
mod dispatch;
mod entry;
mod failure;
mod flight;
mod found_and_expected;
mod histogram;
mod namespaces;
mod origin;
mod permission;
mod principal;
mod redirects;
mod reply;
mod secret_url;
mod spans;
mod spool;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use cache::{CacheKey, CachePolicy, Dependency, KeyHasher};
pub use cacher::{Cacher, CacherError, Content, EntryName, EntryNames, Usage};
pub use causes::with_causes;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use command::{
    Argument, Availability, BadArgument, Call, Command, Cost, Declaration, Effect, Field, Kind,
    Service, Shape, Take,
};
pub use counts::Counts;
pub use credential::Credential;
pub use dispatch::{Answering, Dispatch, DispatchOptions};
pub use entry::{Called, Entry, Registry};
pub use failure::Failure;
pub use flight::{Flight, Progress};
pub use found_and_expected::found_and_expected;
pub use histogram::{Histogram, HistogramCounts};
pub use namespaces::Namespaces;
pub use origin::Origin;
pub use permission::{ParsePermissionError, Permission, PermissionSet};
pub use principal::{Access, Principal};
pub use redirects::{Audience, ContentCoding, EntryForm, Follower, Following, Redirects};
pub use reply::{
    Certificates, Encode, Encoded, Ends, Json, More, NewCaller, Objects, Outcome, Redirect,
    RedirectTarget, Reply,
};
pub use secret_url::SecretUrl;
pub use spans::SPANS;
pub use spool::{Spool, SpoolOptions, SpoolRoom};
