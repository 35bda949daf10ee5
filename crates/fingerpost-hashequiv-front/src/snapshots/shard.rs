//! A shard's file, which is read a piece at a time.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use fingerpost_core::{CacherError, Content};
use futures_util::future::BoxFuture;
use futures_util::stream;

/// What is in memory of a shard for each client.
const PIECE_BYTES: usize = 128 << 10;

/// An open shard of a known length. What is read stays right when the file is removed.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    file: Arc<File>,
    len: u64,
}

impl Shard {
    /// Opens a file that must have so many bytes.
    pub(crate) async fn open(path: PathBuf, len: u64) -> io::Result<Self> {
        let opening = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            match file.metadata()?.len() == len {
                true => Ok(file),
                false => Err(io::Error::other(
                    "a shard is not as long as its manifest says",
                )),
            }
        });
        let file = opening.await.map_err(io::Error::other)??;
        let file = Arc::new(file);
        Ok(Self { file, len })
    }

    async fn piece(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (file, len) = (Arc::clone(&self.file), left.min(max).min(PIECE_BYTES));
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; len];
            file.read_exact_at(&mut piece, offset)?;
            Ok(Bytes::from(piece))
        });
        reading.await.map_err(io::Error::other)?
    }

    /// Some of its bytes, which must be in it.
    pub(crate) fn body(self, range: Range<u64>) -> Body {
        Body::from_stream(stream::unfold(Some((self, range)), async |state| {
            let (shard, mut range) = state.filter(|(_, range)| !range.is_empty())?;
            let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            match shard.piece(range.start, wanted).await {
                Ok(piece) => {
                    range.start += piece.len() as u64;
                    Some((Ok(piece), Some((shard, range))))
                }
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Content for Shard {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move { Ok(self.piece(offset, max).await?) })
    }
}
