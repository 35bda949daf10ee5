//! The publisher's signature of a manifest.

use fingerpost_signatures::{Document, KeyId, KeyRing, Reason, Signature, SigningKey, UnixTime};

use crate::{MANIFEST_BYTES_MAX, Manifest, ManifestError, SnapshotError};

/// What a manifest is among signed documents.
const KIND: &str = "snapshot-manifest-v1";

const fn document(manifest: &[u8]) -> Document<'_> {
    Document {
        kind: KIND,
        body: manifest,
    }
}

/// Signs the bytes of a manifest. They are not looked at: [`publish`](crate::publish) is what
/// checks a snapshot first.
pub fn seal(manifest: &[u8], key: &SigningKey, time: UnixTime) -> Signature {
    key.sign_document(&document(manifest), time)
}

/// Reads a manifest that a key in `publishers` signed, and tells which. `signature` is the text
/// without a line feed.
///
/// A signed manifest can be an old one, or of another namespace: the caller must compare its
/// namespace, epoch and position with what it wants.
pub fn verify(
    manifest: &[u8],
    signature: &str,
    publishers: &KeyRing,
) -> Result<(Manifest, KeyId), VerifyError> {
    if manifest.len() > MANIFEST_BYTES_MAX {
        return Err(VerifyError::Manifest(ManifestError::TooLong));
    }
    let key = publishers
        .verify_document(&document(manifest), signature)
        .map_err(VerifyError::Untrusted)?;
    let manifest = Manifest::parse(manifest).map_err(VerifyError::Manifest)?;
    Ok((manifest, key))
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No trusted key signed these bytes.
    #[error("not signed by a trusted publisher: {0}")]
    Untrusted(Reason),
    /// A trusted key signed what is no manifest.
    #[error("the manifest is not that of a snapshot")]
    Manifest(#[source] ManifestError),
}

impl From<VerifyError> for SnapshotError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Untrusted(reason) => Self::Untrusted(reason),
            VerifyError::Manifest(error) => Self::Manifest(error),
        }
    }
}
