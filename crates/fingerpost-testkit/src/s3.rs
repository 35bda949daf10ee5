//! An S3 server in this process that checks signatures and expiry of every
//! request, over a directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::{free_port, listen_again};

/// Serves one bucket, [`BUCKET`](Self::BUCKET), to those with the one key.
pub struct S3Server {
    address: SocketAddr,
    directory: TempDir,
    service: S3Service,
    accepting: Option<JoinHandle<()>>,
    hung: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl S3Server {
    /// The bucket.
    pub const BUCKET: &str = "bucket";
    /// The options of the library `object_store` for the right key.
    pub const OPTIONS: [(&str, &str); 3] = [
        ("aws_region", "here"),
        ("aws_access_key_id", "key"),
        ("aws_secret_access_key", "secret"),
    ];

    /// Starts one with an empty bucket on a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join(Self::BUCKET))?;
        let files = s3s_fs::FileSystem::new(directory.path());
        let files = files.map_err(|error| anyhow::anyhow!("no files for S3: {error:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let mut server = Self {
            // Nobody else gets it while it is lost.
            address: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
            directory,
            service: builder.build(),
            accepting: None,
            hung: Arc::default(),
            connections: Arc::default(),
        };
        server.go_on().await?;
        Ok(server)
    }

    /// Its URL, without a path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the objects of the bucket lie, each under its key.
    pub fn bucket_path(&self) -> PathBuf {
        self.directory.path().join(Self::BUCKET)
    }

    /// Nobody listens any more, and every connection is closed.
    pub async fn lose(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        accepting.abort();
        _ = accepting.await;
        while self.connections.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Listens again where it did before.
    pub async fn go_on(&mut self) -> Result<()> {
        let listener = listen_again(self.address).await?;
        self.address = listener.local_addr()?;
        let (service, hung) = (self.service.clone(), Arc::clone(&self.hung));
        let connections = Arc::clone(&self.connections);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let count = Count::new(&connections);
                serving.spawn(serve(stream, service.clone(), Arc::clone(&hung), count));
                while serving.try_join_next().is_some() {}
            }
        }));
        Ok(())
    }

    /// New connections are taken and nothing is said, until this is undone.
    pub fn hang(&self, hung: bool) {
        self.hung.store(hung, Ordering::SeqCst);
    }

    /// How many files are parts of uploads that were not ended.
    pub fn parts(&self) -> Result<usize> {
        let mut parts = 0;
        for file in std::fs::read_dir(self.directory.path())? {
            let name = file?.file_name();
            parts += usize::from(name.to_string_lossy().contains(".part-"));
        }
        Ok(parts)
    }
}

async fn serve(stream: TcpStream, service: S3Service, hung: Arc<AtomicBool>, _count: Count) {
    if hung.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let builder = Builder::new(TokioExecutor::new());
    _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An open connection.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
