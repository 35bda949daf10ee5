//! Fields that want a text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

use super::number;

/// A text field as SQLite would store the JSON value: a text is itself, `5` is
/// `"5"`, `1.5` is `"1.5"`, `true` is `"1"`, `false` is `"0"`, `null` is no
/// text. Lists, objects and integers beyond 64 bits are errors, as is a text
/// with a lone surrogate; all of them close the connection.
///
/// Borrows from the JSON text where the value has no escapes; put
/// `#[serde(borrow)]` on the field. For an optional field add `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text<'a>(pub Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, unless the value was `null` or absent.
    pub fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text as an owned one.
    pub fn into_string(self) -> Option<String> {
        self.0.map(Cow::into_owned)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Loose::<Sqlite>::new())
            .map(Self)
    }
}

/// Reads an owned optional text by the rules of [`Text`]; for
/// `#[serde(default, deserialize_with = "field::text")]`.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Text::deserialize(deserializer).map(Text::into_string)
}

/// A field that the reference turns into text with Python's `str`, as it does
/// with `username` and `token`: `5` is `"5"`, `true` is `"True"`, `null` is
/// `"None"`. Lists and objects are errors here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Name(pub String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Loose::<Python>::new())?;
        Ok(Self(
            text.map_or_else(|| "None".to_owned(), Cow::into_owned),
        ))
    }
}

/// How values that are no texts are spelled.
trait Spelling {
    fn truth(value: bool) -> &'static str;
    fn float(value: f64) -> String;
}

struct Sqlite;

impl Spelling for Sqlite {
    fn truth(value: bool) -> &'static str {
        if value { "1" } else { "0" }
    }

    fn float(value: f64) -> String {
        number::sqlite_text(value)
    }
}

struct Python;

impl Spelling for Python {
    fn truth(value: bool) -> &'static str {
        if value { "True" } else { "False" }
    }

    fn float(value: f64) -> String {
        number::python_text(value)
    }
}

struct Loose<S>(PhantomData<S>);

impl<S> Loose<S> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, S: Spelling> Visitor<'de> for Loose<S> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a truth value or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(S::truth(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("an integer beyond 64 bits"))?;
        self.visit_i64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(S::float(value))))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads a strict text and hands it on without an allocation of its own.
pub(crate) fn visit_text<'de, D, T, F>(deserializer: D, then: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> T,
{
    struct Strict<F>(F);

    impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Strict<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok((self.0)(text))
        }
    }

    deserializer.deserialize_str(Strict(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(json: &str) -> Option<Option<String>> {
        serde_json::from_str::<Text<'_>>(json)
            .ok()
            .map(Text::into_string)
    }

    #[test]
    fn values_are_spelled_as_sqlite_spells_them() {
        for (json, expected) in [
            ("\"x\"", "x"),
            ("\"\\n\\u00e9\"", "\n\u{e9}"),
            ("5", "5"),
            ("-5", "-5"),
            ("1.5", "1.5"),
            ("1e2", "100.0"),
            ("true", "1"),
            ("false", "0"),
            ("9223372036854775807", "9223372036854775807"),
        ] {
            assert_eq!(sqlite(json), Some(Some(expected.to_owned())), "{json}");
        }
        assert_eq!(sqlite("null"), Some(None));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for json in [
            "[]",
            "{}",
            "[\"x\"]",
            "9223372036854775808",
            "\"\\ud800\"",
            "",
        ] {
            assert_eq!(sqlite(json), None, "{json}");
        }
    }

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let text: Text<'_> = serde_json::from_str("\"abc\"").unwrap();
        assert!(matches!(text.0, Some(Cow::Borrowed("abc"))));
    }

    #[test]
    fn absent_fields_need_a_default() {
        #[derive(Deserialize)]
        struct Args<'a> {
            #[serde(borrow)]
            taskhash: Text<'a>,
            #[serde(default, deserialize_with = "text")]
            owner: Option<String>,
        }
        let args: Args<'_> = serde_json::from_str("{\"taskhash\": 5}").unwrap();
        assert_eq!((args.taskhash.as_deref(), args.owner), (Some("5"), None));
        let args: Args<'_> = serde_json::from_str("{\"taskhash\": null, \"owner\": 1}").unwrap();
        assert_eq!(
            (args.taskhash.as_deref(), args.owner.as_deref()),
            (None, Some("1"))
        );
        assert!(serde_json::from_str::<Args<'_>>("{}").is_err());
    }

    #[test]
    fn names_are_spelled_as_python_spells_them() {
        for (json, expected) in [
            ("\"bob\"", "bob"),
            ("5", "5"),
            ("1.5", "1.5"),
            ("true", "True"),
            ("null", "None"),
        ] {
            assert_eq!(serde_json::from_str::<Name>(json).unwrap().0, expected);
        }
        assert!(serde_json::from_str::<Name>("[]").is_err());
    }
}
