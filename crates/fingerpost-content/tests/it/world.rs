//! What all tests here need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
pub(crate) use fingerpost_content::testing::noise as bytes;
use fingerpost_core::{CacheKey, Cacher, CacherError, Content, EntryName, EntryNames, KeyHasher};

/// The name of the entry about `word`.
pub(crate) fn name(word: &str) -> EntryName {
    let mut hasher = KeyHasher::new("test", 1);
    hasher.part(word.as_bytes());
    let key: CacheKey = hasher.finish();
    EntryNames::new(b"secret").name(&key, "identity")
}

/// Stores and demands that it works.
pub(crate) async fn store(cacher: &dyn Cacher, name: &EntryName, bytes: &Bytes) {
    cacher.store(name, Arc::new(bytes.clone())).await.unwrap();
}

/// All bytes of an entry, fetched in pieces of at most `piece`.
pub(crate) async fn fetch(
    cacher: &dyn Cacher,
    name: &EntryName,
    piece: usize,
) -> Result<Option<Bytes>, CacherError> {
    let Some(content) = cacher.look_up(name).await? else {
        return Ok(None);
    };
    read(&*content, piece).await.map(Some)
}

pub(crate) async fn read(content: &dyn Content, piece: usize) -> Result<Bytes, CacherError> {
    let mut bytes = BytesMut::new();
    loop {
        let more = content.read(bytes.len() as u64, piece).await?;
        if more.is_empty() {
            assert_eq!(bytes.len() as u64, content.len());
            return Ok(bytes.freeze());
        }
        assert!(more.len() <= piece);
        bytes.extend_from_slice(&more);
    }
}

/// Waits at most ten seconds until `holds` does.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
