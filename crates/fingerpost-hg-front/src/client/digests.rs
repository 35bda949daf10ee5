//! The hashes that a location names.

use fingerpost_hg_proto::Location;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Hashes over content as it comes, and what they shall be. Those with names
/// that are not known are passed over.
#[derive(Debug)]
pub(super) struct Digests {
    sha256: Option<Sha256>,
    sha1: Option<Sha1>,
    expected: Vec<(&'static str, Vec<u8>)>,
}

const SHA256: &str = "sha256";
const SHA1: &str = "sha1";

impl Digests {
    /// The hashes of a location's content, before its first byte. The seed
    /// counts as the beginning of the content.
    pub(super) fn of(location: &Location) -> Self {
        let expected = location.fullhashes.iter().filter_map(|(name, digest)| {
            let name = [SHA256, SHA1]
                .into_iter()
                .find(|known| known.as_bytes() == name)?;
            Some((name, digest.clone()))
        });
        let expected: Vec<_> = expected.collect();
        let is_wanted = |wanted| expected.iter().any(|(name, _)| *name == wanted);
        let mut digests = Self {
            sha256: is_wanted(SHA256).then(Sha256::new),
            sha1: is_wanted(SHA1).then(Sha1::new),
            expected,
        };
        digests.update(location.fullhashseed.as_deref().unwrap_or_default());
        digests
    }

    /// Takes in the next piece of the content.
    pub(super) fn update(&mut self, content: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(content);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(content);
        }
    }

    /// Compares. The error is the name of a hash that is another one.
    pub(super) fn check(self) -> Result<(), &'static str> {
        let sha256 = self.sha256.map(|hash| hash.finalize().to_vec());
        let sha1 = self.sha1.map(|hash| hash.finalize().to_vec());
        for (name, expected) in self.expected {
            let found = if name == SHA256 { &sha256 } else { &sha1 };
            if found.as_ref() != Some(&expected) {
                return Err(name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hashes: &[(&str, &[u8])], seed: Option<&[u8]>, expected: Result<(), &'static str>) {
        let hashes = hashes.iter();
        let location = Location {
            fullhashes: hashes
                .map(|(name, digest)| (name.as_bytes().to_vec(), digest.to_vec()))
                .collect(),
            fullhashseed: seed.map(<[u8]>::to_vec),
            ..Location::new("http://t/")
        };
        let mut digests = Digests::of(&location);
        digests.update(b"con");
        digests.update(b"tent");
        assert_eq!(digests.check(), expected);
    }

    #[test]
    fn every_known_hash_has_to_be_right() {
        let sha256 = &Sha256::digest(b"content")[..];
        let sha1 = &Sha1::digest(b"content")[..];
        check(&[], None, Ok(()));
        check(&[("sha256", sha256), ("sha1", sha1)], None, Ok(()));
        check(&[("sha256", sha256), ("sha1", sha256)], None, Err("sha1"));
        check(&[("sha1", sha1), ("sha256", sha1)], None, Err("sha256"));
        check(&[("sha1", sha1), ("sha1", b"")], None, Err("sha1"));
        check(&[("md5", b"unknown"), ("sha1", sha1)], None, Ok(()));
    }

    #[test]
    fn the_seed_comes_before_the_content() {
        let seeded = &Sha256::digest(b"seedcontent")[..];
        check(&[("sha256", seeded)], Some(b"seed"), Ok(()));
        check(&[("sha256", seeded)], None, Err("sha256"));
    }
}
