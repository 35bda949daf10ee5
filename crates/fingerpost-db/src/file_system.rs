//! Which file systems SQLite must not be used on, and room on the others.

use std::io;
use std::path::Path;

use rustix::fs::{major, minor, stat, statfs, statvfs};

/// Returns the name of the network file system that the directory of `path` is
/// on, `None` for a local one.
///
/// # Errors
///
/// Neither `path` nor its directory is there.
pub fn network(path: &Path) -> io::Result<Option<String>> {
    // The file may be a link to elsewhere; before it exists its directory counts.
    let place = if path.exists() {
        path
    } else {
        directory_of(path)
    };
    let magic = u64::try_from(statfs(place)?.f_type).unwrap_or(0) & 0xffff_ffff;
    if magic != FUSE {
        return Ok(name_of(magic).map(str::to_owned));
    }
    let device = stat(place)?.st_dev;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = mount_type(&mounts, major(device), minor(device));
    Ok(match kind {
        Some(kind) if LOCAL_FUSE.contains(&kind) => None,
        Some(kind) => Some(format!("{kind} (FUSE)")),
        None => Some("an unknown FUSE file system".to_owned()),
    })
}

/// Free bytes that an ordinary user may fill where `path` is.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = statvfs(directory_of(path))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The directory of an absolute path.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// File systems behind FUSE that keep their locks and their memory maps on this
/// machine: NTFS and the like on a block device, and the overlay of rootless
/// containers.
const LOCAL_FUSE: [&str; 2] = ["fuseblk", "fuse.fuse-overlayfs"];

const FUSE: u64 = 0x6573_5546;

/// From `linux/magic.h` and the file systems' own sources.
const NETWORK: [(u64, &str); 17] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    (0x786f_4256, "a VirtualBox shared folder"),
];

fn name_of(magic: u64) -> Option<&'static str> {
    NETWORK
        .iter()
        .find(|(known, _)| *known == magic)
        .map(|(_, name)| *name)
}

/// Finds the type of the mounted device in the text of `mountinfo`; see
/// `proc(5)`.
fn mount_type(mounts: &str, major: u32, minor: u32) -> Option<&str> {
    let device = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        (mount.split(' ').nth(2)? == device).then_some(source.split(' ').next()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /mnt/far rw,nosuid shared:20 - fuse.sshfs host:/srv rw,user_id=0
41 22 0:36 / /mnt/a\\040b rw - fuseblk /dev/sdb1 rw
";

    #[test]
    fn the_type_behind_fuse_is_found_by_device() {
        assert_eq!(mount_type(MOUNTS, 0, 35), Some("fuse.sshfs"));
        assert_eq!(mount_type(MOUNTS, 0, 36), Some("fuseblk"));
        assert_eq!(mount_type(MOUNTS, 0, 37), None);
    }

    #[test]
    fn network_file_systems_have_names() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xef53), None);
    }

    #[test]
    fn a_local_directory_is_local_and_has_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.db");
        assert_eq!(network(&path).unwrap(), None);
        assert!(free_bytes(&path).unwrap() > 0);
        assert!(network(&directory.path().join("none/new.db")).is_err());
    }
}
