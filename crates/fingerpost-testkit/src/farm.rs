//! A farm for a test: a directory of its own, and real servers in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::server::ServerOptions;

/// A directory that vanishes with the test, and the servers that run in it.
/// Clones are the same farm.
#[derive(Clone)]
pub struct TestFarm(Arc<Farm>);

struct Farm {
    binary: PathBuf,
    directory: TempDir,
    servers: AtomicU64,
}

impl TestFarm {
    /// A farm whose servers run `binary`, the path of the `fingerpost` program.
    pub fn new(binary: impl Into<PathBuf>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("farm-")
            .tempdir()
            .context("no temporary directory")?;
        Ok(Self(Arc::new(Farm {
            binary: binary.into(),
            directory,
            servers: AtomicU64::new(0),
        })))
    }

    /// The farm's directory.
    pub fn directory(&self) -> &Path {
        self.0.directory.path()
    }

    /// The program under test.
    pub fn binary(&self) -> &Path {
        &self.0.binary
    }

    /// A path in the farm's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Options of a further server: an empty database of its own, a free port
    /// on 127.0.0.1, the defaults of Fingerpost otherwise.
    pub fn server(&self) -> ServerOptions {
        let number = self.0.servers.fetch_add(1, Ordering::Relaxed);
        ServerOptions::new(self.clone(), number)
    }
}
