//! A content store in memory, for tests: everything that can be seen of one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fingerpost_core::{
    Cacher, CacherError, Content, Dispatch, DispatchOptions, EntryName, EntryNames, SpoolOptions,
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

    /// Lets each entry give its first half and then fail, with its last byte before
    /// that changed by `flip`.
    pub(crate) fn break_in_the_middle(&self, flip: u8) {
        for content in self.entries.lock().unwrap().values_mut() {
            *content = Arc::new(Breaking {
                whole: Arc::clone(content),
                flip,
            });
        }
    }

    /// A cache over this store, new with each call.
    pub(crate) fn cache(self: &Arc<Self>) -> AnswerCache {
        self.cache_with(SpoolOptions::default())
    }

    /// The same with a spool of its own.
    pub(crate) fn cache_with(self: &Arc<Self>, spool: SpoolOptions) -> AnswerCache {
        let store = Arc::clone(self) as Arc<dyn Cacher>;
        let options = DispatchOptions {
            spool,
            ..DispatchOptions::default()
        };
        let dispatch = Dispatch::new(store, options);
        AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"a secret"))
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

struct Breaking {
    whole: Arc<dyn Content>,
    flip: u8,
}

impl Content for Breaking {
    fn len(&self) -> u64 {
        self.whole.len()
    }

    fn read(&self, offset: u64, _: usize) -> BoxFuture<'_, Result<bytes::Bytes, CacherError>> {
        let half = self.len() / 2;
        Box::pin(async move {
            if offset >= half {
                return Err(CacherError::Suspended);
            }
            let len = usize::try_from(half - offset).unwrap().min(1000);
            let mut bytes = self.whole.read(offset, len).await?.to_vec();
            if offset + bytes.len() as u64 == half {
                *bytes.last_mut().unwrap() ^= self.flip;
            }
            Ok(bytes.into())
        })
    }
}
