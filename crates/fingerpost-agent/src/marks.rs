//! The lines of a gc-mark-stream. They go to the server as they are, over a connection of
//! their own: the agent keeps no marks.

use fingerpost_hashequiv_client::{Client, ClientError, Mode};

use crate::commands::{Caller, Reply};
use crate::shared::Shared;

/// A stream that the server has opened.
pub(crate) struct Marks(Client);

impl Marks {
    /// Opens one with the login of whoever asks.
    ///
    /// # Errors
    ///
    /// What the build is answered: it may not, or the server does not have it.
    pub(crate) async fn open(shared: &Shared, caller: &Caller) -> Result<Self, Reply> {
        if let Some(refused) = caller.refusal("gc-mark-stream") {
            return Err(refused);
        }
        let mut client = shared.server.client(caller);
        client.enter(Mode::GcMarks).await.map_err(ended)?;
        Ok(Self(client))
    }

    /// How many mappings each line marked.
    pub(crate) async fn mark(&mut self, lines: &[String]) -> Result<Vec<u64>, Reply> {
        self.0.gc_mark_lines(lines).await.map_err(ended)
    }
}

fn ended(error: ClientError) -> Reply {
    match error {
        ClientError::Told(why) => Reply::Refused(why),
        _ => Reply::Close,
    }
}
