//! The key ring that a subcommand works on, and how keys are shown.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fingerpost_signatures::{FileError, Key, KeyRing, RingError};
use serde_json::{Value, json};

use crate::exit::{Exit, OrExit as _, failure};
use crate::out::Out;

/// Which ring, and in which form to answer.
#[derive(Debug, clap::Args)]
pub(super) struct RingArgs {
    /// The key ring file. One with secrets has mode 0600.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// Print JSON, one object a line for each key.
    #[arg(long)]
    json: bool,
}

impl RingArgs {
    pub(super) fn load(&self) -> anyhow::Result<KeyRing> {
        load(&self.ring)
    }

    /// The ring, or an empty one if there is no file.
    pub(super) fn load_or_new(&self) -> anyhow::Result<KeyRing> {
        match KeyRing::load(&self.ring) {
            Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(KeyRing::default())
            }
            loaded => in_words(loaded),
        }
    }

    pub(super) fn save(&self, ring: &KeyRing) -> anyhow::Result<()> {
        save(ring, &self.ring)
    }

    /// Prints a key.
    pub(super) fn print(&self, out: &mut Out, ring: &KeyRing, key: &Key) -> anyhow::Result<()> {
        let line = match self.json {
            true => in_json(ring, key).to_string(),
            false => in_columns(ring, key),
        };
        Ok(out.line(&line)?)
    }

    pub(super) const fn json(&self) -> bool {
        self.json
    }
}

/// The key ring in a file.
pub(crate) fn load(path: &Path) -> anyhow::Result<KeyRing> {
    in_words(KeyRing::load(path))
}

pub(super) fn save(ring: &KeyRing, path: &Path) -> anyhow::Result<()> {
    ring.save(path).context("cannot write the key ring")
}

fn in_words(loaded: Result<KeyRing, FileError>) -> anyhow::Result<KeyRing> {
    let sentence = "cannot use the key ring";
    match loaded {
        // Its cause says which exit code fits.
        Err(error @ FileError::Io { .. }) => Err(error).context(sentence),
        loaded => loaded.or_exit(Exit::BadData, sentence),
    }
}

/// The key with this id or name.
pub(crate) fn find<'a>(ring: &'a KeyRing, id_or_name: &str) -> anyhow::Result<&'a Key> {
    let missing = || {
        failure(
            Exit::Found,
            format!("{id_or_name}: no such key in the ring"),
        )
    };
    ring.find(id_or_name).ok_or_else(missing)
}

/// A change that the ring refuses is the caller's mistake.
pub(super) fn refused(error: RingError) -> anyhow::Error {
    failure(Exit::Usage, error)
}

/// Whether this is the key that the ring signs with.
fn signs(ring: &KeyRing, key: &Key) -> bool {
    ring.signing_key()
        .is_some_and(|signing| signing.id() == key.id())
}

fn in_columns(ring: &KeyRing, key: &Key) -> String {
    let part = match (signs(ring, key), key.has_secret()) {
        (true, _) => "signs",
        (false, true) => "has its secret",
        (false, false) => "",
    };
    let line = format!(
        "{} {:11} {:8} {} {:20} {part}",
        key.id(),
        key.algorithm(),
        key.state(),
        key.created(),
        key.name()
    );
    line.trim_end().to_owned()
}

/// A key for scripts. Never with its secret.
pub(super) fn in_json(ring: &KeyRing, key: &Key) -> Value {
    json!({
        "id": key.id().to_string(),
        "name": key.name().as_str(),
        "algorithm": key.algorithm().as_str(),
        "state": key.state().as_str(),
        "created": key.created().to_string(),
        "public": key.public(),
        "has_secret": key.has_secret(),
        "signs": signs(ring, key),
    })
}
