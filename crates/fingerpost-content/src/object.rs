//! Entries as objects: S3 and what speaks like it, Google, Azure, a directory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryForm, EntryName, Timestamp};
use futures_util::future::BoxFuture;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt as _};

use crate::place::{Opened, Place};
use crate::{Sealed, Sealing, failing, upload};

/// An [`ObjectStore`] as it is configured.
#[derive(Clone, Debug)]
pub struct ObjectStoreConfig {
    /// What operators call it: `s3`.
    pub name: String,
    /// Where the objects lie.
    pub place: Place,
    /// What is in them.
    pub form: Form,
    /// Bytes of the longest entry that is stored.
    pub entry_bytes_max: u64,
    /// The most that finding an entry, reading a range of it, or removing it
    /// takes, attempts and all.
    pub deadline: Duration,
    /// The most that an attempt to send 8 MiB takes, and that it takes to give
    /// up after a failure. A store of many parts takes as many times that.
    pub part_deadline: Duration,
}

/// What lies in the objects of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The bytes of the entry as they are: clients can be sent there.
    Plain {
        /// The objects' content type.
        media_type: String,
    },
    /// What [`Sealed`] opens, so that damage is noticed: a tier of ours that no
    /// client is sent to.
    Sealed,
}

impl Default for ObjectStoreConfig {
    fn default() -> Self {
        Self {
            name: "s3".to_owned(),
            place: Place::default(),
            form: Form::Plain {
                media_type: "application/mercurial-cbor".to_owned(),
            },
            entry_bytes_max: 5 << 30,
            deadline: Duration::from_secs(2),
            part_deadline: Duration::from_secs(30),
        }
    }
}

/// Entries as objects under prefix + 64 hex digits.
///
/// Found by HEAD, read by one range request for each [`Content::read`], stored
/// in parts of 8 MiB of which one is in memory at a time. Who reads a plain
/// object trusts the place: it has no digest but the place's own. A sealed one
/// is checked as it is read, and [`CacherError::Damaged`] if it does not fit.
pub struct ObjectStore {
    config: ObjectStoreConfig,
    place: Opened,
}

impl ObjectStore {
    /// Prepares the connections and does not use them yet.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong in the configuration, without secrets.
    pub fn new(config: ObjectStoreConfig) -> Result<Self, String> {
        let place = config.place.open(config.deadline, config.part_deadline)?;
        Ok(Self { config, place })
    }

    pub(crate) const fn place(&self) -> &Opened {
        &self.place
    }

    /// Where clients reach it, if it is not a cloud's own.
    pub(crate) fn client_endpoint(&self) -> Option<&str> {
        let place = &self.config.place;
        let endpoint = place.client_endpoint.as_ref().or(place.endpoint.as_ref());
        endpoint.map(String::as_str)
    }

    pub(crate) const fn deadline(&self) -> Duration {
        self.config.deadline
    }

    pub(crate) fn path(&self, name: &EntryName) -> Path {
        key(&self.place.prefix, name)
    }

    /// What the object is beside its bytes. It never changes, so that whoever
    /// has it may keep it for a year.
    fn attributes(&self) -> Attributes {
        if !self.place.has_attributes {
            return Attributes::new();
        }
        let media_type = match &self.config.form {
            Form::Plain { media_type } => media_type,
            Form::Sealed => "application/octet-stream",
        };
        Attributes::from_iter([
            (Attribute::ContentType, media_type.to_owned()),
            (
                Attribute::CacheControl,
                "max-age=31536000, immutable".to_owned(),
            ),
        ])
    }

    /// Whether the place tells whoever fetches an object in which coding it is.
    pub(crate) const fn tells_codings(&self) -> bool {
        self.place.has_attributes
    }

