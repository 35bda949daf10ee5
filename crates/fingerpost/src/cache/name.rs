//! Names of entries as they are typed: whole, or as much as is needed.

use std::str::FromStr;

use fingerpost_core::EntryName;

use super::tiers::{OrExitOf as _, Tiers};
use crate::exit::{Exit, failure};

/// Fewer digits would often name another entry than the meant one.
const DIGITS_MIN: usize = 8;
const DIGITS: usize = 64;

/// The beginning of an entry's name, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning(String);

impl FromStr for Beginning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !(DIGITS_MIN..=DIGITS).contains(&text.len()) {
            return Err(format!(
                "expected {DIGITS_MIN} to {DIGITS} lower-case hex digits"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Beginning {
    /// The name that begins so. One that is whole is not looked for; else the
    /// entries on disk are those that can be meant.
    pub(super) async fn resolve(&self, tiers: &Tiers) -> anyhow::Result<EntryName> {
        if let Some(name) = EntryName::from_hex(&self.0) {
            return Ok(name);
        }
        let Ok(disk) = tiers.disk() else {
            let why = "without cache.disk_directory, names are needed with all 64 digits";
            return Err(failure(Exit::Usage, why));
        };
        let first = format!("{:0<DIGITS$}", self.0);
        let after = EntryName::from_hex(&first).as_ref().and_then(before);
        // One more than two, for a compressed entry before the first name.
        let listed = disk.list(after, 3).await.or_exit_of("the disk")?;
        let meant = |name: &EntryName| name.to_hex().starts_with(&self.0);
        let mut names = listed.iter().map(|found| found.name).filter(meant);
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name),
            (Some(_), Some(_)) => Err(failure(
                Exit::Usage,
                format!("{self}: several entries begin so; give more digits"),
            )),
            (None, _) => Err(failure(
                Exit::Found,
                format!("{self}: no entry on disk begins so"),
            )),
        }
    }
}

/// Reads a whole name.
pub(super) fn whole(text: &str) -> Result<EntryName, String> {
    EntryName::from_hex(text).ok_or_else(|| format!("expected {DIGITS} lower-case hex digits"))
}

/// The name before this one in their order; `None` before the first.
fn before(name: &EntryName) -> Option<EntryName> {
    let mut bytes = *name.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return EntryName::from_hex(&hex);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_eight_digits_or_more() {
        for right in ["01234567", &"a".repeat(64)] {
            assert_eq!(right.parse::<Beginning>().unwrap().to_string(), right);
        }
        for wrong in ["", "0123456", "0123456g", "0123456A", &"a".repeat(65)] {
            assert!(wrong.parse::<Beginning>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn before_a_name_is_the_next_smaller_one() {
        let check = |name: &str, expected: Option<String>| {
            let name = EntryName::from_hex(&format!("{name:0<64}")).unwrap();
            assert_eq!(before(&name).map(|name| name.to_hex()), expected);
        };
        check("", None);
        check("1", Some(format!("0{}", "f".repeat(63))));
        check(&"a".repeat(64), Some(format!("{}9", "a".repeat(63))));
    }
}
