//! Rounds of requests, until their answers lie where clients are sent to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fingerpost_hg_front::client::{Asking, ClientError, ClonePlan, HgClient};
use fingerpost_hg_proto::client::Response;
use fingerpost_hg_proto::{ContentEncoding, RedirectRequest};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::summary::{Ready, Summary};
use crate::hg::explain;
use crate::progress::Progress;

/// A request of the plan, in an encoding.
pub(super) type Wish = (ContentEncoding, usize);

/// Asks for one repository, and notes what came of it.
pub(super) struct Rounds {
    asker: Arc<Asker>,
    jobs: usize,
    progress: Progress,
    /// Requests of all rounds so far, answered or not.
    total: u64,
    /// Those whose answers the server made, and that were read to their end.
    pub(super) made: HashSet<Wish>,
    pub(super) summary: Summary,
}

/// What all requests share.
struct Asker {
    client: HgClient,
    plan: ClonePlan,
}

/// What one request came to.
struct Asked {
    wish: Wish,
    outcome: Outcome,
}

/// How it was answered, with the bytes of the body.
enum Outcome {
    Redirected(u64),
    /// By the server itself, and read to the end.
    Inline(u64),
    /// By the server itself, and not read to the end.
    Left,
}

/// Longer byte strings are thrown away in pieces.
const WHOLE_BYTES: usize = 64 << 10;

/// A request of the plan as it is asked in an encoding.
pub(super) fn asking(encoding: ContentEncoding) -> Asking {
    Asking {
        encodings: vec![encoding],
        whole_bytes: WHOLE_BYTES,
        ..Asking::default()
    }
}

impl Rounds {
    pub(super) fn new(client: HgClient, plan: ClonePlan, jobs: u16) -> Self {
        let url = client.shown_url();
        Self {
            jobs: jobs.into(),
            progress: Progress::new(format!("Warming {url}"), "requests", None),
            total: 0,
            made: HashSet::new(),
            summary: Summary::of(url, &plan),
            asker: Arc::new(Asker { client, plan }),
        }
    }

    /// Asks again and again, as a client that says this of redirects, until everything
    /// is redirected or nothing more becomes so. At first the server makes what it does
    /// not have; what it has, it puts to a target when it is asked.
    pub(super) async fn until_redirected(
        &mut self,
        mut open: Vec<Wish>,
        redirect: RedirectRequest,
    ) -> anyhow::Result<Ready> {
        let (began, redirect) = (Instant::now(), Some(Arc::new(redirect)));
        let (all, mut redirected) = (open.len() as u64, 0);
        let mut patience = Patience::default();
        loop {
            let gained = self.round(&open, redirect.as_ref()).await?;
            redirected += gained.len() as u64;
            // Questions are not sent elsewhere, so that they are asked once.
            let plan = &self.asker.plan;
            open.retain(|wish| !gained.contains(wish) && !plan.is_question(wish.1));
            match patience.pause(!gained.is_empty()) {
                Some(pause) if !open.is_empty() && began.elapsed() + pause < TIME_MAX => {
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    let inline = all - redirected;
                    return Ok(Ready { redirected, inline });
                }
            }
        }
    }

    /// Asks for everything once; what was answered with a redirect. It ends when all is
    /// answered, so that the server has it for the next round.
    pub(super) async fn round(
        &mut self,
        wishes: &[Wish],
        redirect: Option<&Arc<RedirectRequest>>,
    ) -> anyhow::Result<HashSet<Wish>> {
        self.total += wishes.len() as u64;
        let mut redirected = HashSet::new();
        let mut waiting = wishes.iter().copied();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.jobs
                && let Some(wish) = waiting.next()
            {
                let is_made = self.made.contains(&wish);
                let asker = Arc::clone(&self.asker);
                running.spawn(asker.ask(wish, redirect.cloned(), is_made));
            }
            let Some(asked) = running.join_next().await else {
                return Ok(redirected);
            };
            let asked = asked.context("a request panicked")?.map_err(explain)?;
            self.note(&asked);
            if let Outcome::Redirected(_) = asked.outcome {
                redirected.insert(asked.wish);
            }
        }
    }

    /// Counts what a request came to.
    fn note(&mut self, asked: &Asked) {
        let Asked { wish, outcome } = asked;
        self.summary.requests += 1;
        match outcome {
            Outcome::Redirected(bytes) => self.summary.bytes += bytes,
            Outcome::Inline(bytes) => {
                self.summary.bytes += bytes;
                self.made.insert(*wish);
            }
            Outcome::Left => {}
        }
        let done = self.summary.requests - ClonePlan::MADE as u64;
        self.progress.set(done, self.total);
    }

    /// The end: how it went.
    pub(super) fn finish(self) -> Summary {
        self.progress.finish();
        self.summary
    }
}

impl Asker {
    /// Asks. Of an answer that is made already, no more is read than whether it is a
    /// redirect: a server puts it to a target all the same.
    async fn ask(
        self: Arc<Self>,
        wish: Wish,
        redirect: Option<Arc<RedirectRequest>>,
        is_made: bool,
    ) -> Result<Asked, ClientError> {
        let (encoding, at) = wish;
        let Some(mut request) = self.plan.request(at) else {
            let outcome = Outcome::Left;
            return Ok(Asked { wish, outcome });
        };
        request.redirect = redirect.as_deref().cloned();
        let (mut redirected, is_inline) = (false, Notify::new());
        let asking = asking(encoding);
        let reading = self
            .client
            .require(&request, &asking, |response| match response {
                Response::Redirect(_) => redirected = true,
                Response::Ok if is_made => is_inline.notify_one(),
                _ => {}
            });
        let called = tokio::select! {
            called = reading => Some(called?),
            () = is_inline.notified() => None,
        };
        let outcome = match called {
            Some(called) if redirected => Outcome::Redirected(called.body_bytes),
            Some(called) => Outcome::Inline(called.body_bytes),
            None => Outcome::Left,
        };
        Ok(Asked { wish, outcome })
    }
}

/// How long the next round is waited for, and whether there is one.
#[derive(Default)]
struct Patience {
    /// Rounds since the last one in which something more was redirected.
    in_vain: u32,
}

/// After so many rounds in vain, which take 15 seconds and more, what is not redirected
/// stays here: it is too short for every target, or putting it there fails.
const IN_VAIN_MAX: u32 = 6;
/// Doubled with each round in vain.
const PAUSE: Duration = Duration::from_millis(250);
/// No round begins later than so long after the first one.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

impl Patience {
    /// The pause after a round, in which something more was redirected or not.
    fn pause(&mut self, has_gained: bool) -> Option<Duration> {
        self.in_vain = match has_gained {
            true => 0,
            false => self.in_vain + 1,
        };
        (self.in_vain < IN_VAIN_MAX).then(|| PAUSE * (1 << self.in_vain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_when_nothing_more_comes() {
        let mut patience = Patience::default();
        let mut after = |has_gained| patience.pause(has_gained).map(|pause| pause.as_millis());
        assert_eq!(after(false), Some(500));
        assert_eq!(after(false), Some(1000));
        assert_eq!(after(true), Some(250));
        let in_vain: Vec<_> = std::iter::from_fn(|| after(false)).collect();
        assert_eq!(in_vain, [500, 1000, 2000, 4000, 8000]);
    }
}
