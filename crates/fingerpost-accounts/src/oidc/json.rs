//! JSON as tokens may have it: objects of bounded depth, in which no name stands
//! twice. What two readers understand differently is refused.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and arrays inside of each other at most.
const DEPTH_MAX: usize = 8;

/// Why bytes are no such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Utf8,
    Syntax,
    Duplicate,
    Depth,
}

/// Reads one object, and nothing after it.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|_| Flaw::Utf8)?;
    let flaw = Cell::new(Flaw::Syntax);
    let strict = Strict {
        left: DEPTH_MAX,
        flaw: &flaw,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = strict
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value));
    match read {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Flaw::Syntax),
        Err(_) => Err(flaw.get()),
    }
}

/// Reads one value, with so many levels left below it.
#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    flaw: &'a Cell<Flaw>,
}

impl Strict<'_> {
    fn refuse<E: Error>(self, flaw: Flaw) -> E {
        self.flaw.set(flaw);
        E::custom("refused")
    }

    fn below<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(self.refuse(Flaw::Depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(Flaw::Duplicate));
            }
            object.insert(name, fields.next_value_seed(below)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Flaw) {
        assert_eq!(object(text.as_bytes()), Err(expected), "{text}");
    }

    #[test]
    fn objects_are_read_as_they_are() {
        let text = r#"{"a": [1, -2, 1.5, "x", true, null, {"b": {}}], "é": "\u00e9"}"#;
        let read = object(text.as_bytes()).unwrap();
        assert_eq!(
            Value::Object(read),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn a_name_stands_once() {
        check(r#"{"iss": "a", "iss": "b"}"#, Flaw::Duplicate);
        check(r#"{"a": {"x": 1, "\u0078": 1}}"#, Flaw::Duplicate);
        assert!(object(br#"{"a": {"x": 1}, "b": {"x": 1}}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(7).as_bytes()).is_ok());
        check(&nested(8), Flaw::Depth);
        check(&"{\"a\":".repeat(100_000), Flaw::Depth);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "1",
            "[]",
            "{",
            "{}x",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":\"\\ud800\"}",
        ] {
            check(text, Flaw::Syntax);
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Flaw::Utf8));
    }
}
