//! Reports that the server will never have, for people to look at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fingerpost_core::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use super::spool::Spooled;

const FILE: &str = "dead-letters.ndjson";
/// Servers may say anything.
const WHY_CHARS_MAX: usize = 500;

/// `dead-letters.ndjson`: an object a line, the newest last.
pub(super) struct DeadLetters {
    path: PathBuf,
    bytes_max: u64,
    writing: Mutex<()>,
}

/// A report and why it is here.
pub(super) struct DeadLetter {
    pub(super) report: Spooled,
    pub(super) why: String,
}

#[derive(Serialize)]
struct Line<'a> {
    /// When the agent gave up.
    at: String,
    why: String,
    /// The report's own key: a report that a crash brought here twice has one.
    key: String,
    command: &'static str,
    namespace: &'a str,
    profile: Option<&'a str>,
    user: Option<&'a str>,
    /// When the build was answered.
    reported: String,
    /// As a text, so that it stays one line and exactly what it was.
    request: &'a str,
}

impl DeadLetters {
    pub(super) fn new(directory: &Path, bytes_max: u64) -> Self {
        Self {
            path: directory.join(FILE),
            bytes_max,
            writing: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends letters, durably. Blocks.
    pub(super) fn append(&self, letters: &[DeadLetter], now: Timestamp) -> io::Result<()> {
        let mut text = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut text, &line(letter, now))?;
            text.push(b'\n');
        }
        let _writing = self.writing.lock();
        self.make_room(text.len() as u64)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let size = file.metadata()?.len();
        let appended = append_whole_lines(&file, size, &text).and_then(|()| file.sync_data());
        if appended.is_err() {
            // A disk that is full takes a part. The next try begins where this one did.
            let _ = file.set_len(size);
        } else if size == 0 {
            super::directory::sync_directory_of(&self.path)?;
        }
        appended
    }

    /// Puts a file that is full aside, over the one before.
    fn make_room(&self, more: u64) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(there) if there.len() > 0 && there.len() + more > self.bytes_max => {
                fs::rename(&self.path, self.path.with_extension("ndjson.old"))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A power cut may have left a part of a line.
fn append_whole_lines(mut file: &File, size: u64, text: &[u8]) -> io::Result<()> {
    let mut last = [b'\n'];
    if let Some(end) = size.checked_sub(1) {
        file.read_exact_at(&mut last, end)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    file.write_all(text)
}

fn line(letter: &DeadLetter, now: Timestamp) -> Line<'_> {
    let report = &letter.report;
    Line {
        at: now.to_rfc3339(),
        why: letter.why.chars().take(WHY_CHARS_MAX).collect(),
        key: format!("{:032x}", u128::from_be_bytes(report.key)),
        command: report.kind.as_str(),
        namespace: &report.namespace,
        profile: report.profile.as_deref(),
        user: report.user.as_deref(),
        reported: report.at.to_rfc3339(),
        request: &report.request,
    }
}