    /// Whether clients can be sent here.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.config.form, Form::Plain { .. })
    }

    /// Length of an object that is there, and when it was put.
    pub(crate) async fn find(&self, name: &EntryName) -> Result<Option<Lying>, CacherError> {
        let path = self.path(name);
        let asked = self.place.store.head(&path);
        match in_time(self.config.deadline, name, asked).await {
            Ok(meta) => Ok(Some(Lying {
                len: meta.size,
                since: Timestamp(meta.last_modified.timestamp_micros()),
            })),
            Err(Failure::Absent) => Ok(None),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    async fn open(&self, name: &EntryName) -> Result<Option<Arc<dyn Content>>, CacherError> {
        let Some(Lying { len, .. }) = self.find(name).await? else {
            return Ok(None);
        };
        let object: Arc<dyn Content> = Arc::new(Object {
            store: Arc::clone(&self.place.store),
            name: *name,
            path: self.path(name),
            len,
            deadline: self.config.deadline,
        });
        match self.config.form {
            Form::Plain { .. } => Ok(Some(object)),
            Form::Sealed => Sealed::open(name, object).await.map(Some),
        }
    }

    /// Puts an entry that may be in a content coding, which the place tells whoever
    /// fetches it if it can tell anything.
    pub(crate) async fn publish(
        &self,
        form: &EntryForm,
        content: Arc<dyn Content>,
    ) -> Result<(), CacherError> {
        let mut attributes = self.attributes();
        if let Some(coding) = form.coding {
            if !self.tells_codings() {
                let why = "the place cannot tell in which coding an object is";
                return Err(CacherError::Other(why.to_owned()));
            }
            attributes.insert(Attribute::ContentEncoding, coding.name().into());
        }
        self.put(&form.name, content, attributes).await
    }

    async fn put(
        &self,
        name: &EntryName,
        content: Arc<dyn Content>,
        attributes: Attributes,
    ) -> Result<(), CacherError> {
        let len = content.len();
        if len > self.config.entry_bytes_max {
            return Err(CacherError::Length { len });
        }
        let to = upload::To {
            store: &self.place.store,
            path: self.path(name),
            name,
            attributes,
            part_deadline: self.config.part_deadline,
        };
        match self.config.form {
            Form::Plain { .. } => upload::upload(to, &*content).await,
            Form::Sealed => upload::upload(to, &Sealing::new(name, content)).await,
        }
    }

    async fn delete(&self, name: &EntryName) -> Result<bool, CacherError> {
        // S3 says that it deleted what was never there.
        if self.find(name).await?.is_none() {
            return Ok(false);
        }
        let path = self.path(name);
        let asked = self.place.store.delete(&path);
        match in_time(self.config.deadline, name, asked).await {
            Ok(()) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(Failure::Other(error)) => Err(error),
        }
    }
}

impl Cacher for ObjectStore {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(self.open(name))
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(self.put(name, content, self.attributes()))
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(self.delete(name))
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// An object that was there when it was looked up.
struct Object {
    store: Arc<dyn object_store::ObjectStore>,
    name: EntryName,
    path: Path,
    len: u64,
    deadline: Duration,
}

impl Object {
    async fn range(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let end = offset.saturating_add(max as u64).min(self.len);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let asked = self.store.get_range(&self.path, offset..end);
        let bytes = match in_time(self.deadline, &self.name, asked).await {
            Ok(bytes) => bytes,
            Err(Failure::Absent) => return Err(CacherError::Other("it is gone".to_owned())),
            Err(Failure::Other(error)) => return Err(error),
        };
        if bytes.len() as u64 != end - offset {
            return Err(CacherError::Damaged(
                "the object has another length than before".to_owned(),
            ));
        }
        Ok(bytes)
    }
}

impl Content for Object {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.range(offset, max))
    }
}

/// An object that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lying {
    pub(crate) len: u64,
    /// By the place's clock.
    pub(crate) since: Timestamp,
}

pub(crate) fn key(prefix: &str, name: &EntryName) -> Path {
    Path::from(format!("{prefix}{}", name.to_hex()))
}

/// Why there is no answer that we can use.
pub(crate) enum Failure {
    Absent,
    Other(CacherError),
}

/// Waits for an answer until the deadline; what it says of a failure can be logged.
pub(crate) async fn in_time<T>(
    deadline: Duration,
    name: &EntryName,
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(object_store::Error::NotFound { .. })) => Err(Failure::Absent),
        Ok(Err(error)) => {
            let said = failing::sentence(&error, name);
            Err(Failure::Other(CacherError::Other(said)))
        }
        Err(_) => Err(Failure::Other(CacherError::TimedOut(deadline))),
    }
}

impl From<Failure> for CacherError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Absent => Self::Other("the place is not there".to_owned()),
            Failure::Other(error) => error,
        }
    }
}
