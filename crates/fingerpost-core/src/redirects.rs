//! Places from which clients fetch answers by themselves, as dispatch and doors
//! see them.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{CacherError, Content, EntryName, Redirect, RedirectTarget};

/// Redirect targets: which there are for whom, and what lies there.
///
/// A URL is a key to the content. Whoever redirects was told by the front who may
/// see the answer, and gives out no URL that shows it to more.
pub trait Redirects: Send + Sync + 'static {
    /// The targets that work and are for this client, in the server's order.
    fn advertised(&self, client: &Follower) -> Vec<RedirectTarget>;

    /// Whether a target takes answers of this request in this coding, of so many
    /// plain bytes if that is known. It asks nobody, and says nothing of whether one
    /// is there.
    fn would_take(
        &self,
        following: &Following,
        coding: Option<ContentCoding>,
        plain_len: Option<u64>,
    ) -> bool;

    /// Where the answer lies, if it is known to be at a target that takes it.
    /// Whatever fails is passed over.
    fn find<'a>(
        &'a self,
        following: &'a Following,
        form: &'a EntryForm,
    ) -> BoxFuture<'a, Option<Redirect>>;

    /// Puts the bytes of a form where [`Redirects::find`] finds them from now on:
    /// at the first target that takes it.
    ///
    /// # Errors
    ///
    /// What the last of the targets says, if none took it.
    fn publish<'a>(
        &'a self,
        following: &'a Following,
        form: &'a EntryForm,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>>;
}

/// A client, as far as it matters to where it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Where it is; `None` for a process of this machine.
    pub address: Option<IpAddr>,
    /// Whether it is a stock client, which fails for good when a target does:
    /// it never asks again without a redirect.
    pub is_stock: bool,
}

/// A request of a client that follows redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Who asks.
    pub client: Follower,
    /// Names of the targets that the client would follow to.
    pub targets: Vec<Vec<u8>>,
    /// Who may see the answer.
    pub audience: Audience,
}

/// Who may see an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A caller who did not say who they are would get the same.
    Anyone,
    /// The caller, and others who may do as much.
    Caller,
}

/// An answer as it lies at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryForm {
    /// Its name there.
    pub name: EntryName,
    /// What the client has to undo.
    pub coding: Option<ContentCoding>,
    /// Bytes of the answer without the coding.
    pub plain_len: u64,
}

/// A content coding of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// Zstandard with a window of 8 MiB at most.
    Zstd,
}

impl ContentCoding {
    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
        }
    }
}
