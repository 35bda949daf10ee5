//! A bearer token in a file.

use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;
use reqwest::header::HeaderValue;

use super::{TOKEN_BYTES_MAX, bearer};
use crate::http::file::{self, Stamp};

/// The token, which is read again when the file changed.
pub(in crate::http) struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, HeaderValue)>>,
}

impl TokenFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: Mutex::new(None),
        }
    }

    pub(super) async fn header(&self) -> Result<HeaderValue, String> {
        let failed = |error: io::Error| format!("cannot read {}: {error}", self.path.display());
        let stamp = Stamp::of(&self.path).await.map_err(failed)?;
        if let Some((of, header)) = &*self.read.lock()
            && *of == stamp
        {
            return Ok(header.clone());
        }
        let bytes = file::read(&self.path, TOKEN_BYTES_MAX)
            .await
            .map_err(failed)?;
        let token = std::str::from_utf8(&bytes).ok().and_then(bearer);
        let header = token.ok_or_else(|| format!("{} holds no token", self.path.display()))?;
        *self.read.lock() = Some((stamp, header.clone()));
        Ok(header)
    }

    /// Reads the file again next time, whatever it looks like.
    pub(super) fn forget(&self) {
        *self.read.lock() = None;
    }
}
