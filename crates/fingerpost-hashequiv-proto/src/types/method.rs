//! Names of outhash functions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Name of the function that outhashes were made with,
/// `oe.sstatesig.OEOuthashBasic` for example. Any text; a farm has a handful of
/// them, so clones share it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Method(Arc<str>);

impl Method {
    /// Takes any text.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Borrow<str> for Method {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({:?})", self.as_str())
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::field::visit_text(deserializer, |name| Self::from(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn methods_are_found_by_their_text() {
        let known = HashMap::from([(Method::new("m:x"), 1)]);
        assert_eq!(known.get("m:x"), Some(&1));
    }

    #[test]
    fn methods_are_plain_text_in_json() {
        let method: Method = serde_json::from_str("\"\\u00e9\"").unwrap();
        assert_eq!(method.as_str(), "é");
        assert_eq!(serde_json::to_string(&method).unwrap(), "\"é\"");
    }
}
