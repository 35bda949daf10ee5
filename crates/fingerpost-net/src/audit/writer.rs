//! The thread that writes the audit log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Counters;

/// What the writer is told.
pub(super) enum Message {
    /// A line with its end.
    Line(Vec<u8>),
    /// Open the file again.
    Reopen,
    /// Tell when everything before this is written.
    Flush(oneshot::Sender<()>),
}

/// Where lines go.
pub(super) enum Target {
    Log,
    File {
        path: PathBuf,
        /// `None` after it could not be opened again.
        file: Option<File>,
        /// The last write ended in the middle of a line.
        is_torn: bool,
    },
}

impl Target {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::File {
            file: Some(open(path)?),
            path: path.to_owned(),
            is_torn: false,
        })
    }
}

pub(super) struct Writer {
    target: Target,
    counters: Counters,
    looked: Instant,
}

impl Writer {
    pub(super) fn new(target: Target, counters: Counters) -> Self {
        let looked = Instant::now();
        Self {
            target,
            counters,
            looked,
        }
    }

    /// Writes what comes until nobody can send any more. What waits is written at
    /// once, and nothing is kept back.
    pub(super) fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        let mut messages = Vec::new();
        while receiver.blocking_recv_many(&mut messages, BATCH_MAX) > 0 {
            let mut lines = Vec::new();
            for message in messages.drain(..) {
                match message {
                    Message::Line(line) => lines.push(line),
                    Message::Reopen => {
                        self.write(&mut lines);
                        self.reopen();
                    }
                    Message::Flush(done) => {
                        self.write(&mut lines);
                        // Who asked may have gone.
                        let _ = done.send(());
                    }
                }
            }
            self.write(&mut lines);
        }
    }

    fn write(&mut self, lines: &mut Vec<Vec<u8>>) {
        if lines.is_empty() {
            return;
        }
        self.look();
        let count = lines.len() as u64;
        let written = match &mut self.target {
            Target::Log => {
                for line in lines.iter() {
                    let line = String::from_utf8_lossy(line);
                    tracing::info!(target: "audit", "{}", line.trim_end());
                }
                Ok(())
            }
            Target::File {
                path,
                file,
                is_torn,
            } => append(path, file, is_torn, lines),
        };
        lines.clear();
        match written {
            Ok(()) => self.counters.written(),
            Err(error) => self.counters.lose(count, &error.to_string()),
        }
    }

    /// Opens the file again if what lies at its path is not what is open.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let Target::File { path, file, .. } = &self.target else {
            return;
        };
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::metadata(path).map(identity).ok();
        let held = file
            .as_ref()
            .and_then(|file| file.metadata().map(identity).ok());
        if there.is_none() || there != held {
            self.reopen();
        }
    }

    /// Goes on with the old file if there is no new one.
    fn reopen(&mut self) {
        if let Target::File {
            path,
            file,
            is_torn,
        } = &mut self.target
        {
            match open(path) {
                Ok(opened) => {
                    *file = Some(opened);
                    *is_torn = false;
                }
                Err(error) => {
                    let path = path.display();
                    tracing::error!(%path, %error, "cannot open the audit log again");
                }
            }
        }
    }
}

/// Appends all lines at once. After an error what was written of them is unknown, so
/// the next line begins with an end of line.
fn append(
    path: &Path,
    file: &mut Option<File>,
    is_torn: &mut bool,
    lines: &[Vec<u8>],
) -> io::Result<()> {
    let open_file = match file {
        Some(file) => file,
        None => file.insert(open(path)?),
    };
    let mut bytes = Vec::with_capacity(lines.iter().map(Vec::len).sum::<usize>() + 1);
    if *is_torn {
        bytes.push(b'\n');
    }
    bytes.extend(lines.iter().flatten());
    *is_torn = true;
    open_file.write_all(&bytes)?;
    *is_torn = false;
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

const BATCH_MAX: usize = 512;
const LOOK_EVERY: Duration = Duration::from_secs(1);
