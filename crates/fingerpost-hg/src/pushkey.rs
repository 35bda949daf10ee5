//! `pushkey` is carried out by the installed `hg`, with its own locks, hooks
//! and transaction: nothing here ever writes into a repository.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The program that carries `pushkey` out, and its limits.
#[derive(Clone, Debug)]
pub struct PushkeyProgram {
    /// Absolute path of `hg`.
    pub hg: PathBuf,
    /// How long it may take, hooks included.
    pub timeout: Duration,
}

/// Why a key was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushkeyError {
    /// The argument cannot be handed to a program safely. The text is for the
    /// client.
    #[error("{0}")]
    Refused(&'static str),
    /// The program could not be run or watched.
    #[error("cannot run {}", program.display())]
    Io {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("{} was ended after {}s", program.display(), after.as_secs())]
    TimedOut {
        /// Its path.
        program: PathBuf,
        /// The limit.
        after: Duration,
    },
    /// It ended in another way than by saying yes or no.
    #[error("{} failed: {output}", program.display())]
    Failed {
        /// Its path.
        program: PathBuf,
        /// The beginning of its complaint, or else the end of what it printed.
        output: String,
    },
}

/// One change of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyChange<'a> {
    /// `bookmarks` or `phases`.
    pub namespace: &'a [u8],
    /// The bookmark, or the changeset.
    pub key: &'a [u8],
    /// The value that it must have now; empty for none.
    pub old: &'a [u8],
    /// The value that it gets; empty for none.
    pub new: &'a [u8],
}

impl KeyChange<'_> {
    fn arguments(&self) -> Result<[&str; 4], PushkeyError> {
        if !matches!(self.namespace, b"bookmarks" | b"phases") {
            return Err(PushkeyError::Refused(
                "only bookmarks and phases can be pushed",
            ));
        }
        let mut arguments = [""; 4];
        let values = [self.namespace, self.key, self.old, self.new];
        for (argument, value) in arguments.iter_mut().zip(values) {
            *argument = argument_of(value)?;
        }
        Ok(arguments)
    }
}

/// A value as an argument. Behind `--` a leading dash would be harmless; it is
/// refused all the same, since no bookmark and no node begins with one.
fn argument_of(value: &[u8]) -> Result<&str, PushkeyError> {
    if value.starts_with(b"-") {
        return Err(PushkeyError::Refused("a value must not begin with a dash"));
    }
    if value.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
        return Err(PushkeyError::Refused(
            "a value must not hold NUL or a line end",
        ));
    }
    std::str::from_utf8(value).map_err(|_| PushkeyError::Refused("a value must be UTF-8"))
}

