//! The service without the program around it: only so can a drive that fails
//! be put under it.

use std::sync::Arc;

use anyhow::Result;
use fingerpost_core::{Permission, PermissionSet, Principal, SystemClock};
use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use fingerpost_hashequiv::store::{Metadata, Task};
use fingerpost_hashequiv::{Config, HashEquiv, Reported};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_testkit::hash;

/// Opens the database and the service over it.
pub(crate) async fn service(settings: Settings) -> Result<(Sqlite, Arc<HashEquiv>)> {
    let opening = tokio::task::spawn_blocking(|| Sqlite::open(settings, MIGRATIONS));
    let db = opening.await??;
    let service = HashEquiv::new(db.clone(), Config::default(), None, Arc::new(SystemClock));
    match service.await {
        Ok(service) => Ok((db, service)),
        Err(error) => {
            db.close().await;
            Err(error.into())
        }
    }
}

/// Reports task `task` with output `output`, as an anonymous builder, and gives
/// the unihash of the answer.
pub(crate) async fn report(
    service: &HashEquiv,
    task: u64,
    output: u64,
    siginfo: Option<String>,
) -> Result<String> {
    let builder = Principal::anonymous(PermissionSet::of(&[Permission::Read, Permission::Report]));
    let reported = Reported {
        task: Task {
            method: Method::new("TestMethod"),
            taskhash: Taskhash::parse(&hash(1, task)),
        },
        outhash: Some(Outhash::parse(&hash(2, output))),
        proposed: Unihash::parse(&hash(1, task)),
        metadata: Metadata::default(),
        siginfo,
    };
    Ok(service.report(&builder, reported).await?.unihash.to_text())
}
