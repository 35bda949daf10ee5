//! Runs a clone over a copy of a repository for each of many faults.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fingerpost_core::{Clock as _, ManualClock, SystemClock, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::clone::{Known, Seen, ask_all, learn};
use super::faults::Fault;
use crate::client::Answered;
use crate::world::World;

/// Longer than any answer about a damaged repository may take, on a machine
/// that does much else.
const AT_MOST: Duration = Duration::from_secs(60);
/// So many cases at a time.
const AT_ONCE: usize = 6;

/// A repository, and what it has when nothing is wrong with it.
pub(super) struct Subject {
    world: World,
    pub(super) known: Known,
    /// What is complained about although nothing is wrong.
    usual: Vec<String>,
}

/// What came of one case.
pub(super) struct Outcome {
    pub(super) file: String,
    pub(super) fault: Fault,
    pub(super) seen: Result<Seen, Box<Answered>>,
    /// Whether anything was said that is not said usually.
    pub(super) is_noticed: bool,
}

impl Subject {
    pub(super) async fn new(world: World) -> Self {
        let door = world.door();
        let known = learn(&door).await;
        let usual = ask_all(&door, &known).await.unwrap().complaints;
        Self {
            world,
            known,
            usual,
        }
    }

    /// The directory `.hg`.
    pub(super) fn dot_hg(&self) -> PathBuf {
        self.world.root().join(".hg")
    }

    /// The files below `.hg` that are read, relative to it, with their lengths.
    pub(super) fn files(&self) -> Vec<(String, usize)> {
        let mut files = Vec::new();
        let dot_hg = self.dot_hg();
        walk(&dot_hg, &mut |path| {
            let name = path.strip_prefix(&dot_hg).unwrap().to_str().unwrap();
            let unread = [
                "cache/",
                "wcache/",
                "dirstate",
                "00changelog.i",
                "store/undo",
            ];
            if !unread.iter().any(|unread| name.starts_with(unread)) {
                files.push((name.to_owned(), path.metadata().unwrap().len() as usize));
            }
        });
        files.sort();
        files
    }

    /// Runs every case and checks what holds for all. The server sees nothing
    /// of the repository before the fault.
    pub(super) async fn run(&self, cases: Vec<(String, Fault)>) -> Vec<Outcome> {
        self.run_with(cases, false).await
    }

    /// The same, but everything was read, verified and remembered before.
    pub(super) async fn run_after_a_clone(&self, cases: Vec<(String, Fault)>) -> Vec<Outcome> {
        self.run_with(cases, true).await
    }

    async fn run_with(&self, cases: Vec<(String, Fault)>, is_warm: bool) -> Vec<Outcome> {
        let panics = count_panics();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        for (file, fault) in cases {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let (world, known) = (self.copy(), self.known.clone());
            let usual = self.usual.clone();
            running.spawn(async move {
                let _case = Case(format!("{file}, {fault:?}"));
                let door = world.door();
                if is_warm {
                    ask_all(&door, &known).await.unwrap();
                }
                fault.apply(&world.root().join(".hg").join(&file));
                let seen = timeout(AT_MOST, ask_all(&door, &known)).await;
                let seen = seen.unwrap_or_else(|_| panic!("{file}, {fault:?}: no answer"));
                drop(place);
                let is_noticed = !matches!(&seen, Ok(seen) if seen.complaints == usual);
                let outcome = Outcome {
                    file,
                    fault,
                    seen,
                    is_noticed,
                };
                outcome.check(&world.root());
                outcome
            });
        }
        let outcomes = running.join_all().await;
        assert_eq!(panics.load(Ordering::Relaxed), 0, "panics");
        outcomes
    }

    /// The same repository in another place, served long after its files were
    /// written.
    fn copy(&self) -> World {
        let mut world = World::empty();
        copy_tree(&self.world.root(), &world.root());
        world.clock = Arc::new(ManualClock::new(Timestamp(
            SystemClock.now().0 + 3_600_000_000,
        )));
        world
    }
}

impl Outcome {
    /// Whether nothing of the file was left.
    pub(super) fn is_gone(&self) -> bool {
        use Fault::{Directory, LinkLoop, Pipe, Remove, Zeros};
        matches!(self.fault, Remove | Directory | Pipe | LinkLoop | Zeros)
    }

    fn check(&self, root: &Path) {
        let case = format!("{}, {:?}", self.file, self.fault);
        let texts = match &self.seen {
            Ok(seen) => {
                assert!(
                    seen.wrong.is_empty(),
                    "{case}: wrong bytes: {:#?}",
                    seen.wrong
                );
                seen.complaints.clone()
            }
            Err(answered) => {
                assert!(matches!(answered.status, 200 | 503), "{case}: {answered:?}");
                vec![answered.text()]
            }
        };
        for text in texts {
            assert!(!text.contains(root.to_str().unwrap()), "{case}: {text}");
            assert!(names_what_is_wrong(&text), "{case}: {text}");
        }
    }
}

/// Whether a complaint is about what was asked for, or names repository and file.
fn names_what_is_wrong(text: &str) -> bool {
    // Why a configuration is refused is for the log: it may quote from it.
    let of_site = "the repository / is not served; the server's log says why";
    let of_request = [
        of_site,
        "unknown ",
        "stream clone is disabled",
        "ambiguous ",
    ];
    let files = [
        "00changelog.",
        "00manifest.",
        "data/",
        "dh/",
        "phaseroots",
        "bookmarks",
        "obsstore",
        "requires",
        "sharedpath",
        "hgrc",
        "store",
    ];
    let of_repository = text.strip_prefix('/');
    of_request.iter().any(|begin| text.starts_with(begin))
        || of_repository.is_some_and(|text| files.iter().any(|file| text.contains(file)))
}

/// Counts panics from now on, of tasks and threads too.
fn count_panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        show(panic);
    }));
    &PANICS
}

fn walk(directory: &Path, found: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false => found(&path),
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    walk(from, &mut |path| {
        let copy = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(path, copy).unwrap();
    });
}

/// Names the case in which something panicked.
struct Case(String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the case {}", self.0);
        }
    }
}
