//! A store that takes entries of some lengths only.

use std::ops::RangeInclusive;
use std::sync::Arc;

use fingerpost_core::{Cacher, CacherError, Content, EntryName, Usage};
use futures_util::future::BoxFuture;

/// Refuses to store entries of other lengths with [`CacherError::Length`];
/// passes everything else on.
pub struct Limited {
    inner: Arc<dyn Cacher>,
    lengths: RangeInclusive<u64>,
}

impl Limited {
    /// Stores entries of these lengths in bytes in `inner`.
    pub fn new(inner: Arc<dyn Cacher>, lengths: RangeInclusive<u64>) -> Self {
        Self { inner, lengths }
    }
}

impl std::fmt::Debug for Limited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limited({}, {:?})", self.inner.name(), self.lengths)
    }
}

impl Cacher for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        self.inner.look_up(name)
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        let len = content.len();
        if self.lengths.contains(&len) {
            return self.inner.store(name, content);
        }
        Box::pin(std::future::ready(Err(CacherError::Length { len })))
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        self.inner.remove(name)
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use crate::testing::{contract, entry_name, noise};

    #[tokio::test]
    async fn keeps_the_contract() {
        let memory = Arc::new(Memory::new(128 << 20));
        contract(&Limited::new(memory, 0..=9 << 20)).await;
    }

    #[tokio::test]
    async fn refuses_other_lengths() {
        let limited = Limited::new(Arc::new(Memory::new(1 << 20)), 10..=20);
        for (len, fits) in [(9, false), (10, true), (20, true), (21, false)] {
            let (name, content) = (entry_name(len), Arc::new(noise(len as usize)));
            let stored = limited.store(&name, content);
            assert_eq!(stored.await.is_ok(), fits, "{len}");
        }
    }
}
