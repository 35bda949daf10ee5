//! What people call a key.

use std::fmt;
use std::str::FromStr;

/// The name of a key: 1 to 64 letters, digits and `._@+-` of ASCII. It can stand
/// in a file, a log line and a shell without quotes, and is no key id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name; others than the type describes give `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
        let right = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        // Else it could not be told from one.
        let is_id = crate::KeyId::parse(text).is_some();
        (right && !is_id).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = "expected 1 to 64 letters, digits or ._@+-, and not 16 hex digits";
        Self::parse(text).ok_or_else(|| why.to_owned())
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
