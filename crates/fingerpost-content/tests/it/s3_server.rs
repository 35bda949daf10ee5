//! An S3 server in this process that checks signatures and expiry of every
//! request, over a directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fingerpost_content::{ObjectStore, ObjectStoreConfig, Place};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Serves one bucket, `bucket`.
pub(crate) struct S3Server {
    address: SocketAddr,
    directory: TempDir,
    service: S3Service,
    accepting: Option<JoinHandle<()>>,
    hung: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("bucket")).unwrap();
        let files = s3s_fs::FileSystem::new(directory.path()).unwrap();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory,
            service: builder.build(),
            accepting: None,
            hung: Arc::default(),
            connections: Arc::default(),
        };
        server.go_on().await;
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A place in the bucket with the right key.
    pub(crate) fn place(&self) -> Place {
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Place {
            url: "s3://bucket/entries".to_owned(),
            endpoint: Some(self.endpoint()),
            client_endpoint: None,
            options: vec![
                option("aws_region", "here"),
                option("aws_access_key_id", "key"),
                option("aws_secret_access_key", "secret"),
            ],
        }
    }

    pub(crate) fn store(&self, change: impl FnOnce(&mut ObjectStoreConfig)) -> ObjectStore {
        let mut config = ObjectStoreConfig {
            place: self.place(),
            ..ObjectStoreConfig::default()
        };
        change(&mut config);
        ObjectStore::new(config).unwrap()
    }

    /// Nobody listens any more, and every connection is closed.
    pub(crate) async fn lose(&mut self) {
        let accepting = self.accepting.take().unwrap();
        accepting.abort();
        let _ = accepting.await;
        while self.connections.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Listens again where it did before.
    pub(crate) async fn go_on(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (service, hung) = (self.service.clone(), Arc::clone(&self.hung));
        let connections = Arc::clone(&self.connections);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = Count::new(&connections);
                serving.spawn(serve(stream, service.clone(), Arc::clone(&hung), count));
            }
        }));
    }

    /// New connections are taken and nothing is said, until this is undone.
    pub(crate) fn hang(&self, hung: bool) {
        self.hung.store(hung, Ordering::SeqCst);
    }

    /// Files that are neither objects nor what the server notes about them.
    pub(crate) fn parts(&self) -> usize {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".part-")).count()
    }
}

async fn serve(stream: TcpStream, service: S3Service, hung: Arc<AtomicBool>, _count: Count) {
    if hung.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let builder = Builder::new(TokioExecutor::new());
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

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
