//! What tests do with a content store in memory.

use std::sync::Arc;

use fingerpost_core::testing::Shelf;
use fingerpost_core::{
    Cacher, CacherError, Content, Dispatch, DispatchOptions, EntryNames, SpoolOptions,
};
use fingerpost_hg_front::AnswerCache;
use futures_util::future::BoxFuture;

pub(crate) trait Shelved {
    /// Puts an entry of so many bytes, none of which can be read, in the place of
    /// each.
    fn damage(&self);

    /// Lets each entry give its first half and then fail, with its last byte before
    /// that changed by `flip`.
    fn break_in_the_middle(&self, flip: u8);

    /// A cache over this store with this spool, new with each call.
    fn cache_with(&self, spool: SpoolOptions) -> AnswerCache;

    /// The same with a spool as servers have.
    fn cache(&self) -> AnswerCache {
        self.cache_with(SpoolOptions::default())
    }
}

impl Shelved for Arc<Shelf> {
    fn damage(&self) {
        self.replace(|content| Arc::new(Damaged(content.len())));
    }

    fn break_in_the_middle(&self, flip: u8) {
        self.replace(|content| {
            let whole = Arc::clone(content);
            Arc::new(Breaking { whole, flip })
        });
    }

    fn cache_with(&self, spool: SpoolOptions) -> AnswerCache {
        let store: Arc<dyn Cacher> = self.clone();
        let options = DispatchOptions {
            spool,
            ..DispatchOptions::default()
        };
        let dispatch = Dispatch::new(store, options);
        AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"a secret"))
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
