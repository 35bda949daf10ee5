//! The commands of a request: read, checked, run.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use fingerpost_core::{Availability, Entry, Permission};
use fingerpost_hg::RepositoryView;
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::server::{HttpFailure, Inbox, Limits, Misbehaved, Received};
use fingerpost_hg_proto::{ContentEncoding, FRAMING_MEDIA_TYPE};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::answer;
use crate::body::{Patience, first_piece, streaming};
use crate::caller::Caller;
use crate::front::{Asking, Door};
use crate::lanes::{Room, is_short};
use crate::refusal::Refusal;
use crate::route::{DEBUG_REFLECT, MULTIREQUEST};
use crate::work::{Asked, Work};

/// What the URL of a request says of its commands.
#[derive(Debug)]
pub(crate) struct UrlCommand {
    /// The only one, by its name; `None` for any number of any.
    name: Option<String>,
    /// Whether it is below `rw`.
    writes: bool,
}

/// What a request's frames say.
struct Frames {
    asked: Vec<Asked>,
    encoding: Option<ContentEncoding>,
}

impl Door {
    /// Checks the command of a URL.
    pub(crate) fn url_command(&self, command: &str, writes: bool) -> Result<UrlCommand, Refusal> {
        if command == MULTIREQUEST {
            return Ok(UrlCommand { name: None, writes });
        }
        if command == DEBUG_REFLECT {
            return Err(Refusal::not_found("debugreflect service not available"));
        }
        let name = Some(command.to_owned());
        match self.commands.find(command, false) {
            None => Err(Refusal::unknown_command(command)),
            Some((_, entry)) => match self.is_allowed(entry, writes) {
                true => Ok(UrlCommand { name, writes }),
                false => Err(Refusal::insufficient(command)),
            },
        }
    }

    /// Whether a command is there at all, and needs no more than its URL allows.
    fn is_allowed(&self, entry: &Entry<RepositoryView>, writes: bool) -> bool {
        let declaration = &entry.declaration;
        let pushes = declaration.access.needs.contains(&Permission::Push);
        let is_off = declaration.availability == Availability::Writable
            && self.mercurial.options().pushkey.is_none();
        (writes || !pushes) && !is_off
    }

    /// Runs the commands of a request; what of the answer is ready at once is
    /// awaited, so that short ones have a length.
    pub(crate) async fn run(
        self: &Arc<Self>,
        asking: &Asking,
        body: Body,
        url: UrlCommand,
    ) -> Result<Response, Refusal> {
        let mut room = Room::default();
        let reading = timeout(self.options.body_time, self.read(body, &url, &mut room));
        let frames = reading.await.unwrap_or_else(|_| Err(Refusal::too_slow()))?;
        let all_short = frames
            .asked
            .iter()
            .all(|asked| is_short(&asked.request.name));
        let place = self.lanes.enter(all_short).await?;
        let (door, repository) = (Arc::clone(self), Arc::clone(&asking.repository));
        let may_follow = self.lanes.long_under_way() >= self.options.redirected_from;
        let caller = Caller::new(asking, url.writes, may_follow);
        let turns = self.lanes.turns(url.writes);
        let first = first_piece(&self.lanes, &turns, move || {
            // Places bound what is at work; room is for what waits.
            drop(room);
            let view = door.view(&repository, false)?;
            let level = level(frames.encoding, door.options.compression_level);
            Ok(Work::new(
                (Arc::clone(&door.commands), Arc::clone(&door.metrics)),
                (door.cache.clone(), door.guards.clone()),
                view,
                caller,
                frames.asked,
                (frames.encoding, level),
                place,
            ))
        });
        let patience = Patience {
            answer: self.options.answer_time,
            piece: self.options.piece_time,
        };
        let body = streaming(first.await?, patience, turns);
        Ok(answer::ok(FRAMING_MEDIA_TYPE, body))
    }

    /// Reads a body to its end. `room` is what it takes of what all requests
    /// together may.
    async fn read(
        &self,
        mut body: Body,
        url: &UrlCommand,
        room: &mut Room,
    ) -> Result<Frames, Refusal> {
        let mut inbox = Inbox::new(Limits::of_body(self.options.body_bytes_max));
        let (mut received, mut asked) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            // The client is gone, so nobody reads what is said of it.
            let frame = frame.map_err(|_| Refusal::server_error())?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            let before = taken(inbox.body_bytes());
            let more = taken(inbox.body_bytes() + bytes.len()) - before;
            self.lanes.extend(room, more).await?;
            inbox.push(&bytes, &mut received).map_err(misbehaved)?;
            for Received::Command {
                request_id,
                request,
            } in received.drain(..)
            {
                let command = self.check(&request.name, url, asked.len())?;
                asked.push(Asked {
                    request_id,
                    command,
                    request,
                    again: false,
                });
            }
        }
        inbox.finish().map_err(misbehaved)?;
        Ok(Frames {
            asked,
            encoding: inbox.content_encoding(),
        })
    }

    /// Whether a command may stand behind this URL, `before` others; its index.
    fn check(&self, name: &[u8], url: &UrlCommand, before: usize) -> Result<usize, Refusal> {
        let name = String::from_utf8_lossy(name);
        if let Some(only) = &url.name {
            if before > 0 {
                return Err(told("multiple commands cannot be issued to this URL"));
            }
            if *only != name {
                return Err(told("command in frame must match command in URL"));
            }
        }
        match self.commands.find(&name, false) {
            None => Err(told(format!("wire protocol command not available: {name}"))),
            Some((index, entry)) => match self.is_allowed(entry, url.writes) {
                true => Ok(index),
                false => Err(Refusal::insufficient(&name)),
            },
        }
    }
}

/// The memory that a body of so many bytes may take: itself, and what it is
/// decoded to, a value for each byte at worst.
fn taken(body_bytes: usize) -> usize {
    let items = Limits::of_body(body_bytes).cbor.items.min(body_bytes);
    body_bytes + items * size_of::<Value>()
}

/// The level for an encoding: the fastest of zlib are poor for what they cost.
fn level(encoding: Option<ContentEncoding>, configured: i32) -> i32 {
    match encoding {
        Some(ContentEncoding::Zlib) => configured.max(ZLIB_LEVEL_MIN),
        _ => configured,
    }
}

const ZLIB_LEVEL_MIN: i32 = 6;

/// What the reference tells in the place of frames.
fn told(text: impl Into<String>) -> Refusal {
    Refusal::text(axum::http::StatusCode::OK, text)
}

fn misbehaved(error: Misbehaved) -> Refusal {
    match error.http() {
        HttpFailure::PlainText => told(error.body()),
        HttpFailure::Internal => Refusal::server_error(),
        HttpFailure::TooLarge => Refusal::too_large(),
    }
}
