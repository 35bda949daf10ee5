//! Whether the servers on one database have their snapshots in one directory.
//!
//! Clients come to any of them: what one lists another one has to have. A file in the
//! directory names it, and those who have the directory hold a lease in that name. Who has
//! another directory is refused the lease, makes nothing, and keeps from clients what lies
//! there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv::changes::ChoreLease;
use fingerpost_hashequiv_front::Withheld;
use tokio::time::{MissedTickBehavior, interval};

use super::metrics::Metrics;

/// In whose directory snapshots are. Who leaves it is believed to have it for so long.
const LEASE: ChoreLease = ChoreLease {
    name: "snapshot-directory",
    term: Duration::from_secs(180),
};
/// It is prolonged so often.
const HOLD_EVERY: Duration = Duration::from_secs(60);

/// The file that names a directory. No snapshot has a name with a full stop before it.
const MARK: &str = ".fingerpost-directory";
/// Bytes of such a name.
const MARK_BYTES: usize = 32;

/// Looks after one directory.
pub(super) struct Sharing {
    directory: PathBuf,
    service: Arc<HashEquiv>,
    withheld: Withheld,
    /// So that what is wrong is said once.
    is_told: AtomicBool,
}

impl Sharing {
    pub(super) fn new(directory: PathBuf, service: Arc<HashEquiv>, withheld: Withheld) -> Self {
        Self {
            directory,
            service,
            withheld,
            is_told: AtomicBool::new(false),
        }
    }

    /// Holds the lease until it is dropped.
    pub(super) async fn go_on(&self, metrics: &Metrics) {
        let mut times = interval(HOLD_EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            self.hold(metrics).await;
        }
    }

    /// Whether the directory is that of all servers. While nobody can say it is what it was.
    pub(super) async fn hold(&self, metrics: &Metrics) -> bool {
        match self.try_hold().await {
            Ok(is_ours) => {
                self.withheld.set(!is_ours);
                self.tell(is_ours);
            }
            Err(error) => {
                let (directory, why) = (self.directory.display(), format!("{error:#}"));
                tracing::warn!(
                    %directory, why,
                    "cannot tell whether other servers have the snapshots in {directory}: {why}"
                );
            }
        }
        metrics.is_withheld(self.withheld.is_set());
        !self.withheld.is_set()
    }

    async fn try_hold(&self) -> anyhow::Result<bool> {
        let directory = self.directory.clone();
        let naming = tokio::task::spawn_blocking(move || name_of(&directory));
        let name = naming.await.context("naming the directory panicked")?;
        let name = name.context("cannot name it")?;
        Ok(self.service.hold_lease_as(LEASE, &name).await?)
    }

    fn tell(&self, is_ours: bool) {
        let was_told = self.is_told.swap(!is_ours, Ordering::Relaxed);
        let directory = self.directory.display();
        match (is_ours, was_told) {
            (false, false) => tracing::error!(
                %directory,
                "snapshots.directory {directory} is not that of the other servers on this \
                 database: this server makes no snapshots and tells clients of none. Give all \
                 of them one directory on a shared file system, or let one alone have it \
                 (docs/snapshots.md)"
            ),
            (true, true) => tracing::info!(
                %directory,
                "The snapshots in {directory} are those of all servers again"
            ),
            _ => {}
        }
    }
}

/// The name of a directory, which is given to it if it has none.
fn name_of(directory: &Path) -> io::Result<String> {
    let mark = directory.join(MARK);
    if let Some(name) = read(&mark)? {
        return Ok(name);
    }
    fs::create_dir_all(directory)?;
    let own = format!("{:032x}", rand::random::<u128>());
    let written = directory.join(format!("{MARK}.{own}"));
    let mut file = fs::File::create_new(&written)?;
    file.write_all(own.as_bytes())?;
    file.sync_all()?;
    // Of several servers that come at once one names it; the others read what is there.
    match fs::hard_link(&written, &mark) {
        // There are shared file systems without links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&written, &mark)?,
        _ => fs::remove_file(&written)?,
    }
    read(&mark)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn read(mark: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let is_name = text.len() == MARK_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_name {
        true => Ok(Some(text)),
        false => Err(io::Error::other(format!("{MARK} is none of ours"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("a/b"), root.path().join("c"));
        let names: Vec<String> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| name_of(&one))).collect();
            let named = asking.into_iter().map(|one| one.join().unwrap().unwrap());
            named.collect()
        });
        assert!(names.iter().all(|name| *name == names[0]));
        assert_eq!(fs::read_dir(&one).unwrap().count(), 1);
        assert_ne!(name_of(&other).unwrap(), names[0]);
        fs::write(other.join(MARK), "x").unwrap();
        assert!(name_of(&other).is_err());
    }
}
