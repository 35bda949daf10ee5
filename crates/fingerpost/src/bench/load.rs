//! `fingerpost bench hashequiv`: loads a server and tells what it cost.

use crate::exit::Exit;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::connection::Connection;
use super::draw::{Distribution, Draw};
use super::http::HttpArgs;
use super::keys::{Keys, METHOD};
use super::listing::{self, Trees};
use super::script::{Mode, Protocol, Reporter, Script, Siginfo};
use super::server::{self, CpuTimes};
use super::summary::{ServerCost, Summary};
use super::tally::Tally;
use super::target::{Target, TargetArgs};
use super::values::{seconds, share};
use super::wire::Wire;
use super::worker::{Pace, Stage, Worker};

/// Loads a hash equivalence server, or Redis for comparison, and prints
/// requests per second, latencies and the server's processor time per request.
///
/// Look-ups draw from keys that are computed from their number: fill the
/// server's database with `bench fill`, or load it with `--mode store`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "hashequiv")]
    protocol: Protocol,
    /// What to ask for.
    #[arg(long, value_enum, default_value = "get-stream")]
    mode: Mode,
    /// Open connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Requests that a connection sends at once; the next ones follow when all
    /// are answered.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    depth: u32,
    /// Send this many requests a second in all, whether or not answers come in
    /// time; latency then counts from when a request should have been sent.
    #[arg(long, conflicts_with = "depth")]
    rate: Option<f64>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Seconds to measure.
    #[arg(long, default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Measure this many requests instead of a time.
    #[arg(long, conflicts_with = "duration")]
    requests: Option<u64>,
    /// Measure until standard input is closed: for the time that something
    /// else takes.
    #[arg(long, conflicts_with_all = ["duration", "requests"])]
    until_stdin_closes: bool,
    /// Seconds of the same load before measuring begins.
    #[arg(long, default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// Ask for every key once before the warm-up.
    #[arg(long)]
    prime: bool,
    /// Keys 0 to N-1 are in the server.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// How look-ups spread over the keys: `uniform` or `zipf:EXPONENT`.
    #[arg(long, default_value = "uniform")]
    distribution: Distribution,
    /// Share of look-ups, 0 to 1, for keys that nobody has.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    miss: f64,
    /// Method of all keys.
    #[arg(long, default_value = METHOD)]
    method: String,
    /// Seed of all keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    http: HttpArgs,
    /// What the reports carry.
    #[arg(long, value_enum, default_value = "none")]
    siginfo: Siginfo,
    /// Bytes of one siginfo, before escaping.
    #[arg(long, default_value_t = 20 * 1024, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    siginfo_bytes: u32,
    /// Directories whose trees the siginfo lists. Default: /usr/lib,
    /// /usr/include and /usr/share.
    #[arg(long)]
    trees: Vec<PathBuf>,
    /// Number of the first report: reports of several runs against one server
    /// must not repeat each other.
    #[arg(long, default_value_t = 0)]
    first_report: u64,
    /// Process id of the server, on this machine: its processor time is read
    /// from /proc.
    #[arg(long)]
    pid: Option<u32>,
    /// After the last answer wait until the server is idle, at most this many
    /// seconds, and count what it does until then.
    #[arg(long, requires = "pid", value_parser = seconds)]
    settle: Option<Duration>,
    /// Give up when no answer at all came for this many seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    patience: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the load; the exit code is 1 when any answer was wrong or any
/// connection broke.
pub(super) fn run(args: &LoadArgs) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.connections >= args.threads,
        "every thread needs a connection"
    );
    anyhow::ensure!(
        args.is_spoken(),
        "Redis knows look-ups and stores only, and over HTTP there are look-ups only"
    );
    let keys = Keys::new(args.seed);
    let reports = matches!(args.mode, Mode::Report | Mode::Mixed) && args.siginfo != Siginfo::None;
    let trees = if reports {
        Some(Arc::new(listing::trees(&args.trees, keys)?))
    } else {
        None
    };
    if args.prime {
        prime(args)?;
    }
    let summary = measure(args, trees.as_ref())?;
    summary.print(args.json)?;
    Ok(if summary.is_clean() {
        Exit::Ok
    } else {
        Exit::Found
    })
}

/// Looks each key up once, fast and uncounted.
fn prime(args: &LoadArgs) -> anyhow::Result<()> {
    let stage = Stage::new(Stage::MEASURE);
    let script = Script {
        protocol: args.protocol,
        mode: Mode::GetStream,
        wire: args.wire(),
        draw: Draw::each(0, 1),
        reporter: None,
        http: args.http.clone(),
    };
    let target = args.target.target()?;
    let connections = (0..4)
        .map(|number| Connection::open(&target, number))
        .collect::<Result<_, _>>()?;
    let pace = Pace::Closed { depth: 100 };
    let worker = Worker::new(
        &stage,
        pace,
        Some(args.keys),
        args.patience,
        script,
        connections,
    )?;
    let tally = worker.run()?;
    let problem = tally.problem.unwrap_or_default();
    anyhow::ensure!(
        tally.wrong == 0,
        "the server's content is not the expected one: {problem}"
    );
    Ok(())
}

