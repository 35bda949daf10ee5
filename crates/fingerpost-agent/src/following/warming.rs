//! Opening the parts of a snapshot behind the back of builds, so that none waits for it.

use std::sync::{Arc, Weak};

use super::blocking;
use super::view::Opened;

/// Opens every shard, one after the other, as long as somebody has the snapshot.
pub(super) fn warm(opened: &Arc<Opened>) {
    tokio::spawn(open_all(Arc::downgrade(opened)));
}

async fn open_all(opened: Weak<Opened>) {
    for method in 0.. {
        for shard in 0.. {
            let Some(opened) = opened.upgrade() else {
                return;
            };
            let Some(of) = opened.manifest().methods.get(method) else {
                return;
            };
            if of.shards.len() <= shard {
                break;
            }
            let open = move || {
                let of = &opened.manifest().methods[method];
                opened.lookup(&of.name, &of.shards[shard].first).is_ok()
            };
            if !matches!(blocking(open).await, Ok(true)) {
                return;
            }
        }
    }
}
