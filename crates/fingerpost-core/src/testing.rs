//! What tests of whatever asks a content store need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{Cacher, CacherError, Content, EntryName};

/// A store in memory that keeps everything: all that can be seen of one.
#[derive(Default)]
pub struct Shelf {
    entries: Mutex<HashMap<EntryName, Arc<dyn Content>>>,
    /// Whether it refuses whatever it is asked.
    pub is_down: AtomicBool,
}

impl Shelf {
    /// What it has, in no order.
    pub fn names(&self) -> Vec<EntryName> {
        self.entries.lock().keys().copied().collect()
    }

    /// Puts what `change` makes of each entry in its place.
    pub fn replace(&self, change: impl Fn(&Arc<dyn Content>) -> Arc<dyn Content>) {
        for content in self.entries.lock().values_mut() {
            *content = change(content);
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
            Ok(self.entries.lock().get(name).cloned())
        })
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            self.check()?;
            self.entries.lock().insert(*name, content);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move { Ok(self.entries.lock().remove(name).is_some()) })
    }
}
