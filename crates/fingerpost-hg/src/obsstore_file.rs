//! The file `obsstore` as it grows.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_core::Clock;

use crate::state_file::{corrupt, is_settled, open, stamp_of};
use crate::{FileStamp, Obsstore, StoreError};

/// The name in errors.
const NAME: &str = "obsstore";
/// So much of the file's end is kept, to know it again: what was rolled back
/// and written anew differs there.
const TAIL_BYTES: usize = 4096;
/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// The longest marker of all, a little more than what fits a count of 255
/// successors and texts; a file over it is no obsstore.
const MARKER_BYTES_MAX: usize = 64 << 20;

/// The longest file that is read, which is some ten million markers.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// What the file held when it was read.
#[derive(Debug)]
pub(crate) struct ObsstoreContent {
    stamp: Option<FileStamp>,
    markers: Arc<Obsstore>,
    tail: Vec<u8>,
    settled: AtomicBool,
    /// The file ended inside a marker, which somebody was writing.
    torn: bool,
}

impl ObsstoreContent {
    /// The markers.
    pub(crate) fn markers(&self) -> &Obsstore {
        &self.markers
    }
}

/// Where the file is.
#[derive(Debug)]
pub(crate) struct ObsstoreFile(PathBuf);

impl ObsstoreFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads the file, or what was appended to it since `before`.
    pub(crate) fn read(
        &self,
        before: Option<&ObsstoreContent>,
        clock: &dyn Clock,
    ) -> Result<ObsstoreContent, StoreError> {
        let read_at = clock.now();
        let Some((mut file, stamp)) = open(&self.0, NAME)? else {
            return Ok(ObsstoreContent {
                stamp: None,
                markers: Arc::default(),
                tail: Vec::new(),
                settled: AtomicBool::new(true),
                torn: false,
            });
        };
        if stamp.size > FILE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                file: NAME.to_owned(),
                what: "the file",
                bytes: stamp.size,
                limit: FILE_BYTES_MAX,
            });
        }
        let settled = is_settled(&stamp, read_at);
        let grown = before.filter(|before| before.is_prefix_of(&file, &stamp));
        let mut markers = grown.map_or_else(Arc::default, |before| Arc::clone(&before.markers));
        file.seek(SeekFrom::Start(markers.parsed()))
            .map_err(|source| io_error("cannot read it", source))?;
        let mut torn = false;
        if markers.parsed() < stamp.size {
            let file = file.try_clone();
            let file = file.map_err(|source| io_error("cannot read it", source))?;
            torn = extend(Arc::make_mut(&mut markers), file)?;
        }
        if torn && settled {
            // Nobody is writing: hg appends markers at one go. What the rest of
            // this one hides, or others behind it, would be shown.
            let at = markers.parsed();
            return Err(corrupt(NAME, format!("the marker at byte {at} is cut off")));
        }
        Ok(ObsstoreContent {
            tail: tail(&file, markers.parsed())?,
            stamp: Some(stamp),
            markers,
            settled: AtomicBool::new(settled),
            torn,
        })
    }

    /// Whether the file is as it was read.
    pub(crate) fn holds(
        &self,
        content: &ObsstoreContent,
        clock: &dyn Clock,
    ) -> Result<bool, StoreError> {
        let stamp = stamp_of(&self.0, NAME)?;
        if stamp != content.stamp || content.torn {
            return Ok(false);
        }
        if content.settled.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let read_at = clock.now();
        let Some((file, stamp)) = open(&self.0, NAME)? else {
            return Ok(false);
        };
        let same = Some(stamp) == content.stamp && content.is_prefix_of(&file, &stamp);
        if same {
            content
                .settled
                .fetch_or(is_settled(&stamp, read_at), Ordering::Relaxed);
        }
        Ok(same)
    }
}

impl ObsstoreContent {
    /// Whether this may be what the open file begins with.
    fn is_prefix_of(&self, file: &std::fs::File, now: &FileStamp) -> bool {
        self.stamp.is_some_and(|stamp| stamp.may_have_grown_to(now))
            && tail(file, self.markers.parsed()).is_ok_and(|tail| tail == self.tail)
    }
}

/// The bytes before `end`, at most [`TAIL_BYTES`] of them.
fn tail(file: &std::fs::File, end: u64) -> Result<Vec<u8>, StoreError> {
    let len = usize::try_from(end).map_or(TAIL_BYTES, |end| end.min(TAIL_BYTES));
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, end - len as u64)
        .map_err(|source| io_error("cannot read it", source))?;
    Ok(bytes)
}

