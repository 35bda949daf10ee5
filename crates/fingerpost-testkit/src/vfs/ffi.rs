//! The C side: the VFS that SQLite calls, around the operating system's own.
//!
//! # Memory
//!
//! SQLite allocates `szOsFile` bytes for a file, and ours are laid out as
//!
//! ```text
//! | FaultFile (method table, pointer to Handle) | the real VFS's sqlite3_file |
//! 0                                             REAL_FILE_OFFSET
//! ```
//!
//! The [`Handle`] is a `Box` from a successful `open` until `close`. The real
//! file's bytes belong to the real VFS, which initialises them in its own
//! `xOpen`. The VFS structure, its name and its reference to the [`Disk`] are
//! leaked: SQLite may use them as long as the process lives.
//!
//! # Contract with SQLite
//!
//! Every function below is called by SQLite only, with the pointers that its
//! documentation of `sqlite3_vfs` and `sqlite3_io_methods` promises: a VFS that
//! we registered, a file that our `open` filled, buffers of the given length,
//! names that end in NUL. One file is used by one thread at a time; the disk
//! has a lock of its own. A panic cannot unwind into C: it ends the process.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::ffi::{
    self, SQLITE_CANTOPEN, SQLITE_IOERR_DELETE, SQLITE_IOERR_SHORT_READ, SQLITE_OK, sqlite3_file,
    sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};

use super::change::{Change, New};
use super::disk::{Disk, Operation, Refusal};

/// Calls a method of the real file behind `file`; `$absent` when it has none.
macro_rules! pass_on {
    ($file:expr, $method:ident($($argument:expr),*), $absent:expr) => {{
        let real = real_file($file);
        // SAFETY: the real VFS opened this file and set its method table; the
        // arguments are SQLite's own.
        unsafe {
            match (*(*real).pMethods).$method {
                Some(method) => method(real, $($argument),*),
                None => $absent,
            }
        }
    }};
}

/// Calls a function of the real VFS behind `vfs`.
macro_rules! pass_on_vfs {
    ($vfs:expr, $function:ident($($argument:expr),*)) => {{
        let real = registration($vfs).real;
        // SAFETY: the default VFS has every function that we use, and the
        // arguments are SQLite's own.
        unsafe { (*real).$function.expect("the default VFS has it")(real, $($argument),*) }
    }};
}

mod delegate;

/// Kinds of files of which a power cut takes the unsynced writes; the others
/// are temporary and die with their connection.
const TRACKED_KINDS: c_int = ffi::SQLITE_OPEN_MAIN_DB
    | ffi::SQLITE_OPEN_MAIN_JOURNAL
    | ffi::SQLITE_OPEN_SUPER_JOURNAL
    | ffi::SQLITE_OPEN_WAL;

/// A multiple of every alignment that the real VFS's file may need.
const REAL_FILE_OFFSET: usize = size_of::<FaultFile>().next_multiple_of(16);

#[repr(C)]
struct FaultFile {
    base: sqlite3_file,
    handle: *mut Handle,
}

/// What we know of an open file.
struct Handle {
    disk: Arc<Disk>,
    /// `None` for temporary files.
    path: Option<PathBuf>,
}

