//! A content to an object, part by part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content, EntryName};
use object_store::path::Path;
use object_store::{Attributes, MultipartUpload, PutMultipartOptions, PutOptions, PutPayload};

use crate::object::in_time;

/// Bytes of every part but the last: above the 5 MiB that S3 demands, and equal
/// as some that speak like S3 demand.
const PART: usize = 8 << 20;
/// Parts that an upload may have.
const PARTS_MAX: u64 = 10_000;

/// Where an upload goes.
pub(crate) struct To<'a> {
    pub(crate) store: &'a Arc<dyn object_store::ObjectStore>,
    pub(crate) path: Path,
    pub(crate) name: &'a EntryName,
    pub(crate) attributes: Attributes,
    pub(crate) part_deadline: Duration,
}

/// Sends all of `content`, with one part of it in memory. It is there whole
/// afterwards, or not at all, and then no parts of it are left.
pub(crate) async fn upload(to: To<'_>, content: &dyn Content) -> Result<(), CacherError> {
    let len = content.len();
    if len > PART as u64 * PARTS_MAX {
        return Err(CacherError::Length { len });
    }
    if len <= PART as u64 {
        return whole(to, content).await;
    }
    let options = PutMultipartOptions {
        attributes: to.attributes.clone(),
        ..PutMultipartOptions::default()
    };
    let begun = to.store.put_multipart_opts(&to.path, options);
    let mut upload = Abandoned {
        upload: Some(in_time(to.part_deadline, to.name, begun).await?),
        deadline: to.part_deadline,
    };
    let sent = parts(&to, content, &mut upload).await;
    if sent.is_err() {
        upload.abort().await;
    }
    sent
}

async fn whole(to: To<'_>, content: &dyn Content) -> Result<(), CacherError> {
    let part = part(content, 0).await?;
    let options = PutOptions {
        attributes: to.attributes,
        ..PutOptions::default()
    };
    let put = to.store.put_opts(&to.path, part, options);
    in_time(to.part_deadline, to.name, put).await?;
    Ok(())
}

async fn parts(
    to: &To<'_>,
    content: &dyn Content,
    upload: &mut Abandoned,
) -> Result<(), CacherError> {
    let mut offset = 0;
    while offset < content.len() {
        let part = part(content, offset).await?;
        offset += part.content_length() as u64;
        in_time(to.part_deadline, to.name, upload.inner().put_part(part)).await?;
    }
    in_time(to.part_deadline, to.name, upload.inner().complete()).await?;
    upload.upload = None;
    Ok(())
}

/// The part at `offset`, in the pieces that the content gives.
async fn part(content: &dyn Content, offset: u64) -> Result<PutPayload, CacherError> {
    let rest = content.len() - offset;
    let size = usize::try_from(rest).map_or(PART, |rest| rest.min(PART));
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut read = 0;
    while read < size {
        let piece = content.read(offset + read as u64, size - read).await?;
        if piece.is_empty() || piece.len() > size - read {
            return Err(CacherError::Damaged(
                "it ends before its length, or behind it".to_owned(),
            ));
        }
        read += piece.len();
        pieces.push(piece);
    }
    Ok(pieces.into_iter().collect())
}

/// An upload that is aborted unless it was completed, also when its future is
/// dropped: parts that are left cost until somebody finds them.
struct Abandoned {
    upload: Option<Box<dyn MultipartUpload>>,
    deadline: Duration,
}

impl Abandoned {
    fn inner(&mut self) -> &mut dyn MultipartUpload {
        &mut **self
            .upload
            .as_mut()
            .expect("it is neither completed nor aborted")
    }

    async fn abort(&mut self) {
        if let Some(upload) = self.upload.take() {
            abort(upload, self.deadline).await;
        }
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) =
            (self.upload.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(abort(upload, self.deadline));
        }
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>, deadline: Duration) {
    let aborted = tokio::time::timeout(deadline, upload.abort()).await;
    if !matches!(aborted, Ok(Ok(()))) {
        tracing::warn!("parts of an upload that failed are left in the object store");
    }
}
