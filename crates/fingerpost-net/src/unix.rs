//! Unix sockets: paths of any length, stale files, removal at exit.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use crate::bind::{BACKLOG, BindOptions};
use crate::owner::Owner;

/// How often, and how long in between, we ask for a directory that another
/// process is binding in: a second in all.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why a Unix socket could not be bound.
#[derive(Debug)]
pub(crate) enum UnixBindError {
    /// A server listens there.
    Taken(Option<Owner>),
    /// Something that is no socket has the name.
    NotASocket,
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for UnixBindError {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// Connects to a Unix socket whose path may be longer than the 107 bytes that
/// a socket address holds.
///
/// # Errors
///
/// As of `open(2)` and `connect(2)`: `NotFound`, `ConnectionRefused` when
/// nobody listens, and others.
pub async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let (_open, short) = by_descriptor(path)?;
    UnixStream::connect(short).await
}

/// Opens the file itself; the path of its descriptor is short and means the
/// same file as long as the descriptor is open.
fn by_descriptor(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let file = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((file, short))
}

/// A bound socket's file: removed with this value, if it is still the same.
#[derive(Debug)]
pub(crate) struct SocketFile {
    directory: OwnedFd,
    name: OsString,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        if now.is_ok_and(|stat| identity(&stat) == self.identity) {
            // Nothing can be done about a failure here, and the next start copes.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Binds and listens. A socket file that nobody listens on any more is removed.
pub(crate) fn bind_unix(
    path: &Path,
    options: &BindOptions,
) -> Result<(UnixListener, SocketFile), UnixBindError> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidFilename)?
        .to_owned();
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(
        CWD,
        parent.unwrap_or_else(|| Path::new(".")),
        flags,
        Mode::empty(),
    )?;

    // Two processes that both find a stale file must not remove each other's new one.
    let lock = Lock::take(&directory);
    remove_stale(&directory, &name)?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(&name);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&short)?)?;
    let identity = identity(&statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?);
    if let Some(mode) = options.unix_mode {
        fs::set_permissions(&short, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    drop(lock);
    Ok((
        socket.into(),
        SocketFile {
            directory,
            name,
            identity,
        },
    ))
}

fn remove_stale(directory: &OwnedFd, name: &OsString) -> Result<(), UnixBindError> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(UnixBindError::NotASocket);
    }
    let path = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    match probe(&path) {
        Ok(owner) => Err(UnixBindError::Taken(owner)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(unlinkat(directory, name, AtFlags::empty())?)
        }
        // A full backlog, say: somebody is there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(UnixBindError::Taken(None)),
        Err(error) => Err(error.into()),
    }
}

/// Connects without waiting and asks the kernel who listens.
fn probe(path: &Path) -> io::Result<Option<Owner>> {
    let (_open, short) = by_descriptor(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(short)?)?;
    let peer = socket_peercred(socket.as_fd()).ok();
    Ok(peer.map(|peer| Owner::of_process(peer.pid.as_raw_pid(), peer.uid.as_raw())))
}

/// An advisory lock on a directory, given back at the drop.
struct Lock<'a>(&'a OwnedFd);

impl<'a> Lock<'a> {
    /// `None` on file systems without such locks, or if it takes too long: the
    /// lock only narrows a race between two starts.
    fn take(directory: &'a OwnedFd) -> Option<Self> {
        for _ in 0..LOCK_TRIES {
            match flock(directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(Self(directory)),
                Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
