//! From a command to where its answer comes from: called, looked for among what is
//! remembered, or taken part in.

use bytes::Bytes;
use fingerpost_core::{CacheKey, Call, Called, Failure, Objects, Origin, Reply};
use fingerpost_hg_proto::{ContentEncoding, Location};
use futures_util::future::join;

use super::{Asked, Source, Work};
use crate::answers::AnswerCache;
use crate::guards;
use crate::redirecting::{Looking, Place};
use crate::shared::Sharing;

/// What a command has come to before anything of it is sent.
pub(super) enum Begun {
    Whole(Bytes),
    Elsewhere(Location),
    Source(Source),
}

impl Work {
    pub(super) fn call(&self, asked: &Asked) -> Result<Called, Failure> {
        let entry = &self.commands.entries()[asked.command];
        let call = Call {
            service: &self.view,
            principal: &self.caller.principal,
            peer: &self.caller.peer,
            // No command of a repository takes a login.
            origin: Origin::Unknown,
        };
        let args = &asked.request.args;
        let called = self.runtime.block_on(entry.call(call, args));
        let repository = self.view.entry().id().as_str();
        let about = (repository, &self.caller);
        let ended = called.as_ref().into();
        guards::called(&self.guards, entry, about, args, ended, &self.runtime);
        called
    }

    /// Where the answer comes from. What the caller may have was decided in the
    /// call, whether it is remembered or not.
    pub(super) fn source(&self, called: Called, asked: &Asked) -> Result<Begun, Failure> {
        let objects = match called.reply {
            Reply::Object(encoded) | Reply::Encoded(encoded) => {
                return Ok(Begun::Whole(encoded.bytes));
            }
            Reply::Objects(objects) => objects,
            Reply::Redirect(redirect) => {
                return Ok(Begun::Elsewhere(Location::new(redirect.location.expose())));
            }
        };
        match (&self.cache, called.key) {
            (Some(cache), Some(key)) if !objects.are_few() => {
                self.remembered(cache, key, objects, asked)
            }
            _ => Ok(Begun::Source(Source::Own(objects))),
        }
    }

    /// An answer that may be remembered: elsewhere, in a store, or being made.
    fn remembered(
        &self,
        cache: &AnswerCache,
        key: CacheKey,
        objects: Box<dyn Objects>,
        asked: &Asked,
    ) -> Result<Begun, Failure> {
        let counts = cache.dispatch.counts(self.name(asked.command));
        let follows = self.caller.follows(&asked.request);
        let looking = Looking::new(cache, &counts, &key, follows.as_ref());
        let (encoding, level) = self.encoding;
        let how = (encoding.unwrap_or(ContentEncoding::Identity), level);
        let (place, found) = self.runtime.block_on(async {
            let place = match &looking {
                Some(looking) => looking.find_seen().await,
                None => Place::No,
            };
            let name = cache.name(&key, how);
            let finding = cache.dispatch.find(&counts, &name);
            match (&looking, place) {
                (_, Place::There(location)) => (Place::There(location), None),
                // The stores are asked for both at once.
                (Some(looking), Place::Unseen) => join(looking.find_unseen(), finding).await,
                (_, place) => (place, finding.await),
            }
        });
        if let Place::There(location) = place {
            return Ok(Begun::Elsewhere(location));
        }
        let sharing = Sharing::begin(cache, &counts, key, objects, how, found)?;
        if let (Place::Missing, Some(looking), Some(stored)) = (place, &looking, sharing.stored()) {
            looking.put(&stored, &self.runtime);
        }
        Ok(Begun::Source(Source::Shared(sharing)))
    }
}
