//! `fingerpost cache show`: one answer.

use fingerpost_core::{Cacher, CacherError, Clock as _, Content, EntryName, SystemClock};

use super::name::Beginning;
use super::tiers::{OrExitOf as _, Tiers, Used, Which, block_on};
use crate::exit::{Exit, failure};
use crate::out::Out;

/// What is read at once.
const PIECE: usize = 1 << 20;

/// Show in which stores an answer is, how long it is and whether it is whole,
/// for which all of it is read. What is found damaged on disk is removed.
///
/// Exit status 1 if it is nowhere or damaged, 69 if a store that may have it
/// does not answer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The name, or a beginning of at least 8 digits of one on disk.
    name: Beginning,
    /// Write the bytes to standard output instead, from the first store that
    /// has them. They are an encoded answer as it goes into frames.
    #[arg(long)]
    bytes: bool,
}

/// Shows.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(show(args))
}

async fn show(args: &Args) -> anyhow::Result<Exit> {
    let tiers = Tiers::open(&args.which)?;
    let name = args.name.resolve(&tiers).await?;
    if args.bytes {
        return write(&tiers, &name).await;
    }
    let mut out = Out::default();
    out.line(&format!("name    {}", name.to_hex()))?;
    // Before it is read, though reading is no use here.
    let used = tiers.on_disk(&name).await?;
    let used = used.map(|found| Used::of(&found, SystemClock.now()));
    let mut states = Vec::new();
    for tier in tiers.all() {
        let state = State::of(tier, &name).await;
        let checked = match (&state, tiers.is_for_clients(tier)) {
            (State::Whole(_), true) => " in length: it has no checksum of ours",
            _ => "",
        };
        let used = match &used {
            Some(used) if tier.name() == "disk" => format!(", {used}"),
            _ => String::new(),
        };
        out.line(&format!("{:7} {state}{checked}{used}", tier.name()))?;
        states.push(state);
    }
    Ok(exit(&states))
}

/// How an entry is in a store.
enum State {
    Absent,
    Whole(u64),
    Damaged(String),
    Failed(CacherError),
}

impl State {
    async fn of(tier: &dyn Cacher, name: &EntryName) -> Self {
        let reading = async {
            match tier.look_up(name).await? {
                None => Ok(None),
                Some(content) => read_all(&*content, |_| Ok(())).await.map(Some),
            }
        };
        match reading.await {
            Ok(None) => Self::Absent,
            Ok(Some(len)) => Self::Whole(len),
            Err(CacherError::Damaged(why)) => Self::Damaged(why),
            Err(error) => Self::Failed(error),
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::Whole(len) => write!(f, "{len} bytes, whole"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Failed(error) => write!(f, "does not answer: {error}"),
        }
    }
}

fn exit(states: &[State]) -> Exit {
    let any = |is: fn(&State) -> bool| states.iter().any(is);
    if any(|state| matches!(state, State::Damaged(_))) {
        Exit::Found
    } else if any(|state| matches!(state, State::Whole(_))) {
        Exit::Ok
    } else if any(|state| matches!(state, State::Failed(_))) {
        Exit::Unavailable
    } else {
        Exit::Found
    }
}

async fn write(tiers: &Tiers, name: &EntryName) -> anyhow::Result<Exit> {
    let mut failed = None;
    for tier in tiers.all() {
        match tier.look_up(name).await {
            Ok(None) => {}
            Ok(Some(content)) => {
                let mut out = Out::default();
                let reading = read_all(&*content, |bytes| out.bytes(bytes));
                reading.await.or_exit_of(tier.name())?;
                return Ok(Exit::Ok);
            }
            Err(error) => failed = Some(Err(error).or_exit_of(tier.name())),
        }
    }
    let nowhere = || failure(Exit::Found, format!("{}: it is nowhere", name.to_hex()));
    failed.unwrap_or_else(|| Err(nowhere()))
}

/// Reads all of a content, and gives its length.
async fn read_all(
    content: &dyn Content,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, CacherError> {
    let (len, mut offset) = (content.len(), 0);
    while offset < len {
        let bytes = content.read(offset, PIECE).await?;
        if bytes.is_empty() {
            return Err(CacherError::Damaged(format!("ends after {offset} bytes")));
        }
        take(&bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(len)
}
