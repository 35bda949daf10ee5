//! `fingerpost import --follow` and `--finish`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv::moving::{
    Depth, Finished, Following, ImportError, ImportOptions, Progress, Round, Stage,
};
use tokio::runtime::Runtime;

use super::import::explain;
use super::source::Source;
use super::stages::Stages;
use crate::exit::Exit;
use crate::notice::ANONYMOUS_CLEANING;
use crate::signals::StopSignals;

/// Looking at everything takes at most one part of this many of the time.
const ALL_ONE_IN: u32 = 10;

const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(3600);

/// Follows until a signal comes.
pub(super) fn follow(
    source: &Source,
    into: &Path,
    options: &ImportOptions<'_>,
    every: Duration,
) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let stopped = Stopped::catch(&runtime)?;
    let followed = source.followed(&runtime);
    let mut following = Following::begin(followed, into, options).map_err(explain)?;
    println!(
        "Following {source} into {}, every {} s; a signal ends it",
        into.display(),
        every.as_secs()
    );
    let mut pace = Pace::default();
    loop {
        let begun = Instant::now();
        let mut stages = StoppableStages::new(&stopped);
        let round = following.round(pace.depth(begun), SystemClock.now(), &mut stages);
        stages.shown.finish();
        match round {
            Ok(round) => {
                pace.done(round.depth, begun);
                println!("{}", pace.line(&round, begun));
            }
            Err(ImportError::Interrupted) => break,
            // The source is busy or away for a while: what was taken is kept.
            Err(error) if pace.has_begun() && is_passing(&error) => {
                println!("{:#}; trying again", anyhow::Error::new(error));
            }
            Err(error) => return Err(explain(error)),
        }
        if stopped.within(every) {
            break;
        }
    }
    println!("Stopped; the same command goes on, --finish takes the rest");
    Ok(Exit::Ok)
}

/// Takes the rest, and ends the following.
pub(super) fn finish(
    source: &Source,
    into: &Path,
    options: &ImportOptions<'_>,
) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let followed = source.followed(&runtime);
    let begun = Instant::now();
    let following = Following::begin(followed, into, options).map_err(explain)?;
    let mut stages = Stages::default();
    let finished = following.finish(&mut stages);
    stages.finish();
    let finished = match finished {
        Err(error @ ImportError::StillWritten { .. }) => {
            eprintln!("{error}");
            return Ok(Exit::Found);
        }
        finished => finished.map_err(explain)?,
    };
    println!(
        "Finished {} from {source} in {:.1} s",
        into.display(),
        begun.elapsed().as_secs_f64()
    );
    print!("{}", summary(&finished));
    println!("{ANONYMOUS_CLEANING}");
    Ok(Exit::Ok)
}

/// Reads `30s`, `5m`, `1h` or a number of seconds; from a second to an hour.
pub(super) fn every(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    let seconds = number.parse::<u64>().ok();
    let every = seconds.and_then(|seconds| seconds.checked_mul(factor));
    let every = every.map(Duration::from_secs);
    every
        .filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every))
        .ok_or_else(|| "from 1s to 1h, as 30s, 5m or 1h".to_owned())
}

