//! Tracked paths to names of store files.
//!
//! Names in a store have to survive file systems that fold case, reserve
//! names, or take only short ones. Mercurial's `store.py` defines how.

use std::borrow::Cow;

use sha1::{Digest, Sha1};

use super::Requirements;

/// Longer names are hashed, in bytes.
const NAME_BYTES_MAX: usize = 120;
/// A hashed name keeps so many bytes of each directory.
const DIR_BYTES: usize = 8;
/// And so many bytes of all of them, with the slashes between.
const DIRS_BYTES_MAX: usize = 68;
/// Length of `data/` and `meta/`, which hashed names do without.
const ROOT_BYTES: usize = 5;

/// How tracked paths become names of store files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEncoding {
    /// Upper case and special characters are escaped.
    Plain,
    /// Reserved names are escaped, too, and long names hashed.
    Fncache,
    /// And a dot or space at the beginning is escaped.
    Dotencode,
}

impl PathEncoding {
    /// The encoding that the requirements name.
    pub fn of(requirements: &Requirements) -> Self {
        match (
            requirements.contains("fncache"),
            requirements.contains("dotencode"),
        ) {
            (false, _) => Self::Plain,
            (true, false) => Self::Fncache,
            (true, true) => Self::Dotencode,
        }
    }

    /// The name of a store file: `path` begins with `data/` or `meta/` and ends
    /// with `.i` or `.d`. The name is ASCII.
    pub fn encode(self, path: &[u8]) -> String {
        if let Some(name) = self.unchanged(path) {
            return name.to_owned();
        }
        let path = marked_directories(path);
        let name = escaped(&path, Case::Marked);
        if self == Self::Plain {
            return name;
        }
        let name = self.unreserved(name);
        match name.len() > NAME_BYTES_MAX {
            true => self.hashed(&path),
            false => name,
        }
    }

    /// The path itself if that is its name, which most paths are.
    fn unchanged(self, path: &[u8]) -> Option<&str> {
        let is_kept = |&byte: &u8| KEPT[usize::from(byte)];
        if path.len() > NAME_BYTES_MAX || !path.iter().all(is_kept) {
            return None;
        }
        let name = std::str::from_utf8(path).ok()?;
        let is_kept = |part: &str| !self.is_reserved(part) && !is_like_file(part.as_bytes());
        let (dirs, base) = name.rsplit_once('/')?;
        (!self.is_reserved(base) && dirs.split('/').all(is_kept)).then_some(name)
    }

    /// Escapes what some file systems reserve, in each component.
    fn unreserved(self, name: String) -> String {
        if !name.split('/').any(|part| self.is_reserved(part)) {
            return name;
        }
        let mut out = String::with_capacity(name.len() + 8);
        for (index, part) in name.split('/').enumerate() {
            if index > 0 {
                out.push('/');
            }
            self.push_unreserved(part, &mut out);
        }
        out
    }

    fn is_reserved(self, part: &str) -> bool {
        let first = self == Self::Dotencode && part.starts_with(['.', ' ']);
        first || is_device(part) || part.ends_with(['.', ' '])
    }

    fn push_unreserved(self, part: &str, out: &mut String) {
        let escaped_at = match part.as_bytes() {
            [b'.' | b' ', ..] if self == Self::Dotencode => Some(0),
            _ if is_device(part) => Some(2),
            _ => None,
        };
        let last = part.len().saturating_sub(1);
        for (index, byte) in part.bytes().enumerate() {
            let at_end = index == last && matches!(byte, b'.' | b' ');
            match at_end || Some(index) == escaped_at {
                true => push_hex(byte, out),
                false => out.push(char::from(byte)),
            }
        }
    }

