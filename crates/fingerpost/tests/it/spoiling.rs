//! Damage to the files and values of stores, while they are in use.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fingerpost_testkit::RedisServer;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What is done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Some bits change.
    Flip,
    /// Its end is gone.
    Truncate,
    /// It is gone.
    Remove,
}

/// Damages about every second entry below a directory; how many there were.
pub(crate) fn spoil_files(directory: &Path, damage: Damage) -> Result<usize> {
    let mut random = StdRng::from_rng(&mut rand::rng());
    let files = entries(directory)?;
    for path in &files {
        if damage == Damage::Remove || random.random() {
            match spoil_file(path, damage, &mut random) {
                // The server removes what it finds damaged.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                spoilt => spoilt?,
            }
        }
    }
    Ok(files.len())
}

fn spoil_file(path: &Path, damage: Damage, random: &mut StdRng) -> io::Result<()> {
    if damage == Damage::Remove {
        return std::fs::remove_file(path);
    }
    let file = File::options().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(());
    }
    if damage == Damage::Truncate {
        return file.set_len(random.random_range(0..len));
    }
    for _ in 0..3 {
        let place = random.random_range(0..len);
        let mut byte = [0];
        // Somebody else may have truncated it.
        if file.read_at(&mut byte, place)? == 1 {
            file.write_all_at(&[byte[0] ^ (1 << random.random_range(0..8))], place)?;
        }
    }
    Ok(())
}

/// Files that have the name of an entry, at any depth.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        listed => listed?,
    };
    for entry in listed {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(entries(&path)?);
        } else if path.file_stem().is_some_and(|name| name.len() == 64) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Damages every value; how many there were.
pub(crate) fn spoil_values(redis: &RedisServer, damage: Damage) -> Result<usize> {
    let mut random = StdRng::from_rng(&mut rand::rng());
    let keys = redis.cli(&["--scan"])?;
    let keys: Vec<_> = keys.lines().collect();
    for &key in &keys {
        let len: u64 = redis.cli(&["strlen", key])?.trim().parse()?;
        let place = random.random_range(0..len.max(1)).to_string();
        match damage {
            Damage::Flip => redis.cli(&["setrange", key, &place, "spoilt"])?,
            Damage::Truncate => redis.cli(&["set", key, "spoilt"])?,
            Damage::Remove => redis.cli(&["del", key])?,
        };
    }
    Ok(keys.len())
}
