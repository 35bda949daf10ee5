//! What the real VFS does for us: locks, sizes, shared memory, names, time.
//!
//! The contract is that of the module above. Power is not asked for here: a
//! process that lost its machine may still let go of its locks.

use std::ffi::{c_char, c_int, c_void};

use rusqlite::ffi::{
    self, SQLITE_IOERR_SHMMAP, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_vfs,
};

use super::{real_file, registration};

pub(super) unsafe extern "C" fn file_size(
    file: *mut sqlite3_file,
    size: *mut sqlite3_int64,
) -> c_int {
    pass_on!(file, xFileSize(size), ffi::SQLITE_IOERR_FSTAT)
}

pub(super) unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass_on!(file, xLock(level), SQLITE_OK)
}

pub(super) unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass_on!(file, xUnlock(level), SQLITE_OK)
}

pub(super) unsafe extern "C" fn check_reserved_lock(
    file: *mut sqlite3_file,
    held: *mut c_int,
) -> c_int {
    pass_on!(file, xCheckReservedLock(held), SQLITE_OK)
}

pub(super) unsafe extern "C" fn file_control(
    file: *mut sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    pass_on!(
        file,
        xFileControl(operation, argument),
        ffi::SQLITE_NOTFOUND
    )
}

pub(super) unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    pass_on!(file, xSectorSize(), 4096)
}

pub(super) unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    pass_on!(file, xDeviceCharacteristics(), 0)
}

pub(super) unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    page_bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    pass_on!(
        file,
        xShmMap(page, page_bytes, extend, out),
        SQLITE_IOERR_SHMMAP
    )
}

pub(super) unsafe extern "C" fn shm_lock(
    file: *mut sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    pass_on!(
        file,
        xShmLock(offset, count, flags),
        ffi::SQLITE_IOERR_SHMLOCK
    )
}

pub(super) unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    pass_on!(file, xShmBarrier(), ());
}

pub(super) unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    pass_on!(file, xShmUnmap(delete), SQLITE_OK)
}

pub(super) unsafe extern "C" fn access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    pass_on_vfs!(vfs, xAccess(name, flags, out))
}

pub(super) unsafe extern "C" fn full_pathname(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    out_bytes: c_int,
    out: *mut c_char,
) -> c_int {
    pass_on_vfs!(vfs, xFullPathname(name, out_bytes, out))
}

pub(super) unsafe extern "C" fn randomness(
    vfs: *mut sqlite3_vfs,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    pass_on_vfs!(vfs, xRandomness(bytes, out))
}

pub(super) unsafe extern "C" fn sleep(vfs: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    pass_on_vfs!(vfs, xSleep(microseconds))
}

pub(super) unsafe extern "C" fn current_time(vfs: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    pass_on_vfs!(vfs, xCurrentTime(out))
}

pub(super) unsafe extern "C" fn current_time_int64(
    vfs: *mut sqlite3_vfs,
    out: *mut sqlite3_int64,
) -> c_int {
    pass_on_vfs!(vfs, xCurrentTimeInt64(out))
}

pub(super) unsafe extern "C" fn last_error(
    vfs: *mut sqlite3_vfs,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    pass_on_vfs!(vfs, xGetLastError(bytes, out))
}
