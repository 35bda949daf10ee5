//! Where answers are remembered, as configured.

use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_content::Memory;
use fingerpost_core::{Dispatch, DispatchOptions, EntryNames, SpoolOptions};
use fingerpost_hg_front::AnswerCache;

use super::service::MIB;
use crate::config::Cache;

/// What remembers answers; `None` if nothing does.
pub(crate) fn answers(cache: &Cache) -> anyhow::Result<Option<AnswerCache>> {
    if cache.memory_mib == 0 {
        return Ok(None);
    }
    let store = Memory::new(cache.memory_mib.saturating_mul(MIB));
    let options = DispatchOptions {
        spool: SpoolOptions {
            bytes_max: cache.entry_mib.saturating_mul(MIB),
            directory: cache.spool_directory.clone(),
            ..SpoolOptions::default()
        },
        store_bytes_min: 0,
    };
    // Nobody else looks into the memory of this process.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system has no random numbers")?;
    Ok(Some(AnswerCache {
        dispatch: Arc::new(Dispatch::new(Arc::new(store), options)),
        names: EntryNames::new(&secret),
    }))
}
