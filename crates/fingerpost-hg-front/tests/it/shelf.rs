//! A content store in memory, for tests: everything that can be seen of one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fingerpost_core::{
    Cacher, CacherError, Content, Dispatch, DispatchOptions, EntryName, EntryNames,
};
use fingerpost_hg_front::AnswerCache;
use futures_util::future::BoxFuture;

/// A store that keeps everything.
#[derive(Default)]
pub(crate) struct Shelf {
    entries: Mutex<HashMap<EntryName, Arc<dyn Content>>>,
    pub(crate) is_down: AtomicBool,
}

impl Shelf {
    pub(crate) fn names(&self) -> Vec<EntryName> {
        self.entries.lock().unwrap().keys().copied().collect()
    }

    /// Puts an entry of so many bytes, none of which can be read, in the place of
    /// each.
    pub(crate) fn damage(&self) {
        for content in self.entries.lock().unwrap().values_mut() {
            *content = Arc::new(Damaged(content.len()));
        }
    }

    /// A cache over this store, new with each call.
    pub(crate) fn cache(self: &Arc<Self>) -> AnswerCache {
        let store = Arc::clone(self) as Arc<dyn Cacher>;
        AnswerCache {
            dispatch: Arc::new(Dispatch::new(store, DispatchOptions::default())),
            names: EntryNames::new(b"a secret"),
        }
    }

    fn check(&self) -> Result<(), CacherError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(CacherError::Suspended),
            false => Ok(()),
        }
    }
}

impl Cacher for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.entries.lock().unwrap().get(name).cloned())
        })
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            self.check()?;
            self.entries.lock().unwrap().insert(*name, content);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move { Ok(self.entries.lock().unwrap().remove(name).is_some()) })
    }
}

struct Damaged(u64);

impl Content for Damaged {
    fn len(&self) -> u64 {
        self.0
    }

    fn read(&self, _: u64, _: usize) -> BoxFuture<'_, Result<bytes::Bytes, CacherError>> {
        Box::pin(async { Err(CacherError::Damaged("as it was told".to_owned())) })
    }
}
