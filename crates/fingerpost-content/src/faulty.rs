//! A store that fails on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryName, Usage};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every call takes so much longer.
    Delay(Duration),
    /// No call comes to an end.
    Hang,
    /// Every call fails.
    Fail,
    /// Look-ups find, reading fails.
    FailReads,
    /// Look-ups find, reading does not come to an end.
    HangReads,
    /// Reading notices damage.
    Damage,
    /// One bit of the first byte read is another, and nobody notices.
    Lie,
}

/// A store with a [`Fault`], which entries found before have as well.
pub struct Faulty {
    inner: Arc<dyn Cacher>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fault: Mutex<Fault>,
    calls: AtomicU64,
}

impl Faulty {
    /// Works as `inner` does until it is told otherwise.
    pub fn new(inner: Arc<dyn Cacher>) -> Self {
        let shared = Arc::default();
        Self { inner, shared }
    }

    /// From now on this goes wrong.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock() = fault;
    }

    /// How many calls were made, those for reading not counted.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({:?})", self.shared.fault.lock())
    }
}

impl Shared {
    async fn call(&self) -> Result<(), CacherError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = *self.fault.lock();
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::Hang => std::future::pending().await,
            Fault::Fail => return Err(CacherError::Other("told to fail".to_owned())),
            _ => {}
        }
        Ok(())
    }

    async fn read(&self) -> Result<(), CacherError> {
        let fault = *self.fault.lock();
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::Hang | Fault::HangReads => std::future::pending().await,
            Fault::Fail | Fault::FailReads => {
                return Err(CacherError::Other("told to fail".to_owned()));
            }
            Fault::Damage => return Err(CacherError::Damaged("told so".to_owned())),
            Fault::None | Fault::Lie => {}
        }
        Ok(())
    }
}

impl Cacher for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(async move {
            self.shared.call().await?;
            let found = self.inner.look_up(name).await?;
            let shared = Arc::clone(&self.shared);
            Ok(found.map(|inner| Arc::new(FaultyContent { inner, shared }) as Arc<dyn Content>))
        })
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            self.shared.call().await?;
            self.inner.store(name, content).await
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move {
            self.shared.call().await?;
            self.inner.remove(name).await
        })
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

struct FaultyContent {
    inner: Arc<dyn Content>,
    shared: Arc<Shared>,
}

impl Content for FaultyContent {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move {
            self.shared.read().await?;
            let bytes = self.inner.read(offset, max).await?;
            if *self.shared.fault.lock() != Fault::Lie || bytes.is_empty() {
                return Ok(bytes);
            }
            let mut bytes = bytes.to_vec();
            bytes[0] ^= 1;
            Ok(bytes.into())
        })
    }
}
