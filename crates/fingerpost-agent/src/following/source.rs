//! What a follower needs of the server, and who hears of what it read.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::Digest;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::state::DeletionEpoch;

/// The server, as far as a follower needs it. Redirects are its own affair, and so are logins;
/// that a body stays within its limit is too, where one is said.
pub(crate) trait Source: Send + Sync + 'static {
    /// The snapshots of the namespace.
    fn snapshots(&self) -> impl Future<Output = Result<Listing, FollowError>> + Send;

    /// The bytes of a manifest: at most one more than
    /// [`MANIFEST_BYTES_MAX`](fingerpost_snapshot::MANIFEST_BYTES_MAX).
    fn manifest(&self, name: &str) -> impl Future<Output = Result<Vec<u8>, FollowError>> + Send;

    /// The bytes of its `manifest.sig`, some hundred at most; `None` if there is none.
    fn signature(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, FollowError>> + Send;

    /// Writes a shard of `bytes` bytes into `into`, which fails where there are more. Who asks
    /// checks what came.
    fn shard(
        &self,
        name: &str,
        digest: &Digest,
        bytes: u64,
        into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> impl Future<Output = Result<(), FollowError>> + Send;

    /// What changed after a position, or from now on. Returns when the head of the answer is there.
    fn changes(&self, wanted: Wanted) -> impl Future<Output = Result<Changes, FollowError>> + Send;
}

/// Which changes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// After which position; `None`: from now on.
    pub(crate) since: Option<u64>,
    /// Whether additions are left out.
    pub(crate) deletions_only: bool,
    /// How many are enough. A server may tell more; an answer with fewer tells everything that there was.
    pub(crate) limit: usize,
    /// How long an answer without changes may be waited for, in whole seconds.
    pub(crate) wait: Duration,
}

/// An answer to [`Source::changes`].
pub(crate) struct Changes {
    /// The deletion epoch in the head of the answer: the server read it before the rest.
    pub(crate) epoch: DeletionEpoch,
    /// The lines.
    pub(crate) body: BoxStream<'static, io::Result<Bytes>>,
}

/// What a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The newest first.
    pub(crate) snapshots: Vec<Listed>,
    /// What the namespace falls back to; `None` if the server does not say.
    pub(crate) fallbacks: Option<Vec<String>>,
}

/// A snapshot as the server tells of it. Nothing of that is believed before the manifest was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name at the server.
    pub(crate) name: String,
    /// The last position that is in it.
    pub(crate) position: u64,
    /// When it was cut.
    pub(crate) created: UnixTime,
}

/// The server did not give what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The position is too old, or was never told (410).
    #[error("the server does not know any more what changed since")]
    Gone,
    /// It is away, refuses, or talks nonsense.
    #[error("{0}")]
    Failed(String),
}

/// Who wants to hear of what changed: the agent's memory and store.
///
/// An answer that the server computed before a deletion may come after the deletion was heard of,
/// and must not be remembered then. So answers carry the deletion epoch that the server read
/// *before* it computed them, and
///
/// 1. every deletion with an epoch of `e` or less is told by [`changed`](Self::changed), or
///    everything by [`all_gone`](Self::all_gone), after [`moved`](Self::moved) with an epoch of
///    `e` or more returned, even if it was told before that already;
/// 2. who remembers an answer compares its epoch with the last one of `moved`, before putting the
///    answer where `changed` finds it and once more afterwards, and takes it out again if it is of an
///    epoch before, or of another history.
///
/// Either the answer is there when `changed` comes, or it comes later and sees the epoch.
///
/// What [`Followed::lookup`](super::Followed::lookup) answers is an answer of the last epoch of
/// `moved`, read before the look-up: nobody is told of an epoch before look-ups know of it.
pub(crate) trait Heard: Send + Sync + 'static {
    /// From here on answers of an epoch before this one, or of another history, must not be remembered.
    fn moved(&self, epoch: DeletionEpoch);

    /// A mapping is another one now, or none: what is remembered of it must be forgotten.
    fn changed(&self, method: &str, taskhash: &[u8; 32], unihash: Option<[u8; 32]>);

    /// Nothing that is remembered holds. When it is known again from where on something does, `moved` says so.
    fn all_gone(&self);

    /// Returns `true` once what was told before will not come back after a restart: until then it is told
    /// again. A memory has nothing to do.
    fn settle(&self) -> impl Future<Output = bool> + Send;
}
