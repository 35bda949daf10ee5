//! Unix sockets: long paths, stale files, removal.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use fingerpost_net::{Address, BindOptions, Listener, bind, connect_unix};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::world::{PATIENCE, Plan, World};

fn serve_at(path: &Path) -> World {
    Plan {
        listen: format!("unix://{}", path.display()),
        ..Plan::default()
    }
    .start()
}

/// Two directories deep, far above the 107 bytes of a socket address.
fn long_path(directory: &TempDir) -> PathBuf {
    let parent = directory.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&parent).expect("a writable directory");
    parent.join("hashserve.sock")
}

async fn ask(stream: &mut UnixStream, line: &str) -> String {
    stream.write_all(line.as_bytes()).await.expect("connected");
    stream.shutdown().await.expect("connected");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("in time");
    read.expect("an answer");
    answer
}

fn bind_error(path: &Path) -> String {
    let address = Address::Unix(path.to_owned());
    bind(&address, &BindOptions::default())
        .expect_err("must not be bound")
        .to_string()
}

#[tokio::test]
async fn a_long_path_is_bound_connected_and_removed() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = long_path(&directory);
    let world = serve_at(&path);
    assert_eq!(
        world.address.to_string(),
        format!("unix://{}", path.display())
    );
    let mut stream = connect_unix(&path).await.expect("somebody listens");
    let who = ask(&mut stream, "who\n").await;
    let expect = format!(
        "pid {} Unix unix://{}\n",
        std::process::id(),
        path.display()
    );
    assert!(who.starts_with("uid ") && who.ends_with(&expect), "{who}");
    world.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_file_is_replaced() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("s");
    drop(UnixListener::bind(&path).expect("a free path"));
    assert!(path.exists(), "std leaves the file behind");
    let world = serve_at(&path);
    let mut stream = connect_unix(&path).await.expect("somebody listens");
    assert_eq!(ask(&mut stream, "hello\n").await, "hello\n");
    world.stop().await;
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone_and_its_owner_named() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("s");
    let world = serve_at(&path);
    let error = bind_error(&path);
    let owner = format!("is taken by process {} (", std::process::id());
    assert!(
        error.contains(&owner) && error.contains("stop it"),
        "{error}"
    );
    let mut stream = connect_unix(&path).await.expect("still there");
    assert_eq!(ask(&mut stream, "hello\n").await, "hello\n");
    world.stop().await;
}

#[test]
fn another_kind_of_file_is_never_removed() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").expect("writable");
    assert!(bind_error(&path).ends_with("is not a socket: remove it, or choose another path"));
    assert_eq!(std::fs::read(&path).expect("still there"), b"data");
    let missing = bind_error(&directory.path().join("no/such/directory"));
    assert!(missing.contains("cannot be listened on"), "{missing}");
}

#[test]
fn a_file_that_somebody_else_put_there_stays() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("s");
    let listener = bind(&Address::Unix(path.clone()), &BindOptions::default()).expect("free");
    std::fs::remove_file(&path).expect("bound");
    let _other = UnixListener::bind(&path).expect("free again");
    drop(listener);
    assert!(path.exists());
}

#[test]
fn the_mode_is_as_asked() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("s");
    let options = BindOptions {
        unix_mode: Some(0o660),
        ..BindOptions::default()
    };
    let _listener = bind(&Address::Unix(path.clone()), &options).expect("a free path");
    let metadata = std::fs::symlink_metadata(&path).expect("bound");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn an_inherited_socket_keeps_its_file() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("s");
    let inherited = UnixListener::bind(&path).expect("a free path");
    let listener = Listener::from_unix(inherited).expect("a socket");
    assert_eq!(
        listener.address().to_string(),
        format!("unix://{}", path.display())
    );
    drop(listener);
    assert!(path.exists());
}
