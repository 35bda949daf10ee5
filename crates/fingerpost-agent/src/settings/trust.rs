//! Whose answers and snapshots are believed, and who signs.

use std::path::Path;

use fingerpost_core::with_causes;
use fingerpost_program::exit::{Exit, failure};
use fingerpost_signatures::{KeyRing, Policy};

use super::Settings;
use crate::{SnapshotOptions, TrustOptions};

impl Settings {
    /// Whom it believes and for whom it signs, if signatures are of any concern.
    ///
    /// # Errors
    ///
    /// A ring is missing, cannot be read, or has no key to sign with.
    pub(super) fn trust(&self) -> anyhow::Result<Option<TrustOptions>> {
        let policy = self.signatures.unwrap_or(Policy::Off);
        let signers = self.sign_with.as_deref().map(ring).transpose()?;
        let signer = match &signers {
            Some(signers) => Some(signers.signing_key().cloned().ok_or_else(|| {
                wrong("the ring of sign_with has no active key with its secret".to_owned())
            })?),
            None => None,
        };
        if policy == Policy::Off && signer.is_none() {
            return Ok(None);
        }
        let ring = match (&self.ring, signers) {
            (Some(file), _) => ring(file)?,
            // Who signs believes their own keys at least.
            (None, Some(own)) => own,
            (None, None) => return Err(wrong(format!("signatures = {policy} needs a ring"))),
        };
        Ok(Some(TrustOptions {
            policy,
            ring,
            signer,
            fallbacks: self.fallbacks.clone().unwrap_or_default(),
        }))
    }

    /// Which snapshots are fetched.
    ///
    /// # Errors
    ///
    /// The publishers' ring cannot be read, or is missing where answers are looked at.
    pub(super) fn snapshot_options(&self) -> anyhow::Result<SnapshotOptions> {
        let defaults = SnapshotOptions::default();
        let publishers = self.publishers.as_deref().map(ring).transpose()?;
        let looks = self.signatures.is_some_and(|policy| policy != Policy::Off);
        let fetched = self.snapshots.unwrap_or(defaults.fetched);
        if fetched && looks && publishers.is_none() && self.snapshots.is_some() {
            let why = "snapshots of nobody in particular cannot be used where signatures are \
                       looked at: name their publishers, or set snapshots = false";
            return Err(wrong(why.to_owned()));
        }
        let mib = super::within_mib("snapshot_mib", self.snapshot_mib, defaults.bytes_max)?;
        Ok(SnapshotOptions {
            // Whoever looks at signatures believes no snapshot that nobody vouches for.
            fetched: fetched && (publishers.is_some() || !looks),
            publishers,
            bytes_max: mib,
        })
    }
}

fn ring(file: &Path) -> anyhow::Result<KeyRing> {
    KeyRing::load(file).map_err(|error| wrong(format!("the key ring {}", with_causes(&error))))
}

fn wrong(why: String) -> anyhow::Error {
    failure(Exit::Configuration, why)
}

#[cfg(test)]
mod tests {
    use fingerpost_signatures::{Key, KeyName, KeyRing, SigningKey, UnixTime};

    use super::super::tests::{flags, options, refusal};

    #[test]
    fn whoever_requires_signatures_says_whose() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring.toml");
        let mut ring = KeyRing::default();
        let name = KeyName::parse("ci").unwrap();
        let key = SigningKey::ed25519(&[1; 32]);
        ring.add(Key::signing(name, UnixTime::MAX, key)).unwrap();
        ring.save(&path).unwrap();
        let file = path.to_str().unwrap();
        let base = ["--server", "https://h"];
        let with = |more: &[&str]| flags(&[&base[..], more].concat());

        let none = options(&with(&[])).unwrap();
        assert!(none.trust.is_none() && none.snapshots.fetched);
        let required = options(&with(&["--signatures", "require", "--ring", file])).unwrap();
        let trust = required.trust_within(Some("main")).unwrap();
        assert!(trust.judges() && !trust.signs());
        // Nobody vouches for a snapshot.
        assert!(!required.snapshots.fetched);
        let signs = options(&with(&["--sign-with", file, "--publishers", file])).unwrap();
        let trust = signs.trust_within(None).unwrap();
        assert!(!trust.judges() && trust.signs());
        assert!(signs.snapshots.publishers.is_some());

        let said = refusal(&with(&["--signatures", "require"]));
        assert_eq!(said, "signatures = require needs a ring");
        let all = ["--signatures", "require", "--ring", file, "--snapshots"];
        assert!(refusal(&with(&all)).contains("name their publishers"));
        let said = refusal(&with(&["--publishers", "/not/there"]));
        assert!(
            said.starts_with("the key ring /not/there: No such file"),
            "{said}"
        );
        std::fs::write(&path, "version = 9\n").unwrap();
        let said = refusal(&with(&["--ring", file, "--signatures", "prefer"]));
        assert!(
            said.ends_with("ring.toml: version 9 is not known; this program reads version 1"),
            "{said}"
        );
    }
}
