//! Tracked paths to names of store files.

use super::Requirements;

/// How tracked paths become names of store files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEncoding {
    /// Only what breaks file systems is escaped.
    Plain,
    /// Reserved names are escaped, and long names hashed.
    Fncache,
    /// And a leading dot or space is escaped.
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

    /// The name in the store of `data/{path}.i` and the like.
    pub fn encode(self, path: &[u8]) -> String {
        String::from_utf8_lossy(path).into_owned()
    }
}
