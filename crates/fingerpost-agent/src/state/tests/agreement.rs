//! A host decides as the server does: whatever is reported while the server is away,
//! the service itself gives the same answers when it hears of it.

use fingerpost_core::{Permission, PermissionSet, Principal, SystemClock};
use fingerpost_db::Settings;
use fingerpost_hashequiv::store::Metadata;
use fingerpost_hashequiv::{Config, HashEquiv, Reported, sqlite};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::*;

const HISTORIES: u64 = 40;
const OPERATIONS: u64 = 25;

/// The service as a server that is back.
struct Service(Arc<HashEquiv>);

impl Service {
    async fn open(host: &Host) -> Self {
        let mut settings = Settings::new(host.directory.path().join("server.db"));
        settings.durability = fingerpost_db::Durability::Relaxed;
        let opening = tokio::task::spawn_blocking(|| Sqlite::open(settings, sqlite::MIGRATIONS));
        let db = opening.await.unwrap().unwrap();
        let service = HashEquiv::new(db, Config::default(), None, Arc::new(SystemClock));
        Self(service.await.unwrap())
    }

    async fn answer(&self, kind: ReportKind, request: &str) -> Unihash {
        let request: Value = serde_json::from_str(request).unwrap();
        let text = |field: &str| request[field].as_str().unwrap();
        let task = Task::parse(text("method"), text("taskhash"));
        let proposed = Unihash::parse(text("unihash"));
        let builder =
            Principal::anonymous(PermissionSet::of(&[Permission::Read, Permission::Report]));
        let answer = match kind {
            ReportKind::ReportEquiv => self.0.report_equiv(task, proposed).await,
            ReportKind::Report => {
                let reported = Reported {
                    task,
                    outhash: Some(Outhash::parse(text("outhash"))),
                    proposed,
                    metadata: Metadata::default(),
                    siginfo: None,
                };
                let told = self.0.report(&builder, reported).await;
                told.map(|told| told.unihash)
            }
        };
        answer.unwrap()
    }
}

impl Deliver for Service {
    async fn deliver(&self, report: &Spooled, _: bool) -> Result<Delivered, NotDelivered> {
        let unihash = self.answer(report.kind, &report.request).await;
        Ok(Delivered {
            unihash: Some(unihash),
        })
    }
}

fn any_report(random: &mut StdRng) -> LocalReport {
    let (task, proposed) = (random.random_range(0..8), random.random_range(0..12));
    if random.random_bool(0.2) {
        return equiv(task, proposed);
    }
    let proposed = if random.random_bool(0.7) {
        task
    } else {
        proposed
    };
    proposing(task, random.random_range(0..5), proposed)
}

#[tokio::test]
async fn the_server_confirms_what_builds_were_told() {
    for seed in 0..HISTORIES {
        let mut random = StdRng::seed_from_u64(seed);
        let host = Host::new();
        let service = Service::open(&host).await;
        // Some tasks have a unihash already, from outputs that nobody reports below.
        let mut known = std::collections::HashMap::new();
        for number in 0..random.random_range(0..4) {
            let report = proposing(number, 100 + number, 50 + number);
            let unihash = service.answer(report.kind, &report.request).await;
            known.insert(report.task, unihash);
        }
        let state = host.open().await;
        let mut told = Vec::new();
        for _ in 0..OPERATIONS {
            let report = any_report(&mut random);
            let known = known.get(&report.task).cloned();
            let before = state.figures().spooled_reports;
            let answer = state.settle(report.clone(), known).await.unwrap();
            assert!(answer.spooled);
            if state.figures().spooled_reports > before {
                told.push((report.task, answer.unihash));
            }
        }
        let replayed = replay(&state, &service).await;
        let words: Vec<_> = replayed
            .words
            .into_iter()
            .map(|word| (word.task, word.unihash))
            .collect();
        assert_eq!(told, words, "seed {seed}");
    }
}