/// Behind `pAppData` of our VFS.
struct Registration {
    disk: Arc<Disk>,
    real: *mut sqlite3_vfs,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 2 has no memory mapping of the file, so every byte passes here.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(delegate::file_size),
    xLock: Some(delegate::lock),
    xUnlock: Some(delegate::unlock),
    xCheckReservedLock: Some(delegate::check_reserved_lock),
    xFileControl: Some(delegate::file_control),
    xSectorSize: Some(delegate::sector_size),
    xDeviceCharacteristics: Some(delegate::device_characteristics),
    xShmMap: Some(delegate::shm_map),
    xShmLock: Some(delegate::shm_lock),
    xShmBarrier: Some(delegate::shm_barrier),
    xShmUnmap: Some(delegate::shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Registers a VFS over `disk` and gives its name.
pub(super) fn register(disk: Arc<Disk>) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("fault-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    // SAFETY: a null name asks for the default VFS, which lives for ever.
    let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    assert!(!real.is_null(), "SQLite has a default VFS");
    // SAFETY: just checked; the structure is constant after registration.
    let real_file_bytes = unsafe { (*real).szOsFile };
    let registration = Box::into_raw(Box::new(Registration { disk, real }));
    let vfs = sqlite3_vfs {
        iVersion: 2,
        szOsFile: real_file_bytes + REAL_FILE_OFFSET as c_int,
        // SAFETY: as above.
        mxPathname: unsafe { (*real).mxPathname },
        pNext: ptr::null_mut(),
        zName: CString::new(name.as_str())
            .expect("the name has no NUL")
            .into_raw(),
        pAppData: registration.cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(delegate::access),
        xFullPathname: Some(delegate::full_pathname),
        // Extensions are never loaded.
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(delegate::randomness),
        xSleep: Some(delegate::sleep),
        xCurrentTime: Some(delegate::current_time),
        xGetLastError: Some(delegate::last_error),
        xCurrentTimeInt64: Some(delegate::current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: the structure and everything it points to is leaked.
    let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
    assert_eq!(code, SQLITE_OK, "SQLite takes any VFS");
    name
}

fn registration<'a>(vfs: *mut sqlite3_vfs) -> &'a Registration {
    // SAFETY: `vfs` is one that `register` made; its registration is leaked.
    unsafe { &*(*vfs).pAppData.cast::<Registration>() }
}

fn real_file(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes, see the layout above.
    unsafe { file.byte_add(REAL_FILE_OFFSET) }
}

fn handle<'a>(file: *mut sqlite3_file) -> &'a Handle {
    // SAFETY: `open` set it, `close` has not been called, and nobody else
    // changes it.
    unsafe { &*(*file.cast::<FaultFile>()).handle }
}

fn answer(result: Result<(), Refusal>) -> c_int {
    result.err().unwrap_or(SQLITE_OK)
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives uninitialised memory of our size; without a method
    // table it will not call `close` after a failure.
    unsafe { (*file).pMethods = ptr::null() };
    let disk = &registration(vfs).disk;
    let mut state = disk.lock();
    if !state.is_powered() {
        return SQLITE_CANTOPEN;
    }
    let code = pass_on_vfs!(vfs, xOpen(name, real_file(file), flags, out_flags));
    if code != SQLITE_OK {
        return code;
    }
    let path = (flags & TRACKED_KINDS != 0 && !name.is_null()).then(|| path_of(name));
    state.opened(path.as_deref(), real_size(file));
    drop(state);
    let handle = Box::into_raw(Box::new(Handle {
        disk: Arc::clone(disk),
        path,
    }));
    // SAFETY: `file` is ours to fill.
    unsafe {
        (*file.cast::<FaultFile>()).handle = handle;
        (*file).pMethods = &raw const METHODS;
    }
    SQLITE_OK
}

fn path_of(name: *const c_char) -> PathBuf {
    // SAFETY: a name that SQLite passes is a full path that ends in NUL.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(OsStr::from_bytes(name.to_bytes())).to_owned()
}

fn real_size(file: *mut sqlite3_file) -> u64 {
    let mut size = 0;
    pass_on!(file, xFileSize(&raw mut size), SQLITE_OK);
    u64::try_from(size).unwrap_or(0)
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = pass_on!(file, xClose(), SQLITE_OK);
    // SAFETY: `open` made this box; SQLite closes a file once and does not use
    // it afterwards.
    let handle = unsafe { Box::from_raw((*file.cast::<FaultFile>()).handle) };
    handle.disk.lock().closed();
    code
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    match handle(file).disk.begin(Operation::Read) {
        Ok(state) => {
            drop(state);
            pass_on!(file, xRead(buffer, amount, offset), ffi::SQLITE_IOERR_READ)
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives `amount` readable bytes.
    let new = unsafe {
        std::slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(amount).unwrap_or(0))
    };
    answer(write_tracked(file, new, offset as u64))
}

fn write_tracked(file: *mut sqlite3_file, new: &[u8], offset: u64) -> Result<(), Refusal> {
    let handle = handle(file);
    let mut state = handle.disk.begin(Operation::Write)?;
    let mut change = None;
    if let Some(path) = &handle.path {
        state.make_room(path, offset + new.len() as u64)?;
        let size_before = state.size(path);
        let overlap = size_before.saturating_sub(offset).min(new.len() as u64);
        change = Some(Change {
            offset,
            old: real_bytes(file, offset, overlap as usize)?,
            size_before,
            new: New::Bytes(new.to_vec()),
        });
    }
    check(pass_on!(
        file,
        xWrite(
            new.as_ptr().cast(),
            new.len() as c_int,
            offset as sqlite3_int64
        ),
        ffi::SQLITE_IOERR_WRITE
    ))?;
    if let (Some(path), Some(change)) = (&handle.path, change) {
        state.changed(path, change);
    }
    Ok(())
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    answer(truncate_tracked(file, size as u64))
}

fn truncate_tracked(file: *mut sqlite3_file, size: u64) -> Result<(), Refusal> {
    let handle = handle(file);
    let mut state = handle.disk.begin(Operation::Write)?;
    let mut change = None;
    if let Some(path) = &handle.path {
        let size_before = state.size(path);
        let tail = size_before.saturating_sub(size) as usize;
        change = Some(Change {
            offset: size,
            old: real_bytes(file, size, tail)?,
            size_before,
            new: New::End,
        });
    }
    check(pass_on!(
        file,
        xTruncate(size as sqlite3_int64),
        ffi::SQLITE_IOERR_TRUNCATE
    ))?;
    if let (Some(path), Some(change)) = (&handle.path, change) {
        state.changed(path, change);
    }
    Ok(())
}

fn real_bytes(file: *mut sqlite3_file, offset: u64, length: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0_u8; length];
    if length > 0 {
        let code = pass_on!(
            file,
            xRead(
                bytes.as_mut_ptr().cast(),
                length as c_int,
                offset as sqlite3_int64
            ),
            ffi::SQLITE_IOERR_READ
        );
        // A hole at the end reads as zeros.
        if code != SQLITE_IOERR_SHORT_READ {
            check(code)?;
        }
    }
    Ok(bytes)
}

const fn check(code: c_int) -> Result<(), Refusal> {
    if code == SQLITE_OK { Ok(()) } else { Err(code) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    let handle = handle(file);
    let synced = handle.disk.begin(Operation::Sync).map(|mut state| {
        if let Some(path) = &handle.path {
            state.synced(path);
        }
    });
    answer(synced)
}

unsafe extern "C" fn delete(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    sync_directory: c_int,
) -> c_int {
    let mut state = registration(vfs).disk.lock();
    if !state.is_powered() {
        return SQLITE_IOERR_DELETE;
    }
    let code = pass_on_vfs!(vfs, xDelete(name, sync_directory));
    if code == SQLITE_OK {
        state.deleted(&path_of(name));
    }
    code
}