fn measure(args: &LoadArgs, trees: Option<&Arc<Trees>>) -> anyhow::Result<Summary> {
    let warm_up = !args.warmup.is_zero();
    let stage = Stage::new(if warm_up {
        Stage::WARM_UP
    } else {
        Stage::MEASURE
    });
    let target = args.target.target()?;
    let workers = (0..args.threads)
        .map(|thread| args.worker(&stage, &target, thread, trees))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut before = args.cpu()?;
    let mut start = Instant::now();
    let (tally, after, elapsed) = thread::scope(|scope| -> anyhow::Result<_> {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(|| worker.run()))
            .collect();
        let running = || !threads.iter().any(thread::ScopedJoinHandle::is_finished);
        if warm_up {
            pause(args.warmup, running);
            before = args.cpu()?;
            start = Instant::now();
            stage.set(Stage::MEASURE);
        }
        let timed = args.wait_for_end(running)?;
        // Counted requests end with the threads, timed ones at this moment.
        let timed = timed.then(|| (args.cpu(), start.elapsed()));
        if timed.is_some() {
            stage.set(Stage::STOP);
        }
        let mut tally = Tally::new();
        for thread in threads {
            tally.merge(thread.join().expect("a generating thread does not panic")?);
        }
        let (after, elapsed) = timed.unwrap_or_else(|| (args.cpu(), start.elapsed()));
        Ok((tally, after?, elapsed))
    })?;
    let settled = args.settle()?;
    let after = if settled.is_some() {
        args.cpu()?
    } else {
        after
    };
    let server = before.zip(after).map(|(before, after)| ServerCost {
        cpu: after.since(&before),
        settled,
    });
    Ok(Summary::new(&tally, elapsed, server))
}

/// Sleeps for `length`, or until `running` is false.
fn pause(length: Duration, running: impl Fn() -> bool) {
    let end = Instant::now() + length;
    while running() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}

impl LoadArgs {
    /// Whether the protocol knows what is to be asked.
    const fn is_spoken(&self) -> bool {
        match self.protocol {
            Protocol::Hashequiv => true,
            Protocol::Redis => !matches!(self.mode, Mode::Report | Mode::Mixed),
            Protocol::Http => matches!(self.mode, Mode::Get | Mode::GetStream),
        }
    }

    fn wire(&self) -> Wire {
        Wire {
            keys: Keys::new(self.seed),
            method: self.method.clone(),
        }
    }

    /// Requests to measure, when they are counted and not timed.
    fn requests(&self) -> Option<u64> {
        self.requests
            .or_else(|| (self.mode == Mode::Store).then_some(self.keys))
    }

    /// Waits until the measured time is over; `false` at once if requests are
    /// counted.
    fn wait_for_end(&self, running: impl Fn() -> bool) -> anyhow::Result<bool> {
        if self.requests().is_some() {
            return Ok(false);
        }
        if self.until_stdin_closes {
            std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())
                .context("waiting for standard input to close")?;
        } else {
            pause(self.duration, running);
        }
        Ok(true)
    }

    fn cpu(&self) -> anyhow::Result<Option<CpuTimes>> {
        self.pid.map(CpuTimes::read).transpose()
    }

    fn settle(&self) -> anyhow::Result<Option<bool>> {
        let both = self.pid.zip(self.settle);
        both.map(|(pid, limit)| server::settle(pid, limit))
            .transpose()
    }

    /// Thread number `thread`, with its share of everything.
    fn worker<'a>(
        &self,
        stage: &'a Stage,
        target: &Target<'_>,
        thread: u32,
        trees: Option<&Arc<Trees>>,
    ) -> anyhow::Result<Worker<'a>> {
        let share = |total: u64| {
            let threads = u64::from(self.threads);
            total / threads + u64::from(u64::from(thread) < total % threads)
        };
        let pace = match self.rate {
            None => Pace::Closed {
                depth: self.depth as usize,
            },
            Some(rate) => Pace::Open {
                interval: self.interval(rate)?,
            },
        };
        // Threads take turns, so that each comes from every address.
        let numbers = (thread as usize..).step_by(self.threads as usize);
        let connections = (0..share(u64::from(self.connections)))
            .zip(numbers)
            .map(|(_, number)| Connection::open(target, number))
            .collect::<Result<_, _>>()
            .context("opening the connections")?;
        let quota = self.requests().map(share);
        Worker::new(
            stage,
            pace,
            quota,
            self.patience,
            self.script(thread, trees)?,
            connections,
        )
    }

    /// Time between two requests of one thread.
    fn interval(&self, rate: f64) -> anyhow::Result<Duration> {
        anyhow::ensure!(rate > 0.0, "the rate must be above zero");
        let seconds = f64::from(self.threads) / rate;
        Duration::try_from_secs_f64(seconds).context("the rate is too low")
    }

    fn script(&self, thread: u32, trees: Option<&Arc<Trees>>) -> anyhow::Result<Script> {
        let (thread, threads) = (u64::from(thread), u64::from(self.threads));
        let draw = match self.mode {
            Mode::Store => Draw::each(thread, threads),
            _ => Draw::random(
                self.distribution,
                self.keys,
                self.miss,
                (self.seed << 8) ^ thread,
            )?,
        };
        let first = self.first_report + thread;
        let reporter = Reporter::new(
            self.siginfo,
            trees.cloned(),
            self.siginfo_bytes as usize,
            first,
            threads,
        );
        Ok(Script {
            protocol: self.protocol,
            mode: self.mode,
            wire: self.wire(),
            draw,
            reporter: Some(reporter),
            http: self.http.clone(),
        })
    }
}
