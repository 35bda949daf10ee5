//! The loop of one generating thread: edge-triggered epoll over raw sockets.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

use super::connection::{Connection, Read, Sent};
use super::script::Script;
use super::tally::Tally;

/// Of this many answers one is compared in full; of all others the length.
const THOROUGH_EVERY: u64 = 16;
/// How often a waiting thread looks whether the run is over.
const TICK: Duration = Duration::from_millis(50);
/// Largest run of answers read at once.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Where the whole run is, shared by all threads.
#[derive(Debug)]
pub(super) struct Stage(AtomicU8);

impl Stage {
    pub(super) const WARM_UP: u8 = 0;
    pub(super) const MEASURE: u8 = 1;
    pub(super) const STOP: u8 = 2;

    pub(super) const fn new(stage: u8) -> Self {
        Self(AtomicU8::new(stage))
    }

    pub(super) fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// How a thread paces its requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Each connection has this many requests on the way, written at once; the
    /// next batch follows when all are answered.
    Closed {
        /// Requests per write.
        depth: usize,
    },
    /// One request every interval, whether or not earlier ones are answered.
    Open {
        /// Time between two requests of this thread.
        interval: Duration,
    },
}

/// One thread's connections and counts.
pub(super) struct Worker<'a> {
    stage: &'a Stage,
    pace: Pace,
    /// Requests to send while measuring; then the thread ends by itself.
    quota: Option<u64>,
    /// The longest wait for any answer at all.
    patience: Duration,
    script: Script,
    epoll: OwnedFd,
    /// `None`: broken.
    connections: Vec<Option<Connection>>,
    /// Requests without answer, over all connections.
    awaited: usize,
    last_answer: Instant,
    tally: Tally,
}

impl<'a> Worker<'a> {
    /// Takes over connections on which nothing was sent yet.
    pub(super) fn new(
        stage: &'a Stage,
        pace: Pace,
        quota: Option<u64>,
        patience: Duration,
        script: Script,
        connections: Vec<Connection>,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (index, connection) in (0_u64..).zip(&connections) {
            epoll::add(&epoll, connection, EventData::new_u64(index), flags).context("epoll")?;
        }
        let mut worker = Self {
            stage,
            pace,
            quota,
            patience,
            script,
            epoll,
            connections: connections.into_iter().map(Some).collect(),
            awaited: 0,
            last_answer: Instant::now(),
            tally: Tally::new(),
        };
        worker.open();
        Ok(worker)
    }

    /// Sends each connection's handshake.
    fn open(&mut self) {
        let now = Instant::now();
        for connection in self.connections.iter_mut().flatten() {
            if let Some(expected) = self.script.open(&mut connection.output) {
                connection.sent.push_back(Sent { expected, at: now });
                self.awaited += 1;
            }
        }
        for index in 0..self.connections.len() {
            self.flush(index);
        }
    }

    /// Runs until the stage is `STOP`, or the quota is sent and answered.
    pub(super) fn run(mut self) -> anyhow::Result<Tally> {
        self.last_answer = Instant::now();
        match self.pace {
            Pace::Closed { depth } => self.run_closed(depth)?,
            Pace::Open { interval } => self.run_open(interval)?,
        }
        Ok(self.tally)
    }

    fn run_closed(&mut self, depth: usize) -> anyhow::Result<()> {
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut events = Vec::with_capacity(1024);
        for index in 0..self.connections.len() {
            self.refill(index, depth);
        }
        while !self.is_over()? {
            self.wait(&mut events, Some(TICK))?;
            for event in events.drain(..) {
                let index = self.serve(event, &mut scratch);
                self.refill(index, depth);
            }
        }
        Ok(())
    }

    fn run_open(&mut self, interval: Duration) -> anyhow::Result<()> {
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut events = Vec::with_capacity(1024);
        let mut due = Instant::now();
        let mut turn = 0;
        while !self.is_over()? {
            while due <= Instant::now() && self.may_send() {
                self.request(turn, due);
                self.flush(turn);
                turn = (turn + 1) % self.connections.len();
                due += interval;
            }
            let wait = due.saturating_duration_since(Instant::now());
            self.wait_precisely(wait.min(TICK))?;
            self.wait(&mut events, Some(Duration::ZERO))?;
            for event in events.drain(..) {
                self.serve(event, &mut scratch);
            }
        }
        Ok(())
    }

