//! A Unix socket: whether it is there, and for this user.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use fingerpost_net::connect_unix;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::reach::{STEP, within};
use super::report::Finding;

const ID: &str = "socket";

/// What is to be said if the file system of the socket does not answer: nothing else could
/// be asked there without waiting for it.
pub(super) async fn silent(path: &Path) -> Option<Finding> {
    let asked = path.to_owned();
    let answered = within(STEP, move || std::fs::metadata(asked).is_ok()).await;
    let says = format!(
        "the file system of {} does not answer within a second: put the socket on a local one",
        path.display()
    );
    answered.is_none().then(|| Finding::problem(ID, says))
}

/// Connects to the socket.
pub(super) async fn check(path: &Path) -> (Option<UnixStream>, Finding) {
    let connected = timeout(STEP, connect_unix(path)).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            let says = format!("{} accepts connections", path.display());
            (Some(stream), Finding::ok(ID, says))
        }
        Err(error) => (None, Finding::problem(ID, refusal(path, &error))),
    }
}

fn refusal(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => absent(path),
        io::ErrorKind::PermissionDenied => denied(path),
        io::ErrorKind::ConnectionRefused if !is_socket(path) => {
            format!("{shown} is no socket: correct the path")
        }
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens on {shown}, which an agent or server has left behind: start it again, and \
             in a container mount the socket's directory, not the socket"
        ),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "{shown} accepts no more connections, and BitBake waits for that without end: restart \
             whoever listens there"
        ),
        _ => format!("{shown} cannot be connected to: {error}"),
    }
}

fn is_socket(path: &Path) -> bool {
    let found = std::fs::metadata(path);
    found.is_ok_and(|found| found.file_type().is_socket())
}

fn absent(path: &Path) -> String {
    let shown = path.display();
    match path.parent() {
        Some(directory) if !directory.exists() => format!(
            "there is no directory {}: start the agent (`fingerpost agent --server ADDR`) or the \
             server, and in a container mount that directory",
            directory.display()
        ),
        _ => format!(
            "there is no socket {shown}: start the agent (`fingerpost agent --server ADDR`) or the \
             server"
        ),
    }
}

/// Whoever may not write to a socket, or not enter a directory above, may not connect.
fn denied(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(found) => format!(
            "{} is closed to this user (mode {:04o}, user {}, group {}): add the user to the group, or \
             let the agent have another (--socket-group)",
            path.display(),
            found.mode() & 0o7777,
            found.uid(),
            found.gid()
        ),
        Err(_) => format!(
            "this user may not enter the directory of {}: open it (chmod a+x), or add the user to its \
             group",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::report::State;
    use super::*;

    async fn refused(path: &Path, words: &str) {
        let (stream, found) = check(path).await;
        assert!(stream.is_none() && found.state == State::Problem);
        assert!(found.says.contains(words), "{}", found.says);
    }

    #[tokio::test]
    async fn each_kind_of_absence_has_its_own_remedy() {
        let dir = tempfile::tempdir().unwrap();
        refused(&dir.path().join("none/a.sock"), "there is no directory").await;
        let path = dir.path().join("a.sock");
        refused(&path, "there is no socket").await;
        std::fs::write(&path, "").unwrap();
        refused(&path, "is no socket").await;
        std::fs::remove_file(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        assert!(check(&path).await.0.is_some());
        drop(listener);
        refused(&path, "nobody listens on").await;
    }
}
