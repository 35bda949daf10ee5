//! JSON whose room in memory depends on what is wanted of it: the shortest values
//! take many times of what they are sent in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Fields by name, with their values as they were written.
pub(super) type Given<'a> = BTreeMap<String, Cow<'a, RawValue>>;

/// Reads an object: the fields that are `known`, of each the last one, or the first
/// name that is not.
pub(super) fn fields<'a>(
    json: &'a [u8],
    known: impl Fn(&str) -> bool,
) -> serde_json::Result<Result<Given<'a>, String>> {
    whole(json, |reader| reader.deserialize_map(Fields(known)))
}

/// Reads an array of at most `max` elements; `None` if there are more.
pub(super) fn items(json: &[u8], max: usize) -> serde_json::Result<Option<Vec<&RawValue>>> {
    whole(json, |reader| reader.deserialize_seq(Items(max)))
}

fn whole<'a, T>(
    json: &'a [u8],
    read: impl FnOnce(
        &mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>,
    ) -> serde_json::Result<T>,
) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Fields<K>(K);

impl<'a, K: Fn(&str) -> bool> Visitor<'a> for Fields<K> {
    type Value = Result<Given<'a>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut given, mut unknown) = (Given::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            if unknown.is_none() && (self.0)(&name) {
                given.insert(name, Cow::Borrowed(map.next_value()?));
            } else {
                // The rest is read for what is wrong with it.
                map.next_value::<IgnoredAny>()?;
                unknown.get_or_insert(name);
            }
        }
        Ok(unknown.map_or(Ok(given), Err))
    }
}

struct Items(usize);

impl<'a> Visitor<'a> for Items {
    type Value = Option<Vec<&'a RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.0 {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Some(items)),
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_none() {
            return Ok(Some(items));
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_fields_are_kept_as_they_were_written() {
        let read = |json: &'static str| fields(json.as_bytes(), |name| name.len() == 1);
        let given = read(r#"{"a": [1, {}], "b":"\u0041", "a":2}"#)
            .unwrap()
            .unwrap();
        let written: Vec<_> = given
            .iter()
            .map(|(name, raw)| (&**name, raw.get()))
            .collect();
        assert_eq!(written, [("a", "2"), ("b", r#""\u0041""#)]);
        let unknown = read(r#"{"a":1,"bc":2,"d":3,"ef":4}"#).unwrap();
        assert_eq!(unknown.unwrap_err(), "bc");
        for wrong in [r#"{"bc":2,"d":}"#, "{} {}", "[]", "\"a\"", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_more_than_so_many_elements_are_kept() {
        let count = |json: &str| items(json.as_bytes(), 2).unwrap().map(|items| items.len());
        assert_eq!(count("[]"), Some(0));
        assert_eq!(count("[1, [2]]"), Some(2));
        assert_eq!(count("[1, 2, 3]"), None);
        assert_eq!(count("[1, 2, 3, 4, 5]"), None);
        for wrong in ["[1, 2, 3, 4", "[1, 2, 3, x]", "[1] 2", "{}", "null"] {
            assert!(items(wrong.as_bytes(), 2).is_err(), "{wrong}");
        }
    }
}