fn runtime() -> anyhow::Result<Runtime> {
    // The worker waits for signals, and reads from the network while we write.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Whether the next round may go well.
fn is_passing(error: &ImportError) -> bool {
    let is_busy = |error: &rusqlite::Error| {
        matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    };
    match error {
        ImportError::Connect(_) | ImportError::Postgres { .. } => true,
        ImportError::Source { source, .. } | ImportError::Target { source, .. } => is_busy(source),
        _ => false,
    }
}

/// Which rounds look at everything, and how far behind that leaves the target.
#[derive(Default)]
struct Pace {
    /// When the last look at everything began, and how long it took.
    all: Option<(Instant, Duration)>,
}

impl Pace {
    const fn has_begun(&self) -> bool {
        self.all.is_some()
    }

    fn depth(&self, now: Instant) -> Depth {
        match self.all {
            Some((begun, took)) if now.duration_since(begun) < took * ALL_ONE_IN => Depth::New,
            _ => Depth::All,
        }
    }

    fn done(&mut self, depth: Depth, begun: Instant) {
        if depth == Depth::All {
            self.all = Some((begun, begun.elapsed()));
        }
    }

    fn line(&self, round: &Round, begun: Instant) -> String {
        let behind = begun.elapsed().as_secs_f64();
        let mut line = format!(
            "unihashes {}, outputs {}, users {} changed; {behind:.1} s behind",
            moved(round.mappings.added, round.mappings.removed),
            moved(round.outputs.added, round.outputs.removed),
            round.users,
        );
        if round.mappings.marked > 0 {
            line.push_str(&format!(", {} marked", round.mappings.marked));
        }
        if let (Depth::New, Some((all, _))) = (round.depth, self.all) {
            let behind = all.elapsed().as_secs_f64();
            line.push_str(&format!(", {behind:.0} s with what was removed and marked"));
        }
        if round.healed > 0 {
            line.push_str(&format!(
                "\n  {} rows that somebody else added to the target or removed were put right",
                round.healed
            ));
        }
        for note in &round.notes {
            line.push_str(&format!("\n  {note}"));
        }
        line
    }
}

fn moved(added: u64, removed: u64) -> String {
    format!("+{added} -{removed}")
}

fn summary(finished: &Finished) -> String {
    let round = &finished.round;
    let mut text = format!(
        "  unihashes  {} ({}, {} marked)\n  outputs    {} ({})\n  users      {}\n",
        finished.mappings,
        moved(round.mappings.added, round.mappings.removed),
        round.mappings.marked,
        finished.outputs,
        moved(round.outputs.added, round.outputs.removed),
        finished.users
    );
    if let Some(mark) = &finished.mark {
        text.push_str(&format!("  the collection {mark:?} is running\n"));
    }
    for note in &round.notes {
        text.push_str(&format!("  {note}\n"));
    }
    text
}

/// Whether a signal has come.
struct Stopped {
    flag: Arc<AtomicBool>,
    told: Receiver<()>,
}

impl Stopped {
    fn catch(runtime: &Runtime) -> anyhow::Result<Self> {
        let caught = {
            let _within = runtime.enter();
            StopSignals::catch()
        };
        let mut signals = caught.context("cannot catch signals")?;
        let flag = Arc::new(AtomicBool::new(false));
        let (tell, told) = sync_channel(1);
        let set = Arc::clone(&flag);
        runtime.spawn(async move {
            signals.next().await;
            set.store(true, Ordering::Release);
            // Nobody waits any more when the work has ended.
            let _ = tell.try_send(());
        });
        Ok(Self { flag, told })
    }

    fn now(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Waits this long at most.
    fn within(&self, time: Duration) -> bool {
        !matches!(self.told.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Shows stages, and ends them when a signal has come.
struct StoppableStages<'a> {
    shown: Stages,
    stopped: &'a Stopped,
}

impl<'a> StoppableStages<'a> {
    fn new(stopped: &'a Stopped) -> Self {
        Self {
            shown: Stages::default(),
            stopped,
        }
    }
}

impl Progress for StoppableStages<'_> {
    fn begin(&mut self, stage: Stage, total: u64) {
        self.shown.begin(stage, total);
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if self.stopped.now() {
            return ControlFlow::Break(());
        }
        self.shown.advance(done)
    }

    fn note(&mut self, line: &str) {
        self.shown.note(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_from_a_second_to_an_hour() {
        for (text, seconds) in [("30s", 30), ("1", 1), ("5m", 300), ("1h", 3600)] {
            assert_eq!(every(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "2h",
            "s",
            "-1s",
            "1d",
            "1.5s",
            "99999999999999999999h",
        ] {
            assert!(every(text).is_err(), "{text}");
        }
    }

    #[test]
    fn everything_is_looked_at_a_tenth_of_the_time() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        assert_eq!(pace.depth(begun), Depth::All);
        pace.all = Some((begun, Duration::from_secs(10)));
        for (seconds, depth) in [(20, Depth::New), (99, Depth::New), (100, Depth::All)] {
            assert_eq!(pace.depth(begun + Duration::from_secs(seconds)), depth);
        }
    }
}