    /// The name of a path that would be too long.
    fn hashed(self, path: &[u8]) -> String {
        let digest = Sha1::digest(path);
        let short = escaped(path.get(ROOT_BYTES..).unwrap_or_default(), Case::Folded);
        let short = self.unreserved(short);
        let (dirs, base) = match short.rsplit_once('/') {
            Some((dirs, base)) => (Some(dirs), base),
            None => (None, short.as_str()),
        };
        let mut out = "dh/".to_owned();
        if let Some(dirs) = dirs {
            push_short_dirs(dirs, &mut out);
        }
        let extension = base.rfind('.').map_or("", |dot| &base[dot..]);
        let room = NAME_BYTES_MAX.saturating_sub(out.len() + 2 * digest.len() + extension.len());
        out.push_str(&base[..room.min(base.len())]);
        for byte in digest {
            push_hex_digits(byte, &mut out);
        }
        out.push_str(extension);
        out
    }
}

/// What becomes of upper case letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// They get an underscore, and the underscore another.
    Marked,
    /// They are lost.
    Folded,
}

/// Bytes that no encoding changes, wherever they are in a component.
const KEPT: [bool; 256] = {
    let mut kept = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_special = matches!(
            byte as u8,
            b'\\' | b':' | b'*' | b'?' | b'"' | b'<' | b'>' | b'|'
        );
        let is_marked = matches!(byte as u8, b'A'..=b'Z' | b'_');
        kept[byte] = byte >= 32 && byte < 126 && !is_special && !is_marked;
        byte += 1;
    }
    kept
};

/// Whether a name ends like those of store files.
fn is_like_file(name: &[u8]) -> bool {
    matches!(name, [.., b'.', b'i' | b'd'] | [.., b'.', b'h', b'g'])
}

/// Marks directories whose names end like those of store files.
fn marked_directories(path: &[u8]) -> Cow<'_, [u8]> {
    let mut parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let base = parts.pop().unwrap_or_default();
    if !parts.iter().any(|dir| is_like_file(dir)) {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len() + 8);
    for dir in parts {
        out.extend_from_slice(dir);
        if is_like_file(dir) {
            out.extend_from_slice(b".hg");
        }
        out.push(b'/');
    }
    out.extend_from_slice(base);
    Cow::Owned(out)
}

/// Escapes single bytes. What comes out is ASCII.
fn escaped(path: &[u8], case: Case) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    for &byte in path {
        match byte {
            b'A'..=b'Z' => {
                if case == Case::Marked {
                    out.push('_');
                }
                out.push(char::from(byte.to_ascii_lowercase()));
            }
            b'_' if case == Case::Marked => out.push_str("__"),
            0..=31 | 126.. | b'\\' | b':' | b'*' | b'?' | b'"' | b'<' | b'>' | b'|' => {
                push_hex(byte, &mut out);
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// Whether Windows takes the name for one of a device.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().as_bytes();
    match stem {
        [_, _, _] => matches!(stem, b"aux" | b"con" | b"prn" | b"nul"),
        [name @ .., b'1'..=b'9'] => matches!(name, b"com" | b"lpt"),
        _ => false,
    }
}

/// Adds the beginnings of directories, as many as fit, and the slash after them.
fn push_short_dirs(dirs: &str, out: &mut String) {
    let start = out.len();
    for dir in dirs.split('/') {
        let short = &dir[..dir.len().min(DIR_BYTES)];
        let is_first = out.len() == start;
        // Each directory so far has its slash already.
        if !is_first && out.len() - start + short.len() > DIRS_BYTES_MAX {
            break;
        }
        match short.strip_suffix(['.', ' ']) {
            Some(rest) => out.extend([rest, "_/"]),
            None => out.extend([short, "/"]),
        }
    }
}

/// Adds a byte as `~` and two digits.
fn push_hex(byte: u8, out: &mut String) {
    out.push('~');
    push_hex_digits(byte, out);
}

fn push_hex_digits(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for digit in [byte >> 4, byte & 0xf] {
        out.push(char::from(DIGITS[usize::from(digit)]));
    }
}

#[cfg(test)]
mod tests;