impl PushkeyProgram {
    /// Changes a key of the repository at `root`; says whether `hg` did it.
    /// Blocks until then.
    ///
    /// # Errors
    ///
    /// [`PushkeyError`]; after any but [`PushkeyError::Refused`] the change may
    /// have been made.
    pub fn push(&self, root: &Path, change: &KeyChange<'_>) -> Result<bool, PushkeyError> {
        let arguments = change.arguments()?;
        let mut command = Command::new(&self.hg);
        command
            .arg("--config")
            .arg("ui.interactive=no")
            .arg("debugpushkey")
            .arg("--")
            .arg(root)
            .args(arguments)
            .current_dir("/")
            .env("HGPLAIN", "1")
            .env("HGENCODING", "UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that its hooks end with it.
            .process_group(0);
        let io = |source| PushkeyError::Io {
            program: self.hg.clone(),
            source,
        };
        let mut child = command.spawn().map_err(io)?;
        let watched = watch(&mut child, Instant::now() + self.timeout);
        if !matches!(watched, Ok(Watched { ended: true, .. })) {
            end_group(&child);
        }
        // Also where it could not be watched, or it would stay as a zombie.
        let status = child.wait();
        let watched = watched.map_err(io)?;
        let status = status.map_err(io)?;
        if !watched.ended {
            return Err(PushkeyError::TimedOut {
                program: self.hg.clone(),
                after: self.timeout,
            });
        }
        let complaint = watched.complaint.trim_ascii();
        match (status.code(), watched.output.trim_ascii()) {
            (Some(0), output) if output.ends_with(b"True") => Ok(true),
            (Some(1), output) if output.ends_with(b"False") => Ok(false),
            (_, output) => {
                let told = if complaint.is_empty() {
                    output
                } else {
                    complaint
                };
                Err(PushkeyError::Failed {
                    program: self.hg.clone(),
                    output: String::from_utf8_lossy(told).into_owned(),
                })
            }
        }
    }
}

#[derive(Default)]
struct Watched {
    ended: bool,
    /// The end of its output: hooks may print much before the answer.
    output: Vec<u8>,
    /// The beginning of what it printed as errors.
    complaint: Vec<u8>,
}

impl Watched {
    /// Reads what is there, and lets go of a pipe at its end.
    fn drain(&mut self, pipes: &mut Pipes) {
        let output = &mut self.output;
        pipes.output.take_if(|pipe| {
            !drain(pipe, |piece| {
                output.extend_from_slice(piece);
                let surplus = output.len().saturating_sub(OUTPUT_BYTES_MAX);
                output.drain(..surplus);
            })
        });
        let complaint = &mut self.complaint;
        pipes.complaint.take_if(|pipe| {
            !drain(pipe, |piece| {
                let room = OUTPUT_BYTES_MAX.saturating_sub(complaint.len());
                complaint.extend_from_slice(&piece[..piece.len().min(room)]);
            })
        });
    }
}

/// What a program prints to, as long as it is open.
struct Pipes {
    output: Option<ChildStdout>,
    complaint: Option<ChildStderr>,
}

impl Pipes {
    fn of(child: &mut Child) -> io::Result<Self> {
        let pipes = Self {
            output: child.stdout.take(),
            complaint: child.stderr.take(),
        };
        for pipe in pipes.open() {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(pipes)
    }

    fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        let complaint = self.complaint.as_ref().map(AsFd::as_fd);
        output.into_iter().chain(complaint)
    }
}

/// Waits for the end of `child`, but not beyond `deadline`, and keeps a part of
/// what it prints. A pipe that a process of its own still holds open is not
/// waited for.
fn watch(child: &mut Child, deadline: Instant) -> io::Result<Watched> {
    let pid = Pid::from_child(child);
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut pipes = Pipes::of(child)?;
    let mut watched = Watched::default();
    while !watched.ended {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        let open = pipes.open();
        fds.extend(open.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => break,
            Ok(_) => watched.ended = !fds[0].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(fds);
        watched.drain(&mut pipes);
        // Who prints all the time is always ready to be read.
        if left.is_zero() {
            break;
        }
    }
    Ok(watched)
}

/// Reads what is there; says whether there may be more later.
fn drain(pipe: &mut impl io::Read, mut keep: impl FnMut(&[u8])) -> bool {
    let mut piece = [0; 4096];
    // Bounded, so that a program that prints without end is still ended.
    for _ in 0..16 {
        match pipe.read(&mut piece) {
            Ok(0) => return false,
            Ok(read) => keep(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

fn end_group(child: &Child) {
    // It may have ended by itself in the meantime.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

const OUTPUT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const BOOKMARK: KeyChange<'_> = KeyChange {
        namespace: b"bookmarks",
        key: b"feature",
        old: b"",
        new: b"ab6f6465b68b31ae30e4c3be9b7a36403a275cb3",
    };

    /// Runs a shell script in the place of `hg`.
    fn push(script: &str, timeout: Duration) -> Result<bool, PushkeyError> {
        let directory = tempfile::tempdir().unwrap();
        let hg = directory.path().join("hg");
        std::fs::write(&hg, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hg, PermissionsExt::from_mode(0o755)).unwrap();
        PushkeyProgram { hg, timeout }.push(Path::new("/repo"), &BOOKMARK)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn yes_and_no_are_what_the_program_says() {
        assert!(push("echo True", PATIENCE).unwrap());
        assert!(!push("echo False; exit 1", PATIENCE).unwrap());
    }

    #[test]
    fn arguments_come_behind_two_dashes() {
        let script = "shift 2; [ \"$*\" = 'debugpushkey -- /repo bookmarks feature  ab6f6465b68b31ae30e4c3be9b7a36403a275cb3' ] && [ -n \"$HGPLAIN\" ] && echo True";
        assert!(push(script, PATIENCE).unwrap());
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = push("echo abort: no such thing >&2; exit 255", PATIENCE).unwrap_err();
        assert!(
            error.to_string().ends_with("failed: abort: no such thing"),
            "{error}"
        );
    }

    #[test]
    fn the_answer_comes_behind_whatever_hooks_print() {
        let noise = "yes noise | head -c 300000";
        assert!(push(&format!("{noise}; {noise} >&2; echo True"), PATIENCE).unwrap());
        let error = push(&format!("{noise}; echo abort >&2; exit 255"), PATIENCE).unwrap_err();
        assert!(error.to_string().ends_with("failed: abort"), "{error}");
        // What is no answer is none on the other pipe either.
        assert!(push("echo True >&2", PATIENCE).is_err());
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let began = Instant::now();
        let error = push("sleep 600 & sleep 600", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, PushkeyError::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn a_program_that_prints_without_end_is_ended() {
        let error = push("while :; do echo x; done", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, PushkeyError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn a_child_that_keeps_the_pipe_is_not_waited_for() {
        assert!(push("sleep 30 & echo True", PATIENCE).unwrap());
    }

    #[test]
    fn values_that_could_be_taken_for_something_else_are_refused() {
        for value in [&b"-x"[..], b"a\nb", b"a\0b", b"\xff"] {
            let change = KeyChange {
                key: value,
                ..BOOKMARK
            };
            assert!(change.arguments().is_err(), "{value:?}");
        }
        let change = KeyChange {
            namespace: b"obsolete",
            ..BOOKMARK
        };
        assert!(change.arguments().is_err());
    }
}
