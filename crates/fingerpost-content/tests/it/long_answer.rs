//! An answer of any length goes through what makes it, the disk and object storage
//! in a bounded part of memory.
//!
//! What this process took at most is looked at, so that it must not do anything
//! else: nextest starts one for each test.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_content::{Compressed, Disk, Tier, TierRules, Tiers};
use fingerpost_core::{
    Answering, Cacher, Content, Dispatch, DispatchOptions, EntryName, Failure, Flight, More,
    Objects, Progress, SpoolOptions, SystemClock,
};
use fingerpost_testkit::{S3Server, memory_bytes};
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};

use crate::{s3_server, world::name};

const MIB: u64 = 1 << 20;
/// What remembering may take at most, with what the S3 server in this process takes
/// for it.
const MEMORY_MIB: u64 = 64;
const PIECE: usize = 256 << 10;

/// 2 GiB for `make soak`.
fn answer_bytes() -> u64 {
    let mib = std::env::var("FINGERPOST_ANSWER_MIB").ok();
    MIB * mib.and_then(|mib| mib.parse().ok()).unwrap_or(192)
}

/// Bytes that are made a piece at a time; half of them compress.
struct Made {
    left: u64,
    state: u64,
}

impl Objects for Made {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        for _ in 0..PIECE / 16 {
            self.state = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d) + 0x1405;
            out.extend((self.state >> 8).to_le_bytes());
            out.extend([7; 8]);
        }
        self.left -= PIECE as u64;
        Ok(if self.left == 0 { More::No } else { More::Yes })
    }
}

/// Takes all of an answer that nobody made before.
fn make(flight: &Flight) -> (Arc<dyn Content>, [u8; 32]) {
    let (mut digest, mut offset, mut out) = (Sha256::new(), 0, Vec::new());
    loop {
        out.clear();
        let progress = flight.read(offset, PIECE, &mut out).unwrap();
        offset += out.len() as u64;
        digest.update(&out);
        match progress {
            Progress::Some => {}
            Progress::Made(content) => return (content, digest.finalize().into()),
            _ => panic!("nobody else is at it, and there is room"),
        }
    }
}

async fn digest(content: &dyn Content) -> [u8; 32] {
    let (mut digest, mut offset) = (Sha256::new(), 0);
    while offset < content.len() {
        let bytes: Bytes = content.read(offset, PIECE).await.unwrap();
        digest.update(&bytes);
        offset += bytes.len() as u64;
    }
    digest.finalize().into()
}

/// What was counted, to be read after a failure.
fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}

/// A kind of memory that this process has, in MiB.
fn memory_mib(kind: &str) -> u64 {
    memory_bytes(std::process::id(), kind).unwrap() / MIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_is_remembered_with_little_memory() {
    let (server, directory) = (
        S3Server::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let disk = Disk::open(directory.path(), u64::MAX, Arc::new(SystemClock)).unwrap();
    let disk = Arc::new(disk);
    let spool = SpoolOptions {
        directory: Some(directory.path().to_owned()),
        ..SpoolOptions::default()
    };
    let s3 = Arc::new(s3_server::store(&server, |_| {}));
    let in_s3: Arc<dyn Cacher> = Arc::new(Compressed::new(Arc::clone(&s3) as _, spool.clone()));
    let tier = |cacher: Arc<dyn Cacher>| Tier {
        cacher,
        rules: TierRules {
            // The S3 server copies what was uploaded once more at the end.
            store_deadline: Duration::from_secs(120),
            ..TierRules::default()
        },
    };
    let tiers = Tiers::new(vec![tier(Arc::clone(&disk) as _), tier(Arc::clone(&in_s3))]);
    let mut registry = Registry::default();
    tiers.register(&mut registry);
    let options = DispatchOptions {
        spool,
        store_bytes_min: 0,
    };
    let dispatch = Dispatch::new(Arc::new(tiers), options);
    let before = memory_mib("VmRSS");
    let (counts, name): (_, EntryName) = (dispatch.counts("test"), name("long"));
    let maker = Made {
        left: answer_bytes(),
        state: 1,
    };
    let Answering::Flying(flight) = dispatch.begin(&counts, &name, Box::new(maker)).await else {
        panic!("nothing is stored")
    };
    let making = Arc::clone(&flight);
    let making = tokio::task::spawn_blocking(move || make(&making));
    let (content, made) = making.await.unwrap();
    assert_eq!(content.len(), answer_bytes());
    dispatch.keep(&counts, &name, &flight, content).await;
    assert_eq!(counts.stored.load(std::sync::atomic::Ordering::Relaxed), 1);
    for store in [disk as Arc<dyn Cacher>, in_s3] {
        let found = store.look_up(&name).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("not in {}: {}", store.name(), text(&registry)));
        assert!(digest(&*found).await == made, "{}", store.name());
    }
    let took = memory_mib("VmHWM") - before;
    println!("{} MiB in {took} MiB of memory", answer_bytes() / MIB);
    assert!(took < MEMORY_MIB, "{took} MiB");
}
