//! Fields that want a truth value.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A truth value by Python's rule: `null`, `false`, zero and everything empty
/// are false, all else is true. An absent field needs `#[serde(default)]`
/// (false) or `#[serde(default = "Truth::yes")]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth(pub bool);

impl Truth {
    /// The default of fields that are true unless said otherwise.
    pub const fn yes() -> Self {
        Self(true)
    }
}

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Truthy).map(Self)
    }
}

struct Truthy;

impl<'de> Visitor<'de> for Truthy {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(value != 0)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(value != 0)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        Ok(value != 0.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(!text.is_empty())
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut filled = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(filled)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        let mut filled = false;
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_is_pythons() {
        for json in [
            "true",
            "1",
            "-1",
            "0.5",
            "\"x\"",
            "\"0\"",
            "[0]",
            "[[],[]]",
            "{\"\": null}",
        ] {
            assert_eq!(
                serde_json::from_str::<Truth>(json).unwrap(),
                Truth(true),
                "{json}"
            );
        }
        for json in ["false", "0", "-0.0", "\"\"", "[]", "{}", "null"] {
            assert_eq!(
                serde_json::from_str::<Truth>(json).unwrap(),
                Truth(false),
                "{json}"
            );
        }
    }

    #[test]
    fn absence_is_what_the_field_says() {
        #[derive(Deserialize)]
        struct Args {
            #[serde(default)]
            all: Truth,
            #[serde(default = "Truth::yes")]
            with_unihash: Truth,
        }
        let args: Args = serde_json::from_str("{}").unwrap();
        assert_eq!((args.all, args.with_unihash), (Truth(false), Truth(true)));
    }
}