/// Reads markers to the end of the file, which stands after those known. Says
/// whether the file ends inside one.
fn extend(markers: &mut Obsstore, file: std::fs::File) -> Result<bool, StoreError> {
    let mut pending = Vec::new();
    loop {
        let read = (&file)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut pending)
            .map_err(|source| io_error("cannot read it", source))?;
        if read == 0 {
            return Ok(!pending.is_empty());
        }
        let before = markers.parsed();
        markers
            .extend(&pending)
            .map_err(|error| corrupt(NAME, error.to_string()))?;
        let taken = usize::try_from(markers.parsed() - before).unwrap_or(usize::MAX);
        pending.drain(..taken.min(pending.len()));
        if pending.len() > MARKER_BYTES_MAX {
            let at = markers.parsed();
            return Err(corrupt(
                NAME,
                format!("the marker at byte {at} is too long"),
            ));
        }
    }
}

fn io_error(what: &'static str, source: std::io::Error) -> StoreError {
    StoreError::Io {
        file: NAME.to_owned(),
        what,
        source,
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::{ManualClock, Timestamp};
    use fingerpost_hg_proto::Node;

    use super::*;
    use crate::tests::world::marker_v1;

    fn node(first: u8) -> Node {
        Node::from_bytes([first; 20])
    }

    fn in_dir(dir: &tempfile::TempDir) -> (ObsstoreFile, PathBuf) {
        let path = dir.path().join("obsstore");
        (ObsstoreFile::new(path.clone()), path)
    }

    /// Far before every file's times: no stamp is ever believed.
    fn early() -> ManualClock {
        ManualClock::new(Timestamp(0))
    }

    #[test]
    fn a_missing_file_has_no_markers() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        let content = file.read(None, &early()).unwrap();
        assert!(content.markers().is_empty());
        assert!(file.holds(&content, &early()).unwrap());
        std::fs::write(path, [1]).unwrap();
        assert!(!file.holds(&content, &early()).unwrap());
    }

    #[test]
    fn markers_appended_are_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        let mut bytes = vec![1];
        bytes.extend(marker_v1(node(1), &[]));
        std::fs::write(&path, &bytes).unwrap();
        let first = file.read(None, &early()).unwrap();
        assert!(file.holds(&first, &early()).unwrap());
        bytes.extend(marker_v1(node(2), &[node(3)]));
        let torn = &bytes[..bytes.len() - 1];
        std::fs::write(&path, torn).unwrap();
        assert!(!file.holds(&first, &early()).unwrap());
        let second = file.read(Some(&first), &early()).unwrap();
        assert!(!second.markers().is_predecessor(&node(2)));
        std::fs::write(&path, &bytes).unwrap();
        let third = file.read(Some(&second), &early()).unwrap();
        assert!(third.markers().is_predecessor(&node(1)));
        assert!(third.markers().is_predecessor(&node(2)));
    }

    #[test]
    fn a_marker_that_stays_cut_off_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        let mut bytes = vec![1];
        bytes.extend(marker_v1(node(1), &[]));
        bytes.extend(marker_v1(node(2), &[]));
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let young = file.read(None, &early()).unwrap();
        assert!(young.markers().is_predecessor(&node(1)));
        assert!(!file.holds(&young, &early()).unwrap());
        let late = ManualClock::new(Timestamp(i64::MAX));
        let error = file.read(Some(&young), &late).unwrap_err();
        assert_eq!(
            error.to_string(),
            "obsstore: the marker at byte 40 is cut off"
        );
        std::fs::write(&path, &bytes).unwrap();
        let whole = file.read(Some(&young), &late).unwrap();
        assert!(whole.markers().is_predecessor(&node(2)));
        assert!(file.holds(&whole, &late).unwrap());
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        let sparse = std::fs::File::create(path).unwrap();
        sparse.set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = file.read(None, &early()).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }));
    }

    #[test]
    fn what_was_rolled_back_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        let with = |marker: Vec<u8>| [vec![1], marker_v1(node(1), &[]), marker].concat();
        std::fs::write(&path, with(marker_v1(node(2), &[]))).unwrap();
        let before = file.read(None, &early()).unwrap();
        std::fs::write(&path, with(marker_v1(node(4), &[]))).unwrap();
        assert!(!file.holds(&before, &early()).unwrap());
        let after = file.read(Some(&before), &early()).unwrap();
        assert!(!after.markers().is_predecessor(&node(2)));
        assert!(after.markers().is_predecessor(&node(4)));
    }

    #[test]
    fn a_corrupt_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = in_dir(&dir);
        std::fs::write(path, [9]).unwrap();
        let error = file.read(None, &early()).unwrap_err();
        assert_eq!(error.to_string(), "obsstore: version 9 is not supported");
    }
}