    /// Sleeps to the microsecond, which epoll alone cannot, or until there is
    /// an event.
    fn wait_precisely(&self, wait: Duration) -> anyhow::Result<()> {
        let timeout = timespec(wait);
        match poll(
            &mut [PollFd::new(&self.epoll, PollFlags::IN)],
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, wait: Option<Duration>) -> anyhow::Result<()> {
        let timeout = wait.map(timespec);
        let spare = rustix::buffer::spare_capacity(events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll"),
        }
    }

    /// Handles one event and returns its connection's index.
    fn serve(&mut self, event: epoll::Event, scratch: &mut [u8]) -> usize {
        let index = event.data.u64() as usize;
        let flags = event.flags;
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.read(index, scratch);
        }
        if flags.contains(EventFlags::OUT) {
            self.flush(index);
        }
        index
    }

    fn read(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        let now = Instant::now();
        let measured = self.stage.get() == Stage::MEASURE;
        let (tally, keys) = (&mut self.tally, self.script.wire.keys);
        let mut answers = 0;
        let result = connection.read(scratch, |sent, input| {
            let mut used = 0;
            while let Some(front) = sent.front() {
                let thorough = tally.answers % THOROUGH_EVERY == 0;
                let Some(checked) = front.expected.check(&input[used..], keys, thorough) else {
                    break;
                };
                if !checked.right {
                    tally.wrong(&front.expected, &input[used..]);
                }
                if measured && front.expected.counts() {
                    tally.answered(now.saturating_duration_since(front.at));
                }
                used += checked.length;
                answers += 1;
                sent.pop_front();
            }
            used
        });
        if answers > 0 {
            self.last_answer = now;
            self.awaited -= answers;
        }
        match result {
            Ok(Read::Drained) => {}
            Ok(Read::Closed) => self.give_up(index, "the server closed the connection".to_owned()),
            Err(error) => self.give_up(index, format!("reading: {error}")),
        }
    }

    /// Writes the next batch if all of the last one is answered.
    fn refill(&mut self, index: usize, depth: usize) {
        let idle =
            |connection: &Connection| connection.sent.iter().all(|sent| !sent.expected.counts());
        if !self.connections[index].as_ref().is_some_and(idle) {
            return;
        }
        let now = Instant::now();
        for _ in 0..depth {
            if self.may_send() {
                self.request(index, now);
            }
        }
        self.flush(index);
    }

    /// Queues one request on a connection.
    fn request(&mut self, index: usize, at: Instant) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        if let Some(quota) = &mut self.quota {
            *quota -= u64::from(self.stage.get() == Stage::MEASURE);
        }
        if self.awaited == 0 {
            self.last_answer = at;
        }
        let Connection {
            output, step, sent, ..
        } = connection;
        let before = sent.len();
        self.script.push(output, step, |expected| {
            sent.push_back(Sent { expected, at })
        });
        self.awaited += sent.len() - before;
    }

    fn flush(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        if let Err(error) = connection.flush() {
            self.give_up(index, format!("writing: {error}"));
        }
    }

    fn give_up(&mut self, index: usize, why: String) {
        let Some(connection) = self.connections[index].take() else {
            return;
        };
        self.awaited -= connection.sent.len();
        self.tally.broken(why);
    }

    fn may_send(&self) -> bool {
        self.stage.get() != Stage::STOP && self.quota != Some(0)
    }

    fn is_over(&self) -> anyhow::Result<bool> {
        if self.stage.get() == Stage::STOP || (self.quota == Some(0) && self.awaited == 0) {
            return Ok(true);
        }
        anyhow::ensure!(
            self.connections.iter().any(Option::is_some),
            "all connections broke: {}",
            self.tally.problem.as_deref().unwrap_or("no reason known")
        );
        let silent = self.awaited > 0 && self.last_answer.elapsed() > self.patience;
        anyhow::ensure!(!silent, "no answer for {} s", self.patience.as_secs());
        Ok(false)
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    })
}
