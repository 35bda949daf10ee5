//! Redirect targets in memory, for tests: everything that can be seen of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use fingerpost_core::{
    CacherError, Certificates, Content, ContentCoding, EntryForm, EntryName, Follower, Following,
    Redirect, RedirectTarget, Redirects, SecretUrl,
};
use futures_util::future::BoxFuture;

/// Targets that all have the same entries, and take those from a length on.
pub(crate) struct Places {
    pub(crate) targets: Vec<RedirectTarget>,
    pub(crate) plain_len_min: u64,
    entries: Mutex<HashMap<EntryName, Bytes>>,
    /// Who asked for what, each time that somebody looked for an entry.
    pub(crate) asked: Mutex<Vec<Following>>,
}

impl Places {
    pub(crate) fn new(targets: Vec<RedirectTarget>) -> Self {
        Self {
            targets,
            plain_len_min: 0,
            entries: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// A target over HTTP.
    pub(crate) fn target(name: &str) -> RedirectTarget {
        RedirectTarget {
            name: name.to_owned(),
            protocol: "http".to_owned(),
            uris: vec![format!("http://{name}/")],
            ..RedirectTarget::default()
        }
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// The bytes behind a URL.
    pub(crate) fn fetch(&self, url: &[u8]) -> Bytes {
        let url = std::str::from_utf8(url).unwrap();
        let name = EntryName::from_hex(url.rsplit('/').next().unwrap()).unwrap();
        self.entries.lock().unwrap()[&name].clone()
    }

    fn first(&self, following: &Following) -> Option<&RedirectTarget> {
        let named = |target: &&RedirectTarget| {
            let name = target.name.as_bytes();
            following.targets.iter().any(|known| known == name)
        };
        self.targets.iter().find(named)
    }
}

impl Redirects for Places {
    fn advertised(&self, _: &Follower) -> Vec<RedirectTarget> {
        self.targets.clone()
    }

    fn would_take(
        &self,
        following: &Following,
        _: Option<ContentCoding>,
        plain_len: Option<u64>,
    ) -> bool {
        let fits = plain_len.is_none_or(|len| len >= self.plain_len_min);
        fits && self.first(following).is_some()
    }

    fn find<'a>(
        &'a self,
        following: &'a Following,
        form: &'a EntryForm,
    ) -> BoxFuture<'a, Option<Redirect>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(following.clone());
            let target = self.first(following)?;
            let entries = self.entries.lock().unwrap();
            entries.contains_key(&form.name).then(|| Redirect {
                target: target.name.clone(),
                location: SecretUrl::new(format!("{}{}", target.uris[0], form.name.to_hex())),
                certificates: Certificates {
                    server: vec![vec![1]],
                    authorities: vec![vec![2], vec![3]],
                },
            })
        })
    }

    fn publish<'a>(
        &'a self,
        _: &'a Following,
        form: &'a EntryForm,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            let mut bytes = BytesMut::new();
            while (bytes.len() as u64) < content.len() {
                bytes.extend_from_slice(&content.read(bytes.len() as u64, 1000).await?);
            }
            self.entries
                .lock()
                .unwrap()
                .insert(form.name, bytes.freeze());
            Ok(())
        })
    }
}
