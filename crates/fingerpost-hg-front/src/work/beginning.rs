//! From a command to where its answer comes from: called, looked for among what is
//! remembered, or taken part in.

use bytes::Bytes;
use fingerpost_core::{CacheKey, Call, Called, Failure, Objects, Reply};
use fingerpost_hg_proto::{ContentEncoding, Location};

use super::{Asked, Source, Work};
use crate::answers::AnswerCache;
use crate::redirecting::{Found, Looking};
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
        };
        let running = entry.call(call, &asked.request.args);
        self.runtime.block_on(running)
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
        let mut found = Found::No;
        if let Some(looking) = &looking {
            found = self.runtime.block_on(looking.find_seen());
        }
        if let Found::There(location) = found {
            return Ok(Begun::Elsewhere(location));
        }
        let (encoding, level) = self.encoding;
        let how = (encoding.unwrap_or(ContentEncoding::Identity), level);
        let sharing = Sharing::begin(cache, &counts, key, objects, how, &self.runtime)?;
        if let (Some(looking), Some(stored)) = (&looking, sharing.stored())
            && let Some(location) = looking.find_or_put(found, &stored, &self.runtime)
        {
            return Ok(Begun::Elsewhere(location));
        }
        Ok(Begun::Source(Source::Shared(sharing)))
    }
}
