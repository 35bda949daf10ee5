//! Where a walk is, as operators are told and tell it.

use std::fmt;
use std::str::FromStr;

/// A row of a namespace: `NAMESPACE:NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the namespace.
    pub namespace: String,
    /// The number of an output in it, 0 before the first one.
    pub output: i64,
}

/// A text is no place.
#[derive(Debug, thiserror::Error)]
#[error("a place is NAMESPACE:NUMBER, as it was told")]
pub struct PlaceError;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.output)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (namespace, output) = text.rsplit_once(':').ok_or(PlaceError)?;
        let output = output.parse().ok().filter(|output| *output >= 0);
        Ok(Self {
            namespace: namespace.to_owned(),
            output: output.ok_or(PlaceError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_told() {
        let place: Place = "main:77".parse().unwrap();
        assert_eq!((&*place.namespace, place.output), ("main", 77));
        assert_eq!(place.to_string(), "main:77");
        for wrong in ["main", "main:", "main:-1", "77"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
