//! Reading more of a content than one call gives.

use bytes::{Bytes, BytesMut};
use fingerpost_core::{CacherError, Content};

/// The `len` bytes from `offset` on, without a copy if the content has them in
/// one piece.
///
/// # Errors
///
/// [`CacherError::Damaged`] if the content ends before.
pub(crate) async fn read_exact(
    content: &dyn Content,
    offset: u64,
    len: usize,
) -> Result<Bytes, CacherError> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    let first = content.read(offset, len).await?;
    if first.len() >= len {
        return Ok(first.slice(..len));
    }
    let mut all = BytesMut::with_capacity(len);
    let mut piece = first;
    loop {
        if piece.is_empty() {
            let ends = offset + all.len() as u64;
            return Err(CacherError::Damaged(format!("ends after {ends} bytes")));
        }
        all.extend_from_slice(&piece[..piece.len().min(len - all.len())]);
        if all.len() == len {
            return Ok(all.freeze());
        }
        piece = content
            .read(offset + all.len() as u64, len - all.len())
            .await?;
    }
}

/// The whole content, which has to fit the memory: ask for its length first.
pub(crate) async fn read_all(content: &dyn Content) -> Result<Bytes, CacherError> {
    let len = content.len();
    let Ok(in_memory) = usize::try_from(len) else {
        return Err(CacherError::Length { len });
    };
    read_exact(content, 0, in_memory).await
}
