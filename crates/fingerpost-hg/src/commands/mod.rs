//! Every command of protocol v2, one file each, declared as
//! [`fingerpost_core::Command`] over a [`RepositoryView`].

mod answer;
mod arguments;
mod branchmap;
mod capabilities;
mod changesetdata;
mod failures;
mod filedata;
mod filesdata;
mod heads;
mod known;
mod listkeys;
mod lookup;
mod manifest_verification;
mod manifestdata;
pub(crate) mod path_filter;
mod pushkey;
mod rawstorefiledata;
pub(crate) mod specifier;

use fingerpost_core::{Entry, Objects, Outcome, Registry, Reply};

pub use self::answer::Cbor;
pub(crate) use self::arguments::encode_canonical;
pub use self::capabilities::descriptor;
pub use self::failures::may_be_stale;
use crate::RepositoryView;

/// All commands, sorted by name.
pub fn commands() -> Registry<RepositoryView> {
    Registry::new(vec![
        Entry::of::<branchmap::Branchmap>(),
        Entry::of::<capabilities::Capabilities>(),
        Entry::of::<changesetdata::Changesetdata>(),
        Entry::of::<filedata::Filedata>(),
        Entry::of::<filesdata::Filesdata>(),
        Entry::of::<heads::Heads>(),
        Entry::of::<known::Known>(),
        Entry::of::<listkeys::Listkeys>(),
        Entry::of::<lookup::Lookup>(),
        Entry::of::<manifestdata::Manifestdata>(),
        Entry::of::<pushkey::Pushkey>(),
        Entry::of::<rawstorefiledata::Rawstorefiledata>(),
    ])
}

/// An answer that is made while it is sent.
fn streaming(objects: impl Objects + 'static) -> Outcome<Cbor> {
    Outcome {
        reply: Reply::Objects(Box::new(objects)),
        login: None,
        is_stored: true,
    }
}
