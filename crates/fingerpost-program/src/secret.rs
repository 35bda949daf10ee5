//! Passwords and tokens that cannot be printed by accident.

use std::fmt;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A password or token. Neither `Debug` nor `Serialize` shows it; only
/// [`Secret::reveal`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the secret from a file, as systemd credentials and mounted
    /// secrets are. One line end at the end is not part of it.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Self::new(text.strip_suffix('\r').unwrap_or(text)))
    }

    /// The text itself. Never for logs or messages.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// For flags.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// The usual error would show what it found.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
            .map(Self)
            .map_err(|_| D::Error::custom("a secret is text in quotes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "(hidden)");
        assert_eq!(
            serde_json::to_string(&Some(&secret)).unwrap(),
            "\"(hidden)\""
        );
        assert_eq!(secret.reveal(), "hunter2");
        let error = serde_json::from_str::<Secret>("12345").unwrap_err();
        assert!(!error.to_string().contains("12345"), "{error}");
    }

    #[test]
    fn a_secret_file_loses_one_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "tok en \r\n").unwrap();
        assert_eq!(Secret::read(file.path()).unwrap().reveal(), "tok en ");
        std::fs::write(file.path(), "token\n\n").unwrap();
        assert_eq!(Secret::read(file.path()).unwrap().reveal(), "token\n");
    }
}
